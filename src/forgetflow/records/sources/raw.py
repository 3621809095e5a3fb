"""What a source read from its files, and the one place where that becomes record sets.

Sources differ in how they read; what is refused, how ids are made and how classes are named is
the same for all and stands here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.records.record_set import RecordSet, build_record_set, refuse_rows
from forgetflow.records.schema import ColumnFeatures, RecordSchema, TensorFeatures
from forgetflow.records.sources.imported import Imported, split_by_subject


@dataclass(frozen=True)
class RawRecords:
    """N records of one side (training or test) as a source read them, not yet checked.

    Attributes:
        where: the file, for messages.
        prefix: start of the record ids made from the position, e.g. `idx-train`.
        labels: N class names or class numbers as text; empty: missing.
        features: one tensor (N, *shape), uint8 or float32, or columns of N values: float64
            arrays are numeric, lists of text are categorical.
        record_ids: N ids; none: made from the position.
        subject_ids: N ids; none: every record is its own subject.
        priors: float64 (N,), NaN where unknown; none: unknown for all.
    """

    where: str
    prefix: str
    labels: Sequence[str]
    features: NDArray[Any] | dict[str, NDArray[np.float64] | list[str]]
    record_ids: Sequence[str] | None = None
    subject_ids: Sequence[str] | None = None
    priors: NDArray[np.float64] | None = None


def to_imported(
    settings: DataSettings,
    train: RawRecords,
    test: RawRecords | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Imported:
    """Check what a source read and make record sets of it.

    Args:
        settings: gives `classes`, `hash_buckets` and `test_fraction`.
        train: the training side, or all records when `test` is none.
        test: the source's own test set; none: whole subjects are held out.
        class_names: what the source itself says its classes are; `settings.classes` wins. With
            neither, the classes are the distinct labels in order.

    Raises:
        InputError: a side is empty or its columns differ in length; a label is empty or outside
            the classes; ids repeat; a record or subject is on both sides; the sides differ in
            features; or anything `build_record_set` refuses.
    """
    sides = [train] if test is None else [train, test]
    for side in sides:
        _check_lengths(side)
        refuse_rows(side.where, [not one for one in side.labels], "an empty label")
    names = settings.classes or class_names or _distinct([one for s in sides for one in s.labels])
    schema = RecordSchema(names, _common_features(sides, settings.hash_buckets))
    sets = [_record_set(schema, side) for side in sides]
    if test is None:
        return split_by_subject(sets[0], settings.test_fraction)
    _refuse_shared(sets[0].record_ids, _record_ids(test), train, test, "a record id")
    _refuse_shared(sets[0].subject_ids, _subject_ids(test), train, test, "a subject")
    return Imported(train=sets[0], test=sets[1])


def as_tensor(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Return dense features as uint8 or float32, (N, F) or (N, C, H, W).

    uint8 stays (it is divided by 255 on its way into a network), other numbers become float32
    unchanged; grey images (N, H, W) get their channel: (N, 1, H, W).

    Raises:
        InputError: the values are no numbers, or the shape is none of these.
    """
    if values.dtype.kind not in "buif":
        raise InputError(f"{where} holds {values.dtype} values as features: they must be numbers")
    if values.ndim not in (2, 3, 4) or 0 in values.shape[1:]:
        raise InputError(
            f"{where} has features of shape {values.shape}: "
            "they must be (N, F), (N, H, W) or (N, C, H, W)"
        )
    if values.ndim == 3:
        values = values[:, np.newaxis]
    if values.dtype == np.uint8:
        return values
    with np.errstate(over="ignore"):  # infinities are refused later, with their row
        return values.astype(np.float32)


def as_texts(values: Any, where: str, what: str) -> list[str]:
    """Return ids or labels as text; missing ones become "".

    Args:
        values: NumPy or Arrow array of text, bools or whole numbers (floats without a fraction
            included).
        where: the file, for messages.
        what: the column, for messages.

    Raises:
        InputError: the values are something else.
    """
    try:
        column = pa.array(values) if isinstance(values, np.ndarray) else values
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column).cast(pa.int64())
        plain = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_binary)
        if is_text(column.type) or any(test(column.type) for test in plain):
            texts: list[str] = column.cast(pa.string()).fill_null("").to_pylist()
            return texts
    except pa.ArrowException:
        pass
    kind = values.dtype if isinstance(values, np.ndarray) else values.type
    raise InputError(f"{where}: {what} holds {kind} values: they must be text or whole numbers")


