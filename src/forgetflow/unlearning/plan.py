"""What a deletion will cost, before anything is written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from forgetflow.errors import InputError
from forgetflow.partition.forecast import restart_slices
from forgetflow.project import Project
from forgetflow.requests.batches import batch_manifest, forgotten_ids
from forgetflow.requests.manifest import Manifest
from forgetflow.requests.overview import pending_manifest
from forgetflow.requests.times import moment
from forgetflow.training.schedule import samples_in, slice_steps
from forgetflow.training.workspace import Mask, Workspace
from forgetflow.unlearning import method_named
from forgetflow.unlearning.runner import planned_restarts


@dataclass(frozen=True)
class Plan:
    """Forecast of one deletion; samples are records passed forward and backward.

    Attributes:
        batch: batch id, sealed or to be sealed.
        sealed: whether it is sealed already.
        method: unlearning method.
        guarantee: what the method promises.
        records: records to forget.
        requests: requests answered.
        shards: affected shard -> first slice that loses a record.
        total_shards: S.
        retrain_samples: samples the method trains; None for methods that are no rebuild.
        full_samples: samples of a full retraining.
        estimated_seconds: training time at the speed the original was trained with.
        full_seconds: the same for full retraining.
        objects_to_erase: stored states that learned from a record of the batch.
        due_at: most urgent due date.
        days_left: whole days until then.
    """

    batch: str
    sealed: bool
    method: str
    guarantee: str
    records: int
    requests: int
    shards: Mapping[int, int]
    total_shards: int
    retrain_samples: int | None
    full_samples: int
    estimated_seconds: float | None
    full_seconds: float | None
    objects_to_erase: int
    due_at: datetime
    days_left: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return {
            **asdict(self),
            "shards": {str(shard): number for shard, number in self.shards.items()},
            "due_at": self.due_at.isoformat(),
        }


def plan_deletion(
    project: Project, batch: str | None, method: str | None, clock: datetime | None = None
) -> Plan:
    """Forecast a sealed batch, or (batch None) what sealing now would freeze. Writes nothing.

    Raises:
        InputError: no such batch, or nothing is waiting to be sealed.
    """
    manifest, before, sealed = _target(project, batch, method)
    space = Workspace.open(project)
    chosen = method_named(method or manifest.method)
    forget = space.records.mask(manifest.record_ids)
    gone = space.records.mask(before)
    retain, kept_before = ~(forget | gone), ~gone
    rebuilt = planned_restarts(space, chosen, retain, forget)
    retrain = None if rebuilt is None else _samples(space, retain, rebuilt)
    full = _samples(space, retain, dict.fromkeys(space.occupied(retain), 0))
    pace = _seconds_per_sample(space, kept_before)
    return Plan(
        batch=manifest.batch,
        sealed=sealed,
        method=chosen.name,
        guarantee=chosen.guarantee.value,
        records=int(forget.sum()),
        requests=len(manifest.requests),
        shards=restart_slices(space.assignment, forget),
        total_shards=space.assignment.shards,
        retrain_samples=retrain,
        full_samples=full,
        estimated_seconds=None if pace is None or retrain is None else retrain * pace,
        full_seconds=None if pace is None else full * pace,
        objects_to_erase=len(space.store.learned_from(space.records.digests[forget])),
        due_at=manifest.due_at,
        days_left=(manifest.due_at - moment(clock)).days,
    )


def _target(
    project: Project, batch: str | None, method: str | None
) -> tuple[Manifest, list[str], bool]:
    """Return the manifest, the ids forgotten before it, and whether it is sealed."""
    if batch is None:
        pending = pending_manifest(project, method=method)
        if pending is None:
            raise InputError("nothing is waiting to be sealed: name a batch, or add a request")
        return pending, forgotten_ids(project, pending.parent), False
    manifest = batch_manifest(project, batch)
    return manifest, forgotten_ids(project, manifest.parent), True


def _samples(space: Workspace, keep: Mask, restarts: Mapping[int, int]) -> int:
    """Return the samples of training these shards again from these slices on."""
    train, total = space.recipe.train, 0
    sizes = space.assignment.take(keep).sizes()
    for shard, first in restarts.items():
        steps = slice_steps(sizes[shard].tolist(), train.epochs, train.batch_size)
        seen = np.cumsum(sizes[shard])
        total += sum(
            samples_in(int(seen[number]), train.batch_size, steps[number])
            for number in range(first, len(steps))
        )
    return total


def _seconds_per_sample(space: Workspace, keep: Mask) -> float | None:
    """Return the measured pace of the states that are in the store; None if there are none."""
    seconds = samples = 0.0
    for shard in space.occupied(keep):
        for key in space.chain_keys(shard, keep):
            receipt = space.store.receipt(key)
            if receipt is not None:
                seconds += receipt.facts["seconds"]
                samples += receipt.facts["samples"]
    return seconds / samples if samples else None
