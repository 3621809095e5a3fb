"""What the study of ARCANE compares: heads, selections, blocks, numbers of requests."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from forgetflow.config.partition import PartitionSettings, SelectionSettings
from forgetflow.config.settings import Settings
from forgetflow.errors import InputError
from forgetflow.partition.selection import Selection, own_entropy
from forgetflow.records.record_set import RecordSet
from forgetflow.studies.grid import FEWEST_DRAWS, make_distinct, require_at_least
from forgetflow.studies.protocol import StudyData

Head = Literal["gaussian", "autoencoder"]
Choice = Literal["all", "joint", "frozen", "threshold", "random"]
"""Who is learned from: everybody; the most informative share, chosen again after every deletion or
only once; records whose own entropy reaches a bound; a share by hash, the control."""

EXACT: dict[Choice, bool] = {
    "all": True, "joint": True, "frozen": False, "threshold": True, "random": True,
}  # fmt: skip
"""Whether a deletion leaves what a build without the records gives."""


@dataclass(frozen=True)
class Chosen:
    """A selection at a share.

    Attributes:
        choice: the rule.
        share: proportion alpha that is wanted; 1 for `all`.
    """

    choice: Choice
    share: float


EVERYBODY = Chosen("all", 1.0)


@dataclass(frozen=True)
class ArcaneGrid:
    """The values that are combined with each other.

    Attributes:
        heads: one-class models.
        shares: proportions alpha of each class that are selected, descending; 1 is always there.
        blocks: values of B.
        requests: values of K.
        seeds: builds of every combination.
        draws: forget sets of every K.
        hidden: units of the autoencoder's encoder; the last is its code.
        rate: learning rate of the autoencoder; None: the project's.
    """

    heads: tuple[Head, ...]
    shares: tuple[float, ...]
    blocks: tuple[int, ...]
    requests: tuple[int, ...]
    seeds: int
    draws: int
    hidden: tuple[int, ...]
    rate: float | None

    def __post_init__(self) -> None:
        """Let values be distinct and in order, and 1 be among the shares.

        Raises:
            InputError: a value is missing, unknown or below its minimum.
        """
        known = get_args(Head)
        if not self.heads or not set(self.heads) <= set(known):
            raise InputError(f"--heads takes {' and '.join(known)}, by commas")
        if not all(0 < share <= 1 for share in self.shares):
            raise InputError("--shares takes numbers above 0 up to 1, e.g. 0.5,0.3")
        shares = tuple(sorted({1.0, *map(float, self.shares)}, reverse=True))
        object.__setattr__(self, "shares", shares)
        object.__setattr__(self, "heads", tuple(head for head in known if head in self.heads))
        make_distinct(self, "blocks", "requests")
        if not self.hidden or min(self.hidden) < 1:
            raise InputError("--hidden needs one or more numbers from 1, e.g. 64,32")
        require_at_least(1, self, "seeds")
        require_at_least(FEWEST_DRAWS, self, "draws")
        if self.rate is not None and self.rate <= 0:
            raise InputError(f"--rate must be above 0, not {self.rate:g}")

    @property
    def learned(self) -> list[Chosen]:
        """Selections whose accuracy is told; a frozen one starts as a joint one does."""
        return self._with("joint", "threshold", "random")

    @property
    def deleted(self) -> list[Chosen]:
        """Selections whose deletions are counted; `random` costs what `threshold` does."""
        return self._with("joint", "frozen", "threshold")

    def _with(self, *choices: Choice) -> list[Chosen]:
        below = [share for share in self.shares if share < 1]
        return [EVERYBODY, *(Chosen(c, share) for c in choices for share in below)]

    def check(self, data: StudyData) -> None:
        """Refuse what these records cannot fill.

        Raises:
            InputError: there are too few records in all, or of any class, or all of their values
                fall into one bin.
        """
        records, selection = data.records, data.settings.partition.selection
        sizes = np.bincount(records.labels)
        if (sizes > 0).sum() < 2:
            raise InputError("one class cannot be told from another: ARCANE needs records of two")
        smallest, largest = int(sizes[sizes > 0].min()), int(sizes.max())
        if max(self.blocks) > smallest:
            raise InputError(
                f"--blocks {max(self.blocks)} is more than the {smallest} records of the smallest "
                "class: ask for fewer"
            )
        if max(self.requests) >= largest:
            raise InputError(
                f"--requests {max(self.requests)} is too many: the largest class has {largest} "
                f"records, so {largest - 1} is the most"
            )
        if len(self.shares) > 1 and len(np.unique(binned(records, selection))) == 1:
            raise InputError(
                f"every value falls into one bin between {selection.low:g} and "
                f"{selection.high:g}: set partition.selection.low and high to the range of the "
                "values, or ask for --shares 1"
            )


def binned(records: RecordSet, settings: SelectionSettings) -> np.typing.NDArray[np.uint8]:
    """Return the bin of every value, (N, D)."""
    return Selection(records, settings).codes


def selection_for(
    records: RecordSet, chosen: Chosen, settings: SelectionSettings
) -> SelectionSettings:
    """Return the settings of a selection that keeps about `share` of these records.

    The bound of `threshold` is the quantile of the records' own entropies. It stands in for one
    that a person would fix in advance: taken from the records, it would remember them.

    Args:
        records: the training set.
        chosen: rule and share; `random` is no selection, see `arcane_builds.candidates`.
        settings: range and number of bins.
    """
    plain: dict[str, Any] = {
        "bins": settings.bins, "low": settings.low, "high": settings.high,
    }  # fmt: skip
    if chosen.choice == "threshold":
        worth = np.sort(own_entropy(binned(records, settings), settings.bins))[::-1]
        bound = worth[max(1, round(chosen.share * len(worth))) - 1]
        return SelectionSettings(mode="threshold", threshold=float(bound), **plain)
    if chosen.choice in ("joint", "frozen"):
        frozen = chosen.choice == "frozen"
        return SelectionSettings(mode="joint", share=chosen.share, frozen=frozen, **plain)
    return SelectionSettings(**plain)


def partition_for(
    records: RecordSet, chosen: Chosen, blocks: int, settings: Settings
) -> PartitionSettings:
    """Return ARCANE's placement: blocks by plain hash, and the selection."""
    selection = selection_for(records, chosen, settings.partition.selection)
    return PartitionSettings(method="arcane", slices=blocks, selection=selection)
