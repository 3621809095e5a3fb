"""What layouts cost on the records at hand, side by side, for `forgetflow plan --layout`.

Every layout is placed as `sisa` would place it and judged by `expectation`: exact expectations
on that placement, slices included, of the requests that the deletion priors announce.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import computed_field

from forgetflow.config.settings import Settings
from forgetflow.errors import InputError
from forgetflow.partition import expectation, sisa
from forgetflow.partition.distribution import NEAR_BEST, Layout, layout_for, layout_of
from forgetflow.partition.expectation import Population
from forgetflow.records.record_set import RecordSet

OptionName = Literal["params", "uniform", "deletions", "points"]


@dataclass(frozen=True)
class Option:
    """One layout, and what it has to expect; costs are records passed through training.

    Attributes:
        rule: `params` (the bands that params.yaml has), `uniform`, or a rule of `layout_for`.
        layout: its bands.
        sequential: expected cost of all requests, served one by one.
        batch: expected cost of all requests, served together.
    """

    rule: OptionName
    layout: Layout
    sequential: float
    batch: float


@dataclass(frozen=True)
class Recommendation:
    """Layouts to choose from.

    Attributes:
        subjects: number of subjects in the training set.
        deletions: how many of them the priors expect to leave.
        full_retraining: cost of one training of all records.
        options: the layouts, those that need no change of settings first.
    """

    subjects: int
    deletions: float
    full_retraining: float
    options: tuple[Option, ...]

    @property
    def best(self) -> Option:
        """The first option that comes within one per cent of the least sequential cost."""
        least = min(one.sequential for one in self.options)
        return next(one for one in self.options if one.sequential <= NEAR_BEST * least)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def recommended(self) -> dict[str, Any]:
        """What goes into the block `partition` for the best, and its rule."""
        best = self.best.layout
        return {
            "rule": self.best.rule,
            "shards": sum(best.shards),
            "shard_thresholds": best.thresholds,
            "band_shards": best.shards if best.thresholds else (),
        }


def recommend(records: RecordSet, settings: Settings) -> Recommendation:
    """Compare uniform sharding, the rules of `layout_for` and what params.yaml has now.

    Raises:
        InputError: the model is a monolith, or not every subject has one deletion prior.
    """
    partition = settings.partition
    if partition.method != "sisa":
        raise InputError("only shards have a layout: set partition.method to sisa")
    placed = sisa.place(records, _with(settings, (), ()).partition, settings.run.seed)
    people = Population.of(placed, records.subject_ids)
    priors = _prior_of_each(people, records)
    sizes = np.bincount(people.subject, minlength=len(people))
    shards = partition.shards

    layouts: dict[OptionName, Layout] = {}
    if partition.shard_thresholds:
        now = (partition.shard_thresholds, partition.band_shards)
        layouts["params"] = layout_of(priors, *now, sizes)
    layouts |= {
        "uniform": layout_of(priors, (), (shards,), sizes),
        "deletions": layout_for(priors, shards, sizes, rule="deletions"),
        "points": layout_for(priors, shards, sizes, rule="points"),
    }
    epochs = settings.train.epochs
    return Recommendation(
        len(people),
        float(priors.sum()),
        epochs * len(records),
        tuple(_option(rule, one, records, priors, settings) for rule, one in layouts.items()),
    )


def _option(
    rule: OptionName,
    layout: Layout,
    records: RecordSet,
    priors: NDArray[np.float64],
    settings: Settings,
) -> Option:
    changed = _with(settings, layout.thresholds, layout.shards)
    placed = sisa.place(records, changed.partition, settings.run.seed)
    people = Population.of(placed, records.subject_ids)
    epochs = settings.train.epochs
    return Option(
        rule,
        layout,
        expectation.sequential(people, priors, epochs),
        expectation.batch(people, priors, epochs),
    )


def _with(settings: Settings, thresholds: tuple[float, ...], shards: tuple[int, ...]) -> Settings:
    bands = {"shard_thresholds": thresholds, "band_shards": shards}
    partition = settings.partition.model_copy(update=bands)
    return settings.model_copy(update={"partition": partition})


def _prior_of_each(people: Population, records: RecordSet) -> NDArray[np.float64]:
    """Return the prior of each subject, (M,)."""
    priors = np.full(len(people), -1.0)
    known = np.nan_to_num(records.priors, nan=-1.0)
    np.maximum.at(priors, people.subject, known)
    unequal = (known < 0) | (known != priors[people.subject])
    if unequal.any():
        count = len(np.unique(people.subject[unequal]))
        raise InputError(
            f"{count} of {len(people)} subject(s) have no deletion_prior, or several: a layout "
            "needs one for each, the same on all records of a person"
        )
    return priors