def is_text(kind: Any) -> bool:
    """Return whether an Arrow type is text."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


def _check_lengths(side: RawRecords) -> None:
    features = side.features
    columns = [features] if isinstance(features, np.ndarray) else list(features.values())
    counts = [len(column) for column in columns]
    counts += [
        len(ids)
        for ids in (side.labels, side.record_ids, side.subject_ids, side.priors)
        if ids is not None
    ]
    if len(set(counts)) > 1:
        raise InputError(
            f"{side.where} has {counts[0]} records but ids, labels or priors for "
            f"{next(n for n in counts if n != counts[0])}: the counts must agree"
        )
    if not counts[0]:
        raise InputError(f"{side.where} holds no records: check data.path")


def _distinct(labels: Sequence[str]) -> tuple[str, ...]:
    distinct = set(labels)
    if all(_is_whole(one) for one in distinct):
        return tuple(sorted(distinct, key=lambda one: (int(one), one)))
    return tuple(sorted(distinct))


def _is_whole(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit()


def _class_indices(labels: Sequence[str], names: tuple[str, ...]) -> list[int]:
    """Look labels up; where no class name is a number, a number means the class of that index."""
    index = {name: i for i, name in enumerate(names)}
    if not any(_is_whole(name) for name in names):
        index |= {str(i): i for i in range(len(names))}
    return [index.get(label, -1) for label in labels]


def _common_features(sides: list[RawRecords], hash_buckets: int) -> TensorFeatures | ColumnFeatures:
    first, *others = (_features(side, hash_buckets) for side in sides)
    for side, other in zip(sides[1:], others, strict=True):
        if _unordered(other) != _unordered(first):
            raise InputError(
                f"{side.where} and {sides[0].where} must have the same features, "
                f"but differ: {_difference(first, other)}"
            )
    return first


def _features(side: RawRecords, hash_buckets: int) -> TensorFeatures | ColumnFeatures:
    if isinstance(side.features, np.ndarray):
        dtype: Any = side.features.dtype.name
        return TensorFeatures(side.features.shape[1:], dtype)
    columns = side.features.items()
    return ColumnFeatures(
        numeric=tuple(name for name, values in columns if isinstance(values, np.ndarray)),
        categorical=tuple(name for name, values in columns if isinstance(values, list)),
        hash_buckets=hash_buckets,
    )


def _unordered(features: TensorFeatures | ColumnFeatures) -> Any:
    if isinstance(features, TensorFeatures):
        return features
    return set(features.numeric), set(features.categorical)


def _difference(first: TensorFeatures | ColumnFeatures, other: Any) -> str:
    if isinstance(first, ColumnFeatures) and isinstance(other, ColumnFeatures):
        changed = set(first.numeric) ^ set(other.numeric)
        changed |= set(first.categorical) ^ set(other.categorical)
        return f"column '{min(changed)}' is missing or of another kind in one of them"
    shapes = [
        f"{one.dtype} {one.shape}" if isinstance(one, TensorFeatures) else "columns"
        for one in (first, other)
    ]
    return " against ".join(shapes)


def _record_ids(side: RawRecords) -> Sequence[str]:
    if side.record_ids is not None:
        return side.record_ids
    return [f"{side.prefix}-{i:05d}" for i in range(len(side.labels))]


def _subject_ids(side: RawRecords) -> Sequence[str]:
    return _record_ids(side) if side.subject_ids is None else side.subject_ids


def _record_set(schema: RecordSchema, side: RawRecords) -> RecordSet:
    priors = side.priors
    return build_record_set(
        schema,
        record_ids=_record_ids(side),
        subject_ids=_subject_ids(side),
        labels=_class_indices(side.labels, schema.class_names),
        features=side.features,
        priors=None if priors is None else [None if np.isnan(p) else float(p) for p in priors],
        where=side.where,
    )


def _refuse_shared(
    known: Sequence[str], ids: Sequence[str], train: RawRecords, test: RawRecords, what: str
) -> None:
    seen = set(known)
    refuse_rows(test.where, [one in seen for one in ids], f"{what} that is also in {train.where}")
