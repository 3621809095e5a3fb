"""What the study of sharding compares: shards, slices, numbers of requests, seeds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from forgetflow.config.partition import PartitionSettings
from forgetflow.errors import InputError
from forgetflow.records.record_set import RecordSet

FEWEST_DRAWS = 30
"""Fewer draws of a forget set give no mean whose spread could be told."""


@dataclass(frozen=True)
class Grid:
    """The values that are combined with each other.

    Attributes:
        shards: values of S.
        slices: values of R.
        requests: values of K.
        seeds: builds of every (S, R).
        draws: forget sets of every K.
    """

    shards: tuple[int, ...]
    slices: tuple[int, ...]
    requests: tuple[int, ...]
    seeds: int
    draws: int

    @classmethod
    def of(
        cls,
        shards: Sequence[int],
        slices: Sequence[int],
        requests: Sequence[int],
        seeds: int,
        draws: int,
    ) -> "Grid":
        """Return a grid of distinct, ascending values.

        Raises:
            InputError: a value is missing or below its minimum.
        """
        lists = {"shards": shards, "slices": slices, "requests": requests}
        for name, values in lists.items():
            if not values or min(values) < 1:
                raise InputError(f"--{name} needs one or more numbers from 1, e.g. 1,5,10")
        if seeds < 1:
            raise InputError(f"--seeds must be 1 or more, not {seeds}")
        if draws < FEWEST_DRAWS:
            raise InputError(f"--draws must be {FEWEST_DRAWS} or more, not {draws}")
        chosen = {name: tuple(sorted(set(values))) for name, values in lists.items()}
        return cls(**chosen, seeds=seeds, draws=draws)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Grid":
        """Inverse of `to_json`."""
        shards, slices, requests = (tuple(data[n]) for n in ("shards", "slices", "requests"))
        return cls(shards, slices, requests, data["seeds"], data["draws"])

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping; `Grid.from_json(g.to_json()) == g`."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Every (S, R); (1, 1) is always there, because it is full retraining."""
        return sorted({(1, 1)} | {(s, r) for s in self.shards for r in self.slices})

    def check(self, records: RecordSet) -> None:
        """Refuse what these records cannot fill.

        Raises:
            InputError: there are too few records, subjects, or records of a class.
        """
        total, subjects = len(records), len(set(records.subject_ids))
        shards, slices, requests = max(self.shards), max(self.slices), max(self.requests)
        if shards > subjects:
            raise InputError(
                f"--shards {shards} is more than the {subjects} subjects of the training set, "
                "whose records stay together: ask for fewer"
            )
        if shards * slices > total:
            raise InputError(
                f"{shards} shards of {slices} slices are {shards * slices} slices for {total} "
                "records: ask for fewer"
            )
        largest = int(np.bincount(records.labels).max())
        most = min(largest, total - 1, subjects - 1)
        if requests > most:
            raise InputError(
                f"--requests {requests} is too many: the largest class has {largest} records and "
                f"there are {subjects} subjects, so {max(most, 0)} is the most"
            )


def layout(shards: int, slices: int) -> PartitionSettings:
    """Return the placement of one cell: plain hashes, without bands of deletion prior."""
    return PartitionSettings(method="sisa", shards=shards, slices=slices)
