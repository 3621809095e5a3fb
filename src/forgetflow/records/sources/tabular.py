"""From an Arrow table with columns named by `DataSettings` to raw records; csv and parquet.

A column's kind (number or category) is a property of each of its values alone, or declared in
`data.categorical`: leaving a record out can never turn one kind into the other.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forgetflow.config.data import DataSettings
from forgetflow.errors import InputError
from forgetflow.records.record_set import refuse_rows
from forgetflow.records.schema import RESERVED
from forgetflow.records.sources.raw import RawRecords, as_tensor, as_texts, is_text


def from_table(table: Any, settings: DataSettings, where: str, prefix: str) -> RawRecords:
    """Return the records of one table.

    Args:
        table: Arrow table, one row per record.
        settings: names the columns; every column it does not name is a feature.
        where: the file, for messages.
        prefix: see `RawRecords`.

    Raises:
        InputError: a named column is missing, a feature has a reserved name or a type that is
            neither number nor category, or a cell is empty.
    """
    features = feature_columns(table.column_names, settings, where)
    if not len(table):
        raise InputError(f"{where} holds no records: check data.path")
    record_id, subject_id = settings.record_id, settings.subject_id
    return RawRecords(
        where=where,
        prefix=prefix,
        labels=_texts(table, settings.label, where),
        features=_features(table, features, settings.categorical, where),
        record_ids=_texts(table, record_id, where) if record_id else None,
        subject_ids=_texts(table, subject_id, where) if subject_id else None,
        priors=_priors(table, settings.deletion_prior, where),
    )


def feature_columns(names: list[str], settings: DataSettings, where: str) -> list[str]:
    """Return the columns that `settings` gives no other role.

    Raises:
        InputError: a name is missing, twice there, or reserved.
    """
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{where} has two columns named '{name}': rename one of them")
    named = {
        "label": settings.label,
        "record_id": settings.record_id,
        "subject_id": settings.subject_id,
        "deletion_prior": settings.deletion_prior,
    }
    for key, column in named.items():
        if column is not None and column not in names:
            raise InputError(
                f"{where} has no column '{column}' (it has: {', '.join(names)}): set data.{key}"
            )
    features = [name for name in names if name not in named.values()]
    for name in settings.categorical:
        if name not in features:
            raise InputError(
                f"{where} has no feature column '{name}' (it has: {', '.join(features)}): "
                "correct data.categorical"
            )
    for name in features:
        if name in RESERVED:
            raise InputError(
                f"{where} has a column '{name}', a reserved name: "
                f"name its role in the data block, or rename or drop it"
            )
    if not features:
        raise InputError(f"{where} has no feature columns beside its ids and label: add some")
    return features


def refuse_missing(texts: Any, where: str, name: str) -> None:
    """Refuse empty cells and `nan` in a text column.

    Raises:
        InputError: naming the first such row.
    """
    missing = pc.match_substring_regex(texts.fill_null(""), "(?i)^(nan)?$")
    refuse_rows(where, missing.to_numpy(), f"a missing value in column '{name}'")


def _texts(table: Any, name: str, where: str) -> list[str]:
    return as_texts(table[name], where, f"column '{name}'")


def _priors(table: Any, name: str | None, where: str) -> NDArray[np.float64] | None:
    return None if name is None else _numbers(table[name], where, name)


def _features(
    table: Any, names: list[str], declared: tuple[str, ...], where: str
) -> NDArray[Any] | dict[str, NDArray[np.float64] | list[str]]:
    dense = [name for name in names if _is_dense(table[name].type)]
    if not dense:
        return {name: _column(table[name], name, name in declared, where) for name in names}
    if len(names) > 1:
        other = next(name for name in names if name != dense[0])
        raise InputError(
            f"{where} has dense features in '{dense[0]}' and another feature column '{other}': "
            "give one dense column or plain columns"
        )
    return _dense(table[dense[0]], where)


def _column(column: Any, name: str, declared: bool, where: str) -> NDArray[np.float64] | list[str]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if not (declared or is_text(kind) or pa.types.is_boolean(kind)):
        return _numbers(column, where, name)
    try:
        texts = column.cast(pa.string())
    except pa.ArrowException:
        raise InputError(f"{where}: column '{name}' of type {kind} is no category") from None
    refuse_missing(texts, where, name)
    values: list[str] = texts.to_pylist()
    return values


def _numbers(column: Any, where: str, name: str) -> NDArray[np.float64]:
    kind = column.type
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    if not any(test(kind) for test in numeric):
        raise InputError(
            f"{where}: column '{name}' holds {kind} values, not numbers: "
            "convert it, or name it in data.categorical"
        )
    try:
        values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        raise InputError(
            f"{where}: column '{name}' has whole numbers beyond 2^53, which lose digits: "
            "rescale it, or name it in data.categorical"
        ) from None
    return values


def _is_dense(kind: Any) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return isinstance(kind, pa.FixedShapeTensorType) or any(test(kind) for test in lists)


def _dense(column: Any, where: str) -> NDArray[Any]:
    refuse_rows(where, column.is_null().to_numpy(), "no features")
    values = column.combine_chunks()
    if isinstance(values, pa.ExtensionArray):
        return as_tensor(values.to_numpy_ndarray(), where)
    lengths = pc.list_value_length(values).to_numpy()
    refuse_rows(where, lengths != lengths[0], f"a length other than the first row's {lengths[0]}")
    flat = values.flatten().to_numpy(zero_copy_only=False)
    return as_tensor(flat.reshape(len(values), -1), where)
