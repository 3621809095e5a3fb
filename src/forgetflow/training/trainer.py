"""The one deterministic trainer: full builds, deletions and pools run the same lines.

A state is the network (buffers included), the optimizer's memory and the step count; all of it
is in the checkpoint, so continuing from a file and never having stopped give the same bits.
"""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from forgetflow.keys import digest_of
from forgetflow.store import Receipt, Store
from forgetflow.training.chain import Chain, Recipe
from forgetflow.training.learners import Learners, Resident, fitting_gpu, learners
from forgetflow.training.lockstep import BURST, Segment, Track, longest_first, run
from forgetflow.training.schedule import Batches, samples_in, slice_steps

OnStep = Callable[[int, int], None]
"""Called after every optimizer step with (slice, step within the slice)."""

PARTS = "by_slice"
"""Fact of a finished state that stands for its whole chain: what each slice took."""

CACHE_BYTES = 2_000_000
"""Parameters, memory and gradients of learners in lockstep should stay within this much."""

MOST = 64
"""Most learners in lockstep on a CPU."""


@dataclass
class Work:
    """What a piece of training cost, apart from what a cache saved.

    Attributes:
        samples, steps, seconds: totals.
        slices: numbers of the slices that were trained.
        parts: the same three figures for each of them.
    """

    samples: int = 0
    steps: int = 0
    seconds: float = 0.0
    slices: list[int] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)


def train_chain(
    store: Store, chain: Chain, recipe: Recipe, on_step: OnStep | None = None
) -> tuple[Receipt, Work]:
    """Make sure that every state of one chain is in the store; see `train_chains`.

    Returns:
        The receipt of the finished constituent, and the work done by this call.
    """
    return train_chains(store, [(chain, recipe)], on_step)[0]


def train_chains(
    store: Store,
    tasks: Sequence[tuple[Chain, Recipe]],
    on_step: OnStep | None = None,
) -> list[tuple[Receipt, Work]]:
    """Make sure that every state of every chain is in the store, training only what is missing.

    A state counts as present if its bytes match its receipt; a lost or damaged one is trained
    again from the state before it. Killed at any moment, a second call continues. Chains are
    trained together where the engine can; the bytes are those of each trained alone.

    Args:
        store: where states are kept. One that keeps finished states only gets no others.
        tasks: chains and their recipes, which may differ in the seed only.
        on_step: called after every step; meant for one chain.

    Returns:
        For each chain, the receipt of the finished constituent and the work done by this call.

    Raises:
        ValueError: a recipe of pools, and a store that is not a pool's.
    """
    if any(r.company == "matters" for _, r in tasks) and not store.keeps_only_finished:
        raise ValueError(
            "bits depend on company, so exactness cannot be promised: this recipe is for pools, "
            "which train in a store that keeps finished states only"
        )
    works = [Work() for _ in tasks]
    legs = [
        leg for task, work in zip(tasks, works, strict=True) for leg in _legs(store, task, work)
    ]
    legs.sort(key=lambda leg: -leg.steps)
    for group in _groups(legs):
        _train_together(store, group, on_step)
    receipts = [store.receipt(chain.key) for chain, _ in tasks]
    gone = [c.key for (c, _), receipt in zip(tasks, receipts, strict=True) if receipt is None]
    if gone:  # all have just been verified or written
        raise RuntimeError(f"state {gone[0][:12]} vanished while it was being built")
    return [(r, work) for r, work in zip(receipts, works, strict=True) if r is not None]


@dataclass(frozen=True, eq=False)
class _Leg:
    """Neighbouring slices of one chain whose states are missing.

    Attributes:
        chain, recipe: what is trained.
        first, last: slices.
        plan: steps of every slice of the chain.
        resumed: steps of slice `first` that a recovery point saves.
        resumed_seconds: what they took.
        work: where the work is counted.
    """

    chain: Chain
    recipe: Recipe
    first: int
    last: int
    plan: Sequence[int]
    resumed: int
    resumed_seconds: float
    work: Work

    @property
    def steps(self) -> int:
        """Steps to make."""
        return sum(self.plan[self.first : self.last + 1]) - self.resumed

    def track(self, data: Resident) -> Track:
        """Return the plan of this leg, one segment a slice."""
        segments = []
        for number in range(self.first, self.last + 1):
            parts = [part.digests for part in self.chain.slices[: number + 1]]
            where = data.find(np.concatenate(parts))
            place = (self.chain.shard, number)
            train = self.recipe.train
            batches = Batches(data.digests[where], train.batch_size, self.recipe.seed, place)
            start = self.resumed if number == self.first else 0
            segments.append(Segment(batches, where, start, self.plan[number]))
        return Track(segments)


def _legs(store: Store, task: tuple[Chain, Recipe], work: Work) -> list[_Leg]:
    """Return what of a chain is missing."""
    chain, recipe = task
    train = recipe.train
    plan = slice_steps([len(part) for part in chain.slices], train.epochs, train.batch_size)
    for part in chain.slices:  # also of finished states: a lost index is made good
        store.put_members(part.digests)
    if store.keeps_only_finished:
        missing = [] if store.verify(chain.key) else list(range(len(chain.keys)))
    else:
        missing = [n for n, key in enumerate(chain.keys) if not store.verify(key)]
    for number, key in enumerate(chain.keys):
        if number not in missing:
            # There is one if a kill came between writing the state and removing it.
            store.remove(_progress_key(key))
    legs = []
    for first in missing:
        if first - 1 in missing:
            continue
        last = next(n for n in range(first, len(chain.keys)) if n + 1 not in missing)
        progress = store.verify(_progress_key(chain.keys[first]))
        steps, seconds = 0, 0.0
        if progress:
            steps, seconds = progress.facts["steps"], progress.facts["seconds"]
        legs.append(_Leg(chain, recipe, first, last, plan, steps, seconds, work))
    return legs


