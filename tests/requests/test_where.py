import json
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetflow.errors import InputError
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import ColumnFeatures, RecordSchema, TensorFeatures
from forgetflow.requests.where import check_where, where_mask

OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
CLASSES = ("a", "b", "ä")
TEXTS = ["a", "b", "ä", "", 'q"\\', "z"]
NUMBERS = [-1.5, 0.0, 0.25, 1, 3]
SCHEMA = RecordSchema(CLASSES, ColumnFeatures(("x", "a b"), ("kind",), 4))
KINDS = {
    "record_id": "text",
    "subject_id": "text",
    "label": "text",
    "kind": "text",
    "deletion_prior": "number",
    "x": "number",
    "a b": "number",
}

rows = st.fixed_dictionaries(
    {
        "subject_id": st.sampled_from([t for t in TEXTS if t]),
        "label": st.sampled_from(CLASSES),
        "kind": st.sampled_from(TEXTS),
        "deletion_prior": st.sampled_from([None, 0.0, 0.25, 1.0]),
        "x": st.sampled_from(NUMBERS),
        "a b": st.sampled_from(NUMBERS),
    }
)


def record_set(table):
    return build_record_set(
        SCHEMA,
        record_ids=[row["record_id"] for row in table],
        subject_ids=[row["subject_id"] for row in table],
        labels=[CLASSES.index(row["label"]) for row in table],
        priors=[row["deletion_prior"] for row in table],
        features={
            "x": [row["x"] for row in table],
            "a b": [row["a b"] for row in table],
            "kind": [row["kind"] for row in table],
        },
        where="test",
    )


@st.composite
def expressions(draw, depth=3):
    """An expression as text, and the same as a function of a row: True, False or None."""
    if depth and draw(st.booleans()):
        word = draw(st.sampled_from(["and", "or", "not"]))
        text, left = draw(expressions(depth=depth - 1))
        if word == "not":
            return f"not ({text})", lambda row: None if left(row) is None else not left(row)
        more, right = draw(expressions(depth=depth - 1))
        decisive = word == "or"

        def joined(row):
            values = (left(row), right(row))
            if decisive in values:
                return decisive
            return None if None in values else not decisive

        return f"({text}) {word} ({more})", joined
    name = draw(st.sampled_from(sorted(KINDS)))
    column = f"col[{json.dumps(name)}]" if " " in name or draw(st.booleans()) else name
    literals = st.sampled_from(TEXTS if KINDS[name] == "text" else NUMBERS)
    if draw(st.booleans()):
        values = draw(st.lists(literals, max_size=3))
        word = draw(st.sampled_from(["in", "not in"]))
        text = f"{column} {word} [{', '.join(json.dumps(v, ensure_ascii=False) for v in values)}]"
        return (
            text,
            lambda row: None if row[name] is None else (row[name] in values) == (word == "in"),
        )
    sign = draw(st.sampled_from(sorted(OPERATORS)))
    value = draw(literals)
    literal = json.dumps(value, ensure_ascii=False)
    if draw(st.booleans()):
        return (
            f"{literal} {sign} {column}",
            lambda row: None if row[name] is None else OPERATORS[sign](value, row[name]),
        )
    return (
        f"{column} {sign} {literal}",
        lambda row: None if row[name] is None else OPERATORS[sign](row[name], value),
    )


