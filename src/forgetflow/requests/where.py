"""The `where` selector: a small, safe expression over the columns of a record set.

    label == "3" and deletion_prior > 0.2
    subject_id in ["a", "b"] or not (age < 18)
    col["hours-per-week"] >= 40            a column whose name is no Python name

Columns are `record_id`, `subject_id`, `label` (the class name), `deletion_prior` and numeric or
categorical features. The text is parsed with `ast`, every node is checked against the few that
are allowed, and evaluated with `pyarrow.compute`; nothing of it is ever executed.

A comparison with an unknown value (a record without deletion prior) is neither true nor false,
as in SQL: such a record is not selected, with `not` in front or without.

Shapes: N records.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forgetflow.errors import InputError
from forgetflow.records.record_set import RecordSet
from forgetflow.records.schema import ColumnFeatures, RecordSchema

Kind = Literal["text", "number"]
_TYPES = {"text": pa.string(), "number": pa.float64()}
_COMPARISONS = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_NAMES_SHOWN = 20


def column_kinds(schema: RecordSchema) -> dict[str, Kind]:
    """Return the columns an expression may use, and whether each holds text or numbers."""
    kinds: dict[str, Kind] = {
        "record_id": "text",
        "subject_id": "text",
        "label": "text",
        "deletion_prior": "number",
    }
    if isinstance(schema.features, ColumnFeatures):
        kinds |= dict.fromkeys(schema.features.numeric, "number")
        kinds |= dict.fromkeys(schema.features.categorical, "text")
    return kinds


def where_mask(expression: str, records: RecordSet) -> NDArray[np.bool_]:
    """Return which records the expression is true for, bool (N,).

    Raises:
        InputError: the expression is not of the allowed form; the message says where and what
            columns there are.
    """
    columns = {name: records.table[name] for name in column_kinds(records.schema)}
    columns["label"] = pc.take(
        pa.array(records.schema.class_names, pa.string()), records.table["label"]
    )
    mask = _evaluate(expression, columns)
    return np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), bool)


def check_where(expression: str, schema: RecordSchema) -> None:
    """Check an expression without any records; raises `InputError` like `where_mask`."""
    kinds = column_kinds(schema)
    _evaluate(expression, {name: pa.array([], _TYPES[kind]) for name, kind in kinds.items()})


def _evaluate(expression: str, columns: Mapping[str, Any]) -> Any:
    text = expression.strip()
    if "\n" in text or "\r" in text:
        raise InputError("where: the expression must be on one line")
    if "\0" in text:  # Pythons before 3.11.4 raise a ValueError for it
        raise InputError("where: not a valid expression (it holds a null character)")
    try:
        tree = ast.parse(text, mode="eval")
        return _Evaluation(text, columns).truth(tree.body)
    except SyntaxError as error:
        place = f" at character {error.offset}" if error.offset else ""
        raise InputError(
            f"where: not a valid expression{place} ({error.msg}); "
            'write for example label == "3" and deletion_prior > 0.2'
        ) from None
    except (ValueError, RecursionError, MemoryError):
        raise InputError("where: the expression is too long, too deep or no text") from None


@dataclass(frozen=True)
class _Operand:
    """One side of a comparison: N values of a column, or one literal."""

    values: Any
    kind: Kind
    column: bool


@dataclass(frozen=True)
class _Evaluation:
    """One expression over columns (name -> Arrow array of N strings or doubles)."""

    text: str
    columns: Mapping[str, Any]

    def truth(self, node: ast.expr) -> Any:
        """Return the boolean array (N,), with nulls where the truth is unknown."""
        match node:
            case ast.BoolOp(op=ast.And()):
                return reduce(pc.and_kleene, map(self.truth, node.values))
            case ast.BoolOp(op=ast.Or()):
                return reduce(pc.or_kleene, map(self.truth, node.values))
            case ast.UnaryOp(op=ast.Not()):
                return pc.invert(self.truth(node.operand))
            case ast.Compare():
                sides = [node.left, *node.comparators]
                pairs = zip(sides, node.ops, sides[1:], strict=False)
                return reduce(pc.and_kleene, (self.comparison(*pair) for pair in pairs))
        raise self.refusal(
            node, "only comparisons joined by and, or, not and parentheses are allowed"
        )

    def comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Any:
        """Return the boolean array (N,) of one comparison."""
        if isinstance(op, ast.In | ast.NotIn):
            return self.membership(left, right, negate=isinstance(op, ast.NotIn))
        if type(op) not in _COMPARISONS:
            raise self.refusal(left, "'is' is not allowed; compare with == or !=")
        a, b = self.operand(left), self.operand(right)
        if not (a.column or b.column):
            raise self.refusal(left, "this compares two constants; a comparison needs a column")
        self.same_kind(a, b, right)
        return _COMPARISONS[type(op)](a.values, b.values)

    def membership(self, left: ast.expr, right: ast.expr, *, negate: bool) -> Any:
        """Return the boolean array (N,) of `column in [literals]`."""
        operand = self.operand(left)
        if not operand.column:
            raise self.refusal(left, "the left side of 'in' must be a column")
        if not isinstance(right, ast.List | ast.Tuple | ast.Set):
            raise self.refusal(right, 'the right side of \'in\' must be a list such as ["a", "b"]')
        values = []
        for element in right.elts:
            literal = self.operand(element)
            if literal.column:
                raise self.refusal(element, "a list may hold constants only")
            self.same_kind(operand, literal, element)
            values.append(literal.values.as_py())
        found = pc.is_in(operand.values, pa.array(values, _TYPES[operand.kind]))
        known = pc.if_else(pc.is_valid(operand.values), found, pa.scalar(None, pa.bool_()))
        return pc.invert(known) if negate else known

    def operand(self, node: ast.expr) -> _Operand:
        """Return a column, a quoted text or a number."""
        match node:
            case ast.Name(id=name):
                return self.column(node, name)
            case ast.Subscript(value=ast.Name(id="col"), slice=ast.Constant(value=str(name))):
                return self.column(node, name)
            case ast.Constant(value=str(text)):
                return _Operand(pa.scalar(text, pa.string()), "text", column=False)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)):
                return self.number(node, value, sign=-1)
            case ast.Constant(value=value):
                return self.number(node, value, sign=1)
        raise self.refusal(
            node,
            "only columns, quoted text and numbers may be compared; a column whose name is no "
            'plain word is written col["its name"]',
        )

    def number(self, node: ast.expr, value: object, sign: int) -> _Operand:
        """Return a numeric literal."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refusal(node, "only quoted text and numbers are allowed as constants")
        try:
            number = sign * float(value)
        except OverflowError:
            raise self.refusal(node, "this number is too large") from None
        return _Operand(pa.scalar(number, pa.float64()), "number", column=False)

    def column(self, node: ast.expr, name: str) -> _Operand:
        """Return a column by name."""
        if name not in self.columns:
            raise self.refusal(node, f"unknown column '{name}'")
        values = self.columns[name]
        if pa.types.is_string(values.type):
            return _Operand(values, "text", column=True)
        unknown = pc.is_nan(values)
        return _Operand(
            pc.if_else(unknown, pa.scalar(None, pa.float64()), values), "number", column=True
        )

    def same_kind(self, a: _Operand, b: _Operand, node: ast.expr) -> None:
        """Refuse to compare text with numbers: it is never what was meant."""
        if a.kind != b.kind:
            raise self.refusal(
                node,
                "text is compared with a number; record_id, subject_id, label and categories are "
                'text and need quotes, as in label == "3"',
            )

    def refusal(self, node: ast.expr, why: str) -> InputError:
        """Return the error that tells the position of `node` and the columns there are."""
        # `ast` counts bytes, people count characters.
        position = len(self.text.encode()[: node.col_offset].decode()) + 1
        names = list(self.columns)
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        return InputError(
            f"where: at character {position}: {why}; "
            f"columns: {', '.join(names[:_NAMES_SHOWN])}{more}"
        )
