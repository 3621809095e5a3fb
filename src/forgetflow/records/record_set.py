"""A set of records in memory, and its Parquet parts on disk.

A record's part is chosen by the hash of its id and parts are written without timestamps, so a
record set has one form on disk and deleting one record rewrites one small file.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forgetflow.errors import InputError, VerdictError
from forgetflow.files.parquet import read_parquet
from forgetflow.keys.digests import Digests, keyed_hash, set_digest
from forgetflow.records.schema import RecordSchema, numpy_dtype


@dataclass(frozen=True, eq=False)
class RecordSet:
    """N records sorted by record id.

    Attributes:
        schema: what a record looks like.
        table: Arrow table with the columns of `RecordSchema`.
    """

    schema: RecordSchema
    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def record_ids(self) -> list[str]:
        """Record ids, N strings."""
        return self.table["record_id"].to_pylist()

    @cached_property
    def subject_ids(self) -> list[str]:
        """Subject ids, N strings."""
        return self.table["subject_id"].to_pylist()

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, int64 (N,)."""
        return self.table["label"].to_numpy()

    @cached_property
    def priors(self) -> NDArray[np.float64]:
        """Deletion priors, float64 (N,), NaN where unknown."""
        return self.table["deletion_prior"].to_numpy(zero_copy_only=False)

    @cached_property
    def digests(self) -> Digests:
        """Content digests, uint8 (N, 32)."""
        raw = b"".join(self.table["digest"].to_pylist())
        return np.frombuffer(raw, np.uint8).reshape(-1, 32)

    @cached_property
    def digest(self) -> str:
        """Digest of the whole set, whatever its order or files."""
        return set_digest(self.digests)

    @cached_property
    def inputs(self) -> NDArray[np.float32]:
        """Network inputs, float32 (N, *schema.input_shape)."""
        return self.schema.inputs(self.table)

    def take(self, indices: NDArray[Any]) -> "RecordSet":
        """Return the records at `indices` (positions or a boolean mask)."""
        where = np.asarray(indices)
        if where.dtype == bool:
            where = np.flatnonzero(where)
        return RecordSet(self.schema, self.table.take(pa.array(where, pa.int64())))

    def mask(self, record_ids: Iterable[str]) -> NDArray[np.bool_]:
        """Return which records have one of `record_ids`, bool (N,)."""
        wanted = set(record_ids)
        return np.fromiter((one in wanted for one in self.record_ids), bool, len(self))

    def without(self, record_ids: Iterable[str]) -> "RecordSet":
        """Return the set that is left when `record_ids` are taken out."""
        return self.take(~self.mask(record_ids))

    def check_digests(self) -> None:
        """Recompute every record's digest.

        Raises:
            VerdictError: a record's content is not what its digest says.
        """
        wrong = np.flatnonzero((self.schema.digests(self.table) != self.digests).any(axis=1))
        if len(wrong):
            raise VerdictError(
                f"{len(wrong)} record(s) do not match their digest; "
                "restore the data with `dvc checkout` or import it again"
            )