@given(st.lists(rows, max_size=8), expressions())
def test_selects_what_brute_force_selects(table, expression):
    table = [{"record_id": f"r{i}", **row} for i, row in enumerate(table)]
    text, truth = expression
    check_where(text, SCHEMA)
    assert where_mask(text, record_set(table)).tolist() == [truth(row) is True for row in table]
    for row in table:
        if row["deletion_prior"] is not None:  # Python itself knows no unknown
            scope = {"__builtins__": {}, "col": row, **row}
            assert bool(eval(text, scope)) == truth(row)


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ('label == "cat"', "03"),
        ('label == "2" and deletion_prior > 0.2', "25"),
        ('subject_id in ["ann", "eve"]', "0125"),
        ('subject_id not in ("ann",)', "345"),
        ("0.1 < deletion_prior <= 0.5", "23"),
        ("not deletion_prior > 0.2", "0"),
        ("deletion_prior != 0.3", "035"),
        ("deletion_prior not in [0.3]", "035"),
        ("age == -1", "5"),
        ('col["hours-per-week"] >= 40 or city == "köln"', "014"),
        ('col["hours-per-week"] == age', ""),
        ('  age>50 and(record_id<"r9")  \n', "4"),
        ("age in []", ""),
    ],
)
def test_examples(records, expression, selected):
    assert "".join(map(str, np.flatnonzero(where_mask(expression, records)))) == selected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("__import__('os').system('true') == 1", "at character 1: only columns, quoted text"),
        ("age.__class__ == 1", "only columns"),
        ("(lambda: 1)() == age", "only columns"),
        ("[x for x in age]", "only comparisons"),
        ("age if age > 1 else age", "only comparisons"),
        ('f"{age}" == city', "only columns"),
        ("(age := 3) > 2", "only columns"),
        ("age + 1 > 2", "only columns"),
        ("age - per - week > 2", 'is written col["its name"]'),
        ('col[age] == "x"', "only columns"),
        ('other["age"] == 1', "only columns"),
        ('col["nope"] == 1', "at character 1: unknown column 'nope'; columns: record_id"),
        ("age", "only comparisons"),
        ("True", "only comparisons"),
        ("1 == 1", "compares two constants"),
        ("age == True", "at character 8: only quoted text and numbers"),
        ("age == None", "only quoted text and numbers"),
        ("age == 1j", "only quoted text and numbers"),
        ('city == b"x"', "only quoted text and numbers"),
        ("age is 1", "'is' is not allowed"),
        ("age in city", "the right side of 'in' must be a list"),
        ("age in [age]", "a list may hold constants only"),
        ("age in [*city]", "only columns"),
        ('"a" in ["a"]', "the left side of 'in' must be a column"),
        ("label == 2", 'need quotes, as in label == "3"'),
        ('age in [1, "2"]', "at character 12: text is compared with a number"),
        ('city == "köln" and nope == 1', "at character 20: unknown column 'nope'"),
        ("age > 1" + "0" * 400, "this number is too large"),
        ("age > " + "1" * 5000, "not a valid expression"),
        ("age == 1; import os", "not a valid expression at character 9"),
        ("age = 1", "not a valid expression at character 5"),
        ("import os", "not a valid expression"),
        ("", "not a valid expression"),
        ("age ==", "not a valid expression"),
        ("age == 1\nor age == 2", "must be on one line"),
        ("age == 1 #\0", "not a valid expression"),
        ("(" * 500 + "age" + ")" * 500, "not a valid expression"),
        ("not " * 100_000 + "age == 1", "too long, too deep"),
        ("age == 1" + "+1" * 100_000, "too long, too deep"),
        ('city == "\ud800"', "too long, too deep or no text"),
        ('city == "\\ud800"', "too long, too deep or no text"),
    ],
)
def test_everything_else_is_refused(records, expression, message):
    for attempt in (
        lambda: where_mask(expression, records),
        lambda: check_where(expression, records.schema),
    ):
        with pytest.raises(InputError) as error:
            attempt()
        assert message in str(error.value)
        assert str(error.value).startswith("where: ")


def test_nothing_is_executed(records, tmp_path):
    trap = tmp_path / "trap"
    with pytest.raises(InputError):
        where_mask(f"open({str(trap)!r}, 'w') == age", records)
    assert not trap.exists()


def test_tensor_records_offer_the_common_columns_only():
    schema = RecordSchema(("0", "1"), TensorFeatures((2,), "float32"))
    check_where('label == "1" and deletion_prior > 0.5', schema)
    with pytest.raises(InputError, match=r"columns: record_id, subject_id, label, deletion_prior$"):
        check_where("features == 1", schema)


def test_long_lists_of_columns_are_cut():
    schema = RecordSchema(("0",), ColumnFeatures(tuple(f"c{i}" for i in range(30)), (), 4))
    with pytest.raises(InputError, match=r"c15 and 14 more$"):
        check_where("nope == 1", schema)
