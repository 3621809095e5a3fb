"""Accuracy of sharded builds on the project's own records, trained in memory.

Seed number n is the project with `run.seed` raised by n: placement, weights and order change
with it, as they would if a person changed the setting. Number 0 is the project's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

import numpy as np

from forgetflow.config.partition import PartitionSettings
from forgetflow.config.settings import Settings
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet
from forgetflow.store.memory import MemoryStore
from forgetflow.studies.protocol import Row, StudyData
from forgetflow.studies.sharding_grid import ShardingGrid, layout
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.trainer import together, train_chains
from forgetflow.training.workspace import Workspace


@dataclass(frozen=True)
class Build:
    """One ensemble of S constituents.

    Attributes:
        mean: test accuracy of the mean prediction vector.
        vote: test accuracy of the label majority.
        lone: mean test accuracy of its constituents, each alone: the 1/S baseline.
        worst: test accuracy of the worst of them.
        samples: records passed through training.
        seconds: computing time; constituents in lockstep share it.
    """

    mean: float
    vote: float
    lone: float
    worst: float
    samples: int
    seconds: float


def cell_row(data: StudyData, grid: ShardingGrid, shards: int, slices: int) -> Row:
    """Train the ensembles of S shards of R slices in memory; returns a row of `Sharding.cells`."""
    built = builds(data, shards, slices, grid.seeds)
    sizes = place(data.records, layout(shards, slices), data.settings.run.seed).sizes()
    row: Row = {"shards": shards, "slices": slices, "seeds": len(built)}
    for name in ("mean", "vote", "lone"):
        values = [getattr(one, name) for one in built]
        row[f"accuracy_{name}"] = mean(values)
        row[f"accuracy_{name}_sd"] = stdev(values) if len(values) > 1 else None
    return row | {
        "accuracy_worst": min(one.worst for one in built),
        "smallest_shard": int(sizes.sum(axis=1).min()),
        "largest_shard": int(sizes.sum(axis=1).max()),
        "empty_slices": int((sizes == 0).sum()),
        "samples": mean(float(one.samples) for one in built),
        "seconds": mean(one.seconds for one in built),
    }


def space_of(
    data: StudyData, settings: Settings, partition: PartitionSettings, number: int
) -> Workspace:
    """Return the workspace of seed `number`, with an empty store in memory.

    Args:
        data: records of the project.
        settings: the project's, or others in their place.
        partition: how records are placed.
        number: what the seed is raised by.
    """
    seed = (settings.run.seed + number) % 2**63
    return Workspace(
        settings.model_copy(update={"partition": partition}),
        data.records,
        place(data.records, partition, seed),
        replace(data.recipe_of(settings), seed=seed),
        MemoryStore(),
    )


def cell_space(data: StudyData, shards: int, slices: int, number: int) -> Workspace:
    """Return the workspace of seed `number` of a cell, with the recipe of pools."""
    space = space_of(data, data.settings, layout(shards, slices), number)
    return replace(space, recipe=space.recipe.for_pools())


def builds(data: StudyData, shards: int, slices: int, seeds: int) -> list[Build]:
    """Train `seeds` ensembles of one cell and return how well they do.

    Args:
        data: records, settings and test records.
        shards: S.
        slices: R.
        seeds: number of builds, which train in lockstep where the engine can.
    """
    size = max(1, together(data.recipe.for_pools()) // shards)
    found: list[Build] = []
    for first in range(0, seeds, size):
        numbers = range(first, min(first + size, seeds))
        found += _trained([cell_space(data, shards, slices, n) for n in numbers], data.test)
    return found


def _trained(group: Sequence[Workspace], test: RecordSet) -> list[Build]:
    memory = MemoryStore()
    spaces = [replace(one, store=memory) for one in group]
    shards = [one.occupied(one.everything) for one in spaces]
    owners = [(one, shard) for one, own in zip(spaces, shards, strict=True) for shard in own]
    done = train_chains(memory, [(s.chain(n, s.everything), s.recipe) for s, n in owners])
    results = iter(done)
    found = []
    for one, own in zip(spaces, shards, strict=True):
        mine = [next(results) for _ in own]
        members = [
            one.constituent(shard, receipt, one.everything)
            for shard, (receipt, _) in zip(own, mine, strict=True)
        ]
        card = one.card("original", members, one.everything)
        ensemble = Ensemble.from_store(card, memory, one.recipe.device)
        found.append(
            Build(
                **accuracies(ensemble.member_probabilities(test.inputs), test.labels),
                samples=sum(work.samples for _, work in mine),
                seconds=sum(work.seconds for _, work in mine),
            )
        )
    return found


def accuracies(
    members: np.typing.NDArray[np.float32], labels: np.typing.NDArray[np.int64]
) -> dict[str, float]:
    """Return the accuracies of `Build` from softmax outputs (S, N, C) and labels (N,).

    Ties go to the lowest class index, as in `Ensemble.probabilities`.
    """
    votes = members.argmax(axis=2)
    counts = np.eye(members.shape[2])[votes].sum(axis=0)
    alone = (votes == labels).mean(axis=1)
    return {
        "mean": float((members.mean(axis=0, dtype=np.float64).argmax(axis=1) == labels).mean()),
        "vote": float((counts.argmax(axis=1) == labels).mean()),
        "lone": float(alone.mean()),
        "worst": float(alone.min()),
    }
