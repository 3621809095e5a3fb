"""Accuracy of ARCANE, of SISA and of one model, on the project's records, trained in memory.

Seed number n is the project with `run.seed` raised by n, as in `builds`. Models of all classes are
asked about every test record: nobody tells an ensemble which of its models to ask.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from forgetflow.config.model import GaussianSettings, ModelSettings
from forgetflow.config.partition import PartitionSettings
from forgetflow.config.settings import Settings
from forgetflow.keys.digests import keyed_hashes
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet
from forgetflow.store.memory import MemoryStore
from forgetflow.studies.arcane_grid import ArcaneGrid, Chosen, Head, partition_for
from forgetflow.studies.grid import layout
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.recipe import Recipe
from forgetflow.training.trainer import train_chains
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
    samples: int
    seconds: float
    megabytes: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping; `Outcome(**o.to_json()) == o`."""
        return asdict(self)


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


def space_of(
    records: RecordSet, settings: Settings, partition: PartitionSettings, number: int
) -> Workspace:
    """Return the workspace of seed `number`, with an empty store in memory."""
    seed = (settings.run.seed + number) % 2**63
    schema = records.schema
    chosen = settings.model_copy(update={"partition": partition})
    recipe = Recipe.from_settings(chosen, schema.input_shape, len(schema.class_names))
    return Workspace(
        chosen,
        records,
        place(records, partition, seed),
        replace(recipe, seed=seed),
        MemoryStore(),
    )


def candidates(records: RecordSet, chosen: Chosen, seed: int) -> Mask:
    """Return who may be learned from, bool (N,): all but for `random`, where a hash decides."""
    if chosen.choice != "random":
        return np.ones(len(records), bool)
    drawn = keyed_hashes(seed, "study selection", records.record_ids)
    return drawn < np.uint64(chosen.share * 2**64)


def arcane_outcomes(
    records: RecordSet,
    test: RecordSet,
    settings: Settings,
    grid: ArcaneGrid,
    head: Head,
    chosen: Chosen,
) -> list[list[Outcome]]:
    """Return the builds of every B, for every seed, of one head and selection."""
    own, found = head_settings(settings, grid, head), []
    for blocks in grid.blocks:
        partition = partition_for(records, chosen, blocks, settings)
        found.append(
            [
                outcome(
                    space := space_of(records, own, partition, number),
                    candidates(records, chosen, space.recipe.seed),
                    test,
                )
                for number in range(grid.seeds)
            ]
        )
    return found


def network_outcomes(
    records: RecordSet, test: RecordSet, settings: Settings, shards: int, slices: int, seeds: int
) -> list[Outcome]:
    """Return the builds of SISA with S shards of R slices; (1, 1) is the joint model."""
    own, found = joint_settings(settings), []
    for number in range(seeds):
        space = space_of(records, own, layout(shards, slices), number)
        found.append(outcome(space, space.everything, test))
    return found


def outcome(space: Workspace, keep: Mask, test: RecordSet) -> Outcome:
    """Build one ensemble of the kept records and return how well it does."""
    shards = space.occupied(keep)
    done = train_chains(space.store, [(space.chain(n, keep), space.recipe) for n in shards])
    members = [
        space.constituent(n, receipt, keep) for n, (receipt, _) in zip(shards, done, strict=True)
    ]
    card = space.card("original", members, keep)
    ensemble = Ensemble.from_store(card, space.store, space.recipe.device)
    right = ensemble.predict(test.inputs) == test.labels
    return Outcome(
        accuracy=float(right.mean()),
        worst_class=min(float(right[test.labels == c].mean()) for c in np.unique(test.labels)),
        learned=sum(member.records for member in members),
        samples=sum(work.samples for _, work in done),
        seconds=sum(work.seconds for _, work in done),
        # A store in memory keeps the last state of a chain, and its states are of one size.
        megabytes=sum(r.size for r, _ in done) * space.assignment.slices / 1e6,
    )


def shares_learned(outcomes: Sequence[Outcome], records: int) -> float:
    """Return the mean share of N records that builds learned from."""
    return sum(one.learned for one in outcomes) / (records * len(outcomes))