def _groups(legs: Sequence[_Leg]) -> list[Sequence[_Leg]]:
    """Cut legs, longest first, into groups that train together."""
    size = together(legs[0].recipe) if legs else 1
    return [legs[start : start + size] for start in range(0, len(legs), size)]


def together(recipe: Recipe) -> int:
    """Return how many learners train in lockstep.

    As many as the cache holds. One on a GPU, where nobody promises that a product's bits do not
    depend on how many others are in the batch; if that is all right, as many as its memory holds.
    """
    if recipe.engine == "sequential":
        return 1
    if recipe.device.type != "cpu":
        return fitting_gpu(recipe) if recipe.company == "matters" else 1
    per_learner = sum(t.nbytes for t in learners(recipe, [(0, 0)]).state(0).values()) * 3 // 2
    return int(min(max(CACHE_BYTES // max(per_learner, 1), 4), MOST))


def _train_together(store: Store, legs: Sequence[_Leg], on_step: OnStep | None) -> None:
    recipe = legs[0].recipe
    parts = [part for leg in legs for part in leg.chain.slices[: leg.last + 1]]
    data = Resident.of(parts, recipe)
    tracks = [leg.track(data) for leg in legs]
    order = longest_first(tracks)
    legs, tracks = [legs[i] for i in order], [tracks[i] for i in order]
    group = learners(recipe, [(leg.recipe.seed, leg.chain.shard) for leg in legs])
    saver = _Saver(store, group, data, legs, tracks, on_step)
    every_step = on_step is not None or recipe.train.checkpoint_seconds == 0
    run(
        group,
        data,
        tracks,
        begin=saver.begin,
        end=saver.end,
        after=saver.after,
        burst=1 if every_step else BURST,
    )


@dataclass(eq=False)
class _Saver:
    """Keeps what training makes: finished states, and recovery points inside a slice."""

    store: Store
    learners: Learners
    data: Resident
    legs: Sequence[_Leg]
    tracks: Sequence[Track]
    on_step: OnStep | None
    saved: float = field(default_factory=time.perf_counter)

    def begin(self, member: int, segment: int) -> None:
        """Load what a leg continues from, or fit its normalisation."""
        leg, number = self.legs[member], self.legs[member].first + segment
        keys, slices = leg.chain.keys, leg.chain.slices
        if segment == 0 and leg.resumed:
            self.learners.load(member, self.store.require(_progress_key(keys[number])))
            return
        if segment == 0 and number:
            self.learners.load(member, self.store.require(keys[number - 1]))
        if len(slices[number]) and not any(len(part) for part in slices[:number]):
            where = torch.from_numpy(self.tracks[member].segments[segment].where)
            inputs = self.data.inputs.index_select(0, where.to(self.data.inputs.device))
            self.learners.fit_normalisation(member, inputs)

    def end(self, member: int, segment: int) -> None:
        """Store the state after a slice."""
        leg, track = self.legs[member], self.tracks[member]
        number, work = leg.first + segment, leg.work
        key, steps = leg.chain.keys[number], leg.plan[number]
        resumed = leg.resumed if segment == 0 else 0
        before = leg.resumed_seconds if segment == 0 else 0.0
        records, batch = len(track.segment.where), leg.recipe.train.batch_size
        samples = samples_in(records, batch, steps)
        facts: dict[str, Any] = {
            "steps": steps,
            "samples": samples,
            "seconds": before + track.seconds,
        }
        work.samples += samples - samples_in(records, batch, resumed)
        work.steps += steps - resumed
        work.seconds += track.seconds
        work.slices.append(number)
        work.parts.append(dict(facts))
        if self.store.keeps_only_finished:  # the last state stands for all of them
            facts = {name: getattr(work, name) for name in facts} | {PARTS: list(work.parts)}
        if number + 1 == len(leg.chain.keys) or not self.store.keeps_only_finished:
            self.store.put(
                key,
                self.learners.state(member),
                kind="state",
                learned_from=leg.chain.slice_digests[: number + 1],
                facts={
                    "shard": leg.chain.shard,
                    "slice": number,
                    **facts,
                    "peak_memory_bytes": peak_memory(leg.recipe.device),
                },
            )
        self.store.remove(_progress_key(key))

    def after(self, active: int) -> None:
        """Write recovery points when it is time, and tell of the step."""
        seconds = self.legs[0].recipe.train.checkpoint_seconds
        if time.perf_counter() - self.saved >= seconds and not self.store.keeps_only_finished:
            for member in range(active):
                self._save_progress(member)
            self.saved = time.perf_counter()
        if self.on_step:
            for leg, track in zip(self.legs[:active], self.tracks[:active], strict=True):
                self.on_step(leg.first + track.number, track.step - 1)

    def _save_progress(self, member: int) -> None:
        leg, track = self.legs[member], self.tracks[member]
        number = leg.first + track.number
        if track.step == leg.plan[number]:
            return  # the finished state is stored next
        before = leg.resumed_seconds if track.number == 0 else 0.0
        self.store.put(
            _progress_key(leg.chain.keys[number]),
            self.learners.state(member),
            kind="progress",
            learned_from=leg.chain.slice_digests[: number + 1],
            facts={"steps": track.step, "seconds": before + track.seconds},
        )


def _progress_key(key: str) -> str:
    """Return the key of the recovery point inside the slice that ends in state `key`."""
    return digest_of(["progress", key])


def peak_memory(device: torch.device) -> int:
    """Return the peak memory so far in bytes: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
