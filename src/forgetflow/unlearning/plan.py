"""What a deletion will cost, before anything is written."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.project import Project
from forgetflow.errors import InputError, VerdictError
from forgetflow.partition.expectation import Population, drawn, untouched
from forgetflow.requests.batches import batch_manifest, forgotten_ids
from forgetflow.requests.manifest import Manifest
from forgetflow.requests.overview import pending_manifest
from forgetflow.requests.times import UtcTime, moment
from forgetflow.training.card import ModelCard, read_card
from forgetflow.training.work import slice_samples
from forgetflow.training.workspace import Mask, Workspace
from forgetflow.unlearning.protocol import (
    Foretells,
    UnlearningMethod,
    guarantee_of,
    jobs_of,
    refuse,
)
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import Deletion, changed_slices, planned_restarts, restarts
from forgetflow.unlearning.view import View


@dataclass(frozen=True)
class Waiting:
    """What it would save to serve this batch together with a later one of the same size.

    Now and again later costs `Plan.retrain_samples` + `later_samples`; waiting costs
    `together_samples`; the difference is `saved_samples`. All but the first are expectations
    over who asks later: every subject that is left, with equal chance.

    Attributes:
        subjects: how many are assumed to ask later: as many as this batch has, or all the rest.
        later_samples: samples of a batch of their own, after this one.
        together_samples: samples of one batch of both.
        saved_samples: what waiting saves: the part of this retraining that the later one undoes.
        saved_seconds: the same in training time; None without a measured pace.
    """

    subjects: int
    later_samples: float
    together_samples: float
    saved_samples: float
    saved_seconds: float | None


@dataclass(frozen=True)
class Plan:
    """Forecast of one deletion; samples are records passed forward and backward.

    Attributes:
        batch: batch id, sealed or to be sealed.
        sealed: whether it is sealed already.
        method: unlearning method.
        guarantee: what the method promises.
        records: records to forget.
        learned: those that a constituent learned from; the others were not selected.
        reselected: records that stay and are selected, or no longer selected, because of those
            that leave.
        requests: requests answered.
        shards: affected shard -> first slice that loses a record.
        total_shards: S.
        retrain_samples: samples the method trains; None where that cannot be foretold.
        prepare_samples: what the method presupposes and is not there yet -> samples to make it.
        full_samples: samples of a full retraining.
        estimated_seconds: training time at the speed the original was trained with, or
            measured on a copy in memory where a method changes a model without training it.
        full_seconds: the same for full retraining.
        objects_to_erase: stored states that learned from a record of the batch.
        due_at: most urgent due date.
        days_left: whole days until then.
        waiting: what it would save to wait for as many subjects more; None where nobody can tell.
            A sealed batch shows what it would have been.
        waiting_note: why nobody can tell; else empty.
        start_by: latest moment to start that leaves time, before the due date, for one full
            retraining at the measured pace, which no rebuild exceeds however many more requests
            come in; without a pace, the due date. Evaluation and erasure come on top.
        wait_days: whole days until then that one may wait, 0 when there is none.
        note: why the work cannot be foretold; else empty.
    """

    batch: str
    sealed: bool
    method: str
    guarantee: str
    records: int
    learned: int
    reselected: int
    requests: int
    shards: Mapping[int, int]
    total_shards: int
    retrain_samples: int | None
    prepare_samples: Mapping[str, int]
    full_samples: int
    estimated_seconds: float | None
    full_seconds: float | None
    objects_to_erase: int
    due_at: UtcTime
    days_left: int
    waiting: Waiting | None
    waiting_note: str
    start_by: UtcTime
    wait_days: int
    note: str


def plan_deletion(
    project: Project, batch: str | None, method: str | None, clock: datetime | None = None
) -> Plan:
    """Forecast a sealed batch, or (batch None) what sealing now would freeze. Writes nothing.

    Raises:
        InputError: no such batch, nothing is waiting to be sealed, or it is not for the method.
    """
    manifest, forgotten, sealed = _target(project, batch, method)
    space = Workspace.open(project)
    chosen = method_named(method or manifest.method, space.settings)
    forget = space.records.mask(manifest.record_ids)
    gone = space.records.mask(forgotten)
    retain, kept_before = ~(forget | gone), ~gone
    passes = _passes(space, retain)
    rebuilt = planned_restarts(space, chosen, retain, forget)
    again = None if rebuilt is None else _from(rebuilt, passes)
    full = int(passes.sum())
    pace = _seconds_per_sample(space, kept_before)
    full_seconds = None if pace is None else full * pace
    parent = _parent(project, space, manifest.parent, kept_before)
    view = View(manifest.batch, parent, chosen.needs, space, retain, forget)
    refuse(chosen, view)
    estimate: float | None = None
    if again is None:
        retrain, estimate, note = _foretold(chosen, view)
    else:
        retrain, note = int(again.sum()), ""
    if estimate is None and pace is not None and retrain is not None:
        estimate = retrain * pace
    now = moment(clock)
    start_by = _before(manifest.due_at, full_seconds)
    waiting, waiting_note = _waiting(space, chosen, retain, forget, again, pace)
    return Plan(
        batch=manifest.batch,
        sealed=sealed,
        method=chosen.name,
        guarantee=guarantee_of(chosen, space.settings).value,
        records=int(forget.sum()),
        learned=int((forget & (before := space.learned(kept_before))).sum()),
        reselected=int((retain & (before ^ space.learned(retain))).sum()),
        requests=len(manifest.requests),
        shards=changed_slices(space, retain, forget),
        total_shards=space.assignment.shards,
        retrain_samples=retrain,
        prepare_samples=_unprepared(chosen, view),
        full_samples=full,
        estimated_seconds=estimate,
        full_seconds=full_seconds,
        objects_to_erase=len(space.store.learned_from(space.records.digests[forget])),
        due_at=manifest.due_at,
        days_left=(manifest.due_at - now).days,
        waiting=waiting,
        waiting_note=waiting_note,
        start_by=start_by,
        wait_days=max(0, (start_by - now).days),
        note=note,
    )


def rebuild_seconds(
    deletion: Deletion, method: UnlearningMethod, shards: Collection[int], measured: Workspace
) -> float | None:
    """Return the training time of a rebuild, as `plan_deletion` estimates it.

    Args:
        deletion: the batch.
        method: what rebuilds.
        shards: those that are still to be made.
        measured: in whose states the pace is measured: those of the original's run seed.

    Returns:
        Seconds; None for a method that rebuilds nothing, and where no pace was measured.
    """
    restarted = restarts(deletion, method)
    pace = _seconds_per_sample(measured, deletion.retain | deletion.forget)
    if restarted is None or pace is None:
        return None
    left = {shard: first for shard, first in restarted.items() if shard in shards}
    passes = _passes(deletion.workspace, deletion.retain)
    return float(_from(left, passes).sum() * pace)


def _parent(project: Project, space: Workspace, generation: str, kept: Mask) -> ModelCard:
    """Return the card of the parent, without constituents where it is not built yet."""
    folder = project.model(generation)
    return read_card(folder) if folder.exists() else space.card(generation, [], kept)


def _foretold(method: UnlearningMethod, view: View) -> tuple[int | None, float | None, str]:
    """Return samples and seconds of a method that rebuilds nothing, or why nobody knows."""
    if not isinstance(method, Foretells):
        return None, None, f"{method.name} rebuilds nothing, so no count of records foretells it"
    if not view.parent.constituents:
        return None, None, f"{view.parent.generation} is not built yet: run `dvc repro` first"
    try:
        works = [method.foretell(view, job) for job in jobs_of(method, view)]
    except (InputError, VerdictError) as error:  # not prepared, or not one that can be changed
        return None, None, str(error)
    measured = [work.seconds for work in works if work.seconds is not None]
    samples = sum(work.samples for work in works)
    return samples, sum(measured) if len(measured) == len(works) else None, ""


def _unprepared(method: UnlearningMethod, view: View) -> dict[str, int]:
    """Return preparation -> samples that it takes for the constituents that lack it."""
    found: dict[str, int] = {}
    for one in method.prepares:
        shards = [m.shard for m in view.parent.constituents if m.shard in view.affected]
        missing = [s for s in shards if not view.store.verify(one.key(view, s))]
        if missing:
            found[one.name] = sum(one.samples(view, shard) for shard in missing)
    return found


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


def _passes(space: Workspace, keep: Mask) -> NDArray[np.int64]:
    """Return the samples that training each state from the one before it takes, (S, R)."""
    sizes = space.assignment.take(space.learned(keep)).sizes()
    return np.array([slice_samples(space.recipe, own) for own in sizes.tolist()], np.int64)


def _from(restarts: Mapping[int, int], passes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `passes` where a restart trains again and 0 elsewhere, (S, R)."""
    found = np.zeros_like(passes)
    for shard, first in restarts.items():
        found[shard, first:] = passes[shard, first:]
    return found


