"""The result of a placement, and its file form.

The file holds record ids and therefore lives in DVC-tracked data only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forgetflow.errors import InputError, VerdictError
from forgetflow.files.parquet import read_parquet
from forgetflow.keys.digests import canonical_order
from forgetflow.records.record_set import RecordSet


@dataclass(frozen=True, eq=False)
class Assignment:
    """Shard and slice of each of N records, in the order of the record set it was made from.

    Attributes:
        shards: number of shards S.
        slices: number of slices R per shard.
        shard: int64 (N,), 0 to S - 1.
        slice: int64 (N,), 0 to R - 1.
    """

    shards: int
    slices: int
    shard: NDArray[np.int64]
    slice: NDArray[np.int64]

    def members(self, records: RecordSet, shard: int) -> list[NDArray[np.intp]]:
        """Return, for each slice of `shard`, the positions of its records in canonical order."""
        found = []
        for number in range(self.slices):
            where = np.flatnonzero((self.shard == shard) & (self.slice == number))
            found.append(where[canonical_order(records.digests[where])])
        return found

    def take(self, mask: NDArray[np.bool_]) -> "Assignment":
        """Return the placement of the records that `mask` keeps; nobody else moves."""
        return Assignment(self.shards, self.slices, self.shard[mask], self.slice[mask])

    def sizes(self) -> NDArray[np.int64]:
        """Return the number of records per shard and slice, int64 (S, R)."""
        counts = np.zeros((self.shards, self.slices), np.int64)
        np.add.at(counts, (self.shard, self.slice), 1)
        return counts

    def summary(self) -> dict[str, Any]:
        """Return counts for DVC metrics and logs: no ids."""
        per_shard = self.sizes().sum(axis=1)
        return {
            "records": int(per_shard.sum()),
            "shards": self.shards,
            "slices": self.slices,
            "smallest_shard": int(per_shard.min()),
            "largest_shard": int(per_shard.max()),
            "empty_slices": int((self.sizes() == 0).sum()),
        }


def write_assignment(records: RecordSet, assignment: Assignment, path: Path) -> None:
    """Write the table record_id, shard, slice as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        [("record_id", pa.string()), ("shard", pa.int64()), ("slice", pa.int64())],
        metadata={"shards": str(assignment.shards), "slices": str(assignment.slices)},
    )
    columns = [pa.array(records.record_ids), assignment.shard, assignment.slice]
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")


def read_assignment(records: RecordSet, path: Path) -> Assignment:
    """Read a placement back, in the order of `records`.

    Raises:
        InputError: there is no such file, or it cannot be read.
        VerdictError: the file places other records than the ones given.
    """
    try:
        table = read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"no partition at {path}: run `dvc repro partition` first") from None
    except (pa.ArrowException, OSError):
        raise InputError(f"{path} is damaged: run `dvc repro partition` again") from None
    if table["record_id"].to_pylist() != records.record_ids:
        raise VerdictError(
            f"{path} places other records than data/train holds: run `dvc repro partition`"
        )
    counts = table.schema.metadata
    return Assignment(
        int(counts[b"shards"]),
        int(counts[b"slices"]),
        table["shard"].to_numpy(),
        table["slice"].to_numpy(),
    )
