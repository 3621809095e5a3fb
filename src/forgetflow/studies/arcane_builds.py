"""Accuracy of ARCANE, of SISA and of one model, on the project's records, trained in memory.

Seed number n is the project with `run.seed` raised by n, as in `builds`. Models of all classes are
asked about every test record: nobody tells an ensemble which of its models to ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np

from forgetflow.config.model import GaussianSettings, ModelSettings
from forgetflow.config.settings import Settings
from forgetflow.keys.digests import keyed_hashes
from forgetflow.records.record_set import RecordSet
from forgetflow.studies.arcane_grid import (
    EVERYBODY,
    EXACT,
    ArcaneGrid,
    Choice,
    Chosen,
    Head,
    partition_for,
)
from forgetflow.studies.builds import space_of, trained
from forgetflow.studies.protocol import Row, StudyData, spread
from forgetflow.studies.sharding_grid import layout
from forgetflow.training.workspace import Mask, Workspace


@dataclass(frozen=True)
class Outcome:
    """One build of an ensemble.

    Attributes:
        accuracy: on the test records.
        worst_class: the least accuracy on the test records of one class.
        learned: number of records learned from.
        samples: records passed through training.
        seconds: computing time; constituents in lockstep share it.
        megabytes: size of all saved states, in 10^6 bytes.
    """

    accuracy: float
    worst_class: float
    learned: int
    samples: float
    seconds: float
    megabytes: float


def head_settings(settings: Settings, grid: ArcaneGrid, head: Head) -> Settings:
    """Return the project's settings with a one-class model in place of its own."""
    gaussian: GaussianSettings = settings.model.gaussian
    model = ModelSettings(architecture=head, hidden=grid.hidden, gaussian=gaussian)
    changes: dict[str, Any] = {"engine": "auto"}
    if grid.rate is not None:
        changes["learning_rate"] = grid.rate
    train = settings.train.model_copy(update=changes)
    return settings.model_copy(update={"model": model, "train": train})


def joint_settings(settings: Settings) -> Settings:
    """Return the project's settings with its network, or an mlp where it has none."""
    if settings.model.family == "network":
        return settings
    return settings.model_copy(
        update={
            "model": ModelSettings(),
            "train": settings.train.model_copy(update={"engine": "auto"}),
        }
    )


def candidates(records: RecordSet, chosen: Chosen, seed: int) -> Mask:
    """Return who may be learned from, bool (N,): all but for `random`, where a hash decides."""
    if chosen.choice != "random":
        return np.ones(len(records), bool)
    drawn = keyed_hashes(seed, "study selection", records.record_ids)
    return drawn < np.uint64(chosen.share * 2**64)


def arcane_rows(
    data: StudyData, grid: ArcaneGrid, head: Head, choice: Choice, share: float
) -> list[Row]:
    """Train ARCANE with one head and selection; returns a row of `models` for every B."""
    own, chosen, rows = head_settings(data.settings, grid, head), Chosen(choice, share), []
    for blocks in grid.blocks:
        partition = partition_for(data.records, chosen, blocks, data.settings)
        outcomes = []
        for number in range(grid.seeds):
            space = space_of(data, own, partition, number)
            keep = candidates(data.records, chosen, space.recipe.seed)
            outcomes.append(outcome(space, keep, data.test))
        rows.append(_row(head, chosen, blocks, outcomes, len(data.records)))
    return rows


def network_row(data: StudyData, grid: ArcaneGrid, shards: int, slices: int) -> Row:
    """Train SISA with S shards of R slices; (1, 1) is the joint model."""
    own, outcomes = joint_settings(data.settings), []
    for number in range(grid.seeds):
        space = space_of(data, own, layout(shards, slices), number)
        outcomes.append(outcome(space, space.everything, data.test))
    name = "joint" if (shards, slices) == (1, 1) else "sisa"
    return _row(name, EVERYBODY, slices, outcomes, len(data.records))


def _row(name: str, chosen: Chosen, blocks: int, outcomes: Sequence[Outcome], records: int) -> Row:
    row: Row = {
        "model": name,
        "selection": chosen.choice,
        "share": chosen.share,
        "blocks": blocks,
        "exact": EXACT[chosen.choice],
        "seeds": len(outcomes),
        **spread("accuracy", [one.accuracy for one in outcomes]),
    }
    for column in ("worst_class", "learned", "samples", "seconds", "megabytes"):
        row[column] = mean(float(getattr(one, column)) for one in outcomes)
    return row | {"share_learned": row["learned"] / records}


def outcome(space: Workspace, keep: Mask, test: RecordSet) -> Outcome:
    """Build one ensemble of the kept records and return how well it does."""
    (built,) = trained([space], [keep])
    right = built.ensemble.predict(test.inputs) == test.labels
    return Outcome(
        accuracy=float(right.mean()),
        worst_class=min(float(right[test.labels == c].mean()) for c in np.unique(test.labels)),
        learned=sum(member.records for member in built.members),
        # A store in memory keeps the last state of a chain, and its states are of one size.
        megabytes=sum(r.size for r in built.receipts) * space.assignment.slices / 1e6,
        **built.cost,
    )
