"""Accuracy of sharded builds on the project's own records, trained in memory.

Seed number n is the project with `run.seed` raised by n: placement, weights and order change
with it, as they would if a person changed the setting. Number 0 is the project's own.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet
from forgetflow.store.memory import MemoryStore
from forgetflow.studies.grid import layout
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

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping; `Build(**b.to_json()) == b`."""
        return asdict(self)


def cell_space(space: Workspace, shards: int, slices: int, number: int) -> Workspace:
    """Return the workspace of seed `number` of a cell, with an empty store in memory."""
    seed = (space.settings.run.seed + number) % 2**63
    chosen = layout(shards, slices)
    return Workspace(
        space.settings.model_copy(update={"partition": chosen}),
        space.records,
        place(space.records, chosen, seed),
        replace(space.recipe.for_pools(), seed=seed),
        MemoryStore(),
    )


def builds(space: Workspace, test: RecordSet, shards: int, slices: int, seeds: int) -> list[Build]:
    """Train `seeds` ensembles of one cell and return how well they do.

    Args:
        space: records, settings and recipe of the project; its store and placement are not used.
        test: records to test on.
        shards: S.
        slices: R.
        seeds: number of builds, which train in lockstep where the engine can.
    """
    size = max(1, together(space.recipe.for_pools()) // shards)
    found: list[Build] = []
    for first in range(0, seeds, size):
        group = [
            cell_space(space, shards, slices, number)
            for number in range(first, min(first + size, seeds))
        ]
        found += _trained(group, test)
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