def _waiting(
    space: Workspace,
    method: UnlearningMethod,
    retain: Mask,
    forget: Mask,
    again: NDArray[np.int64] | None,
    pace: float | None,
) -> tuple[Waiting | None, str]:
    """Return what a later batch of as many subjects would save, or why nobody can tell.

    `again` are today's samples, None for methods that rebuild nothing.

    A state that the later batch trains again costs it the same whether or not this one trained
    it, and one that it leaves alone costs a joint batch what it costs today. So waiting saves
    today's samples of every state, times the chance that the later batch undoes them.
    """
    if again is None:
        return None, f"{method.name} rebuilds nothing that a later batch could undo"
    # The expectations are of gradient steps over whole shards.
    if space.recipe.engine == "closed form":
        return None, f"a {space.recipe.model.architecture} is fitted in closed form"
    if space.selection is not None:
        return None, "nobody can tell whom partition.selection chooses later"
    ids = np.array(space.records.subject_ids, str)
    people = Population.of(space.assignment.take(retain), ids[retain].tolist())
    asking = min(len(np.unique(ids[forget])), len(people))
    if asking == 0:
        return None, "nobody is left who could ask later"
    full = method.rebuilds == "all"
    later = drawn(people, asking, space.recipe.train.epochs, full=full)
    undone = 1.0 if full else 1 - untouched(people, asking)
    saved = float((again * undone).sum())
    waiting = Waiting(
        subjects=asking,
        later_samples=later,
        together_samples=float(again.sum()) + later - saved,
        saved_samples=saved,
        saved_seconds=None if pace is None else saved * pace,
    )
    return waiting, ""


def _before(due: datetime, seconds: float | None) -> datetime:
    return (due - timedelta(seconds=seconds or 0)).replace(microsecond=0)


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