def build_record_set(
    schema: RecordSchema,
    *,
    record_ids: Sequence[str],
    subject_ids: Sequence[str],
    labels: Sequence[int] | NDArray[Any],
    features: NDArray[Any] | dict[str, Any],
    priors: Sequence[float | None] | None = None,
    where: str,
) -> RecordSet:
    """Check raw columns and make a record set of them, sorted by record id, digests computed.

    Args:
        schema: the schema; tensor features come as an array (N, *shape), others as columns.
        record_ids: N unique ids.
        subject_ids: N ids.
        labels: N class indices.
        features: tensor (N, *shape), or a mapping from column name to N values.
        priors: N probabilities or None each; None: unknown for all.
        where: what to call the source in messages.

    Raises:
        InputError: duplicate or empty ids, a label outside the classes, NaN or infinite
            features, a prior outside [0, 1]; the message names the first offending row.
    """
    count = len(record_ids)
    _refuse_duplicates(record_ids, where)
    refuse_rows(where, [not one for one in subject_ids], "an empty subject id")
    label_array = np.asarray(labels, np.int64)
    outside = (label_array < 0) | (label_array >= len(schema.class_names))
    refuse_rows(where, outside, f"a label outside the {len(schema.class_names)} classes")
    prior_array = pa.array([None] * count if priors is None else priors, pa.float64())
    known = np.nan_to_num(prior_array.to_numpy(zero_copy_only=False), nan=0.0)
    refuse_rows(where, (known < 0) | (known > 1), "a deletion prior outside 0 to 1")

    columns: dict[str, Any] = {
        "record_id": pa.array(record_ids, pa.string()),
        "subject_id": pa.array(subject_ids, pa.string()),
        "label": pa.array(label_array),
        "deletion_prior": prior_array,
        "digest": pa.array([b"\0" * 32] * count, pa.binary(32)),
    }
    arrow = schema.to_arrow()
    if isinstance(features, np.ndarray):
        finite = np.isfinite(features.reshape(count, -1)).all(axis=1) if count else np.ones(0, bool)
        refuse_rows(where, ~finite, "NaN or infinite features")
        storage = arrow.field("features").type
        flat = pa.array(np.ascontiguousarray(features, numpy_dtype(storage)).ravel())
        width = int(np.prod(storage.shape))
        columns["features"] = pa.ExtensionArray.from_storage(
            storage, pa.FixedSizeListArray.from_arrays(flat, width)
        )
    else:
        for name, values in features.items():
            array = pa.array(values, arrow.field(name).type)
            missing = array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
            refuse_rows(where, missing, f"a missing value in column '{name}'")
            if pa.types.is_floating(array.type):
                # Network inputs are float32: what is beyond it would become infinite there.
                beyond = np.abs(array.to_numpy()) > np.finfo(np.float32).max
                refuse_rows(where, beyond, f"an infinite value (float32) in column '{name}'")
            columns[name] = array
    table = pa.table(columns, schema=arrow).sort_by("record_id")
    digests = pa.array([row.tobytes() for row in schema.digests(table)], pa.binary(32))
    position = table.schema.get_field_index("digest")
    return RecordSet(schema, table.set_column(position, arrow.field("digest"), digests))


def write_record_set(records: RecordSet, folder: Path, parts: int) -> None:
    """Write `records` as Parquet parts into `folder`, replacing what is there as a whole."""
    staging = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    part = np.fromiter((part_of(one, parts) for one in records.record_ids), np.int64, len(records))
    for number in range(parts):
        chunk = records.take(part == number).table
        pq.write_table(chunk, staging / part_name(number), compression="zstd")
    # Moved aside as a whole: a folder half deleted by a crash would read as a smaller set.
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def read_record_set(folder: Path) -> RecordSet:
    """Read a record set written by `write_record_set`.

    Raises:
        InputError: the folder holds no readable record set; the message says what to run.
    """
    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        raise InputError(f"no records in {folder}: run `forgetflow data import SOURCE` first")
    tables = []
    for path in paths:
        try:
            tables.append(read_parquet(path))
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path} cannot be read as Parquet: {error}") from None
    try:
        schema = RecordSchema.from_arrow(tables[0].schema)
        table = pa.concat_tables(tables).sort_by("record_id").combine_chunks()
    except (KeyError, ValueError):  # of Arrow's too
        raise InputError(f"{folder} was not written by forgetflow: import the data again") from None
    return RecordSet(schema, table)


def part_of(record_id: str, parts: int) -> int:
    """Return the number of the Parquet part that holds `record_id`."""
    return keyed_hash(0, "part", record_id) % parts


def part_name(number: int) -> str:
    """Return the file name of a part."""
    return f"part-{number:04d}.parquet"


def _refuse_duplicates(record_ids: Sequence[str], where: str) -> None:
    refuse_rows(where, [not one for one in record_ids], "an empty record id")
    seen: dict[str, int] = {}
    for row, one in enumerate(record_ids):
        if one in seen:
            raise InputError(
                f"{where}: data rows {seen[one] + 1} and {row + 1} share one record id; "
                "ids must be unique"
            )
        seen[one] = row


def refuse_rows(where: str, bad: Sequence[bool] | NDArray[np.bool_], what: str) -> None:
    """Refuse the data if any row is bad; rows are data rows, counted from 1.

    Raises:
        InputError: `where`, the first bad row and `what` it has, e.g. "an empty label".
    """
    rows = np.flatnonzero(np.asarray(bad, bool))
    if len(rows):
        more = f" ({len(rows)} rows in all)" if len(rows) > 1 else ""
        raise InputError(
            f"{where}: data row {rows[0] + 1} has {what}{more}; correct the data and import again"
        )
