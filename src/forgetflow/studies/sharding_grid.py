"""What the study of sharding compares: shards, slices, numbers of requests, seeds."""

from dataclasses import dataclass

import numpy as np

from forgetflow.config.partition import PartitionSettings
from forgetflow.errors import InputError
from forgetflow.studies.grid import FEWEST_DRAWS, make_distinct, require_at_least
from forgetflow.studies.protocol import StudyData


@dataclass(frozen=True)
class ShardingGrid:
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

    def __post_init__(self) -> None:
        """Let values be distinct and ascending.

        Raises:
            InputError: a value is missing or below its minimum.
        """
        make_distinct(self, "shards", "slices", "requests")
        require_at_least(1, self, "seeds")
        require_at_least(FEWEST_DRAWS, self, "draws")

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Every (S, R); (1, 1) is always there, because it is full retraining."""
        return sorted({(1, 1)} | {(s, r) for s in self.shards for r in self.slices})

    def check(self, data: StudyData) -> None:
        """Refuse what these records cannot fill.

        Raises:
            InputError: there are too few records, subjects, or records of a class.
        """
        records = data.records
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
