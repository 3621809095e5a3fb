"""Accuracy of sharded builds on the project's own records, trained in memory.

Seed number n is the project with `run.seed` raised by n: placement, weights and order change
with it, as they would if a person changed the setting. Number 0 is the project's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import mean

import numpy as np

from forgetflow.config.partition import PartitionSettings
from forgetflow.config.settings import Settings
from forgetflow.partition.registry import place
from forgetflow.store.memory import MemoryStore
from forgetflow.store.receipt import Receipt
from forgetflow.studies.protocol import Row, StudyData, spread
from forgetflow.studies.sharding_grid import ShardingGrid, layout
from forgetflow.training.card import Constituent
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.trainer import together, train_chains
from forgetflow.training.work import Work
from forgetflow.training.workspace import Mask, Workspace


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
    samples: float
    seconds: float


def cell_row(data: StudyData, grid: ShardingGrid, shards: int, slices: int) -> Row:
    """Train the ensembles of S shards of R slices in memory; returns a row of `Sharding.cells`."""
    built = builds(data, shards, slices, grid.seeds)
    sizes = place(data.records, layout(shards, slices), data.settings.run.seed).sizes()
    row: Row = {"shards": shards, "slices": slices, "seeds": len(built)}
    for name in ("mean", "vote", "lone"):
        row |= spread(f"accuracy_{name}", [getattr(one, name) for one in built])
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
        spaces = [cell_space(data, shards, slices, number) for number in numbers]
        for one in trained(spaces, [space.everything for space in spaces]):
            members = one.ensemble.member_probabilities(data.test.inputs)
            found.append(Build(**accuracies(members, data.test.labels), **one.cost))
    return found


@dataclass(frozen=True, eq=False)
class Trained:
    """An ensemble that was trained from nothing.

    Attributes:
        ensemble: the models.
        members: its constituents.
        receipts: of their last states.
        work: what each took.
    """

    ensemble: Ensemble
    members: list[Constituent]
    receipts: tuple[Receipt, ...]
    work: tuple[Work, ...]

    @property
    def cost(self) -> dict[str, float]:
        """Samples passed through training, and seconds."""
        return {
            "samples": sum(one.samples for one in self.work),
            "seconds": sum(one.seconds for one in self.work),
        }


def trained(group: Sequence[Workspace], keeps: Sequence[Mask]) -> list[Trained]:
    """Train ensembles of the kept records, together where the engine can; nothing is stored.

    Args:
        group: a workspace for each ensemble.
        keeps: records of each, bool (N,).
    """
    memory, found = MemoryStore(), []
    each = [
        (replace(one, store=memory), keep, one.occupied(keep))
        for one, keep in zip(group, keeps, strict=True)
    ]
    chains = [(one.chain(n, keep), one.recipe) for one, keep, shards in each for n in shards]
    results = iter(train_chains(memory, chains))
    for one, keep, shards in each:
        receipts, work = zip(*islice(results, len(shards)), strict=True)
        members = [one.constituent(n, r, keep) for n, r in zip(shards, receipts, strict=True)]
        card = one.card("original", members, keep)
        ensemble = Ensemble.from_store(card, memory, one.recipe.device)
        found.append(Trained(ensemble, members, receipts, work))
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
