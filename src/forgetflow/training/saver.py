"""Keeps what training makes: finished states, and recovery points inside a slice."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from forgetflow.store.store import Store
from forgetflow.training.chain import Chain
from forgetflow.training.gaps import Gap, progress_key
from forgetflow.training.learners import Learners, Resident
from forgetflow.training.lockstep import Track
from forgetflow.training.path import Weights, put_log
from forgetflow.training.recipe import Recipe
from forgetflow.training.schedule import samples_in
from forgetflow.training.sequential import weights_of
from forgetflow.training.work import OnStep, peak_memory


@dataclass(eq=False)
class Saver:
    """Keeps what training makes: finished states, and recovery points inside a slice."""

    store: Store
    learners: Learners
    data: Resident
    gaps: Sequence[Gap]
    tracks: Sequence[Track]
    on_step: OnStep | None
    saved: float = field(default_factory=time.perf_counter)
    passed: dict[int, list[Weights]] = field(default_factory=dict)

    def begin(self, member: int, segment: int) -> None:
        """Load what a gap continues from, or fit its normalisation."""
        self._prepare(member, segment)
        if self.logs:
            self.passed[member] = [self._weights(member)]

    def _prepare(self, member: int, segment: int) -> None:
        gap, number = self.gaps[member], self.gaps[member].first + segment
        keys, slices = gap.chain.keys, gap.chain.slices
        if segment == 0 and gap.resumed:
            self.learners.load(member, self.store.require(progress_key(keys[number])))
            return
        if segment == 0 and number:
            self.learners.load(member, self.store.require(keys[number - 1]))
        if len(slices[number]) and not any(len(part) for part in slices[:number]):
            where = torch.from_numpy(self.tracks[member].segments[segment].where)
            inputs = self.data.inputs.index_select(0, where.to(self.data.inputs.device))
            self.learners.fit_normalisation(member, inputs)

    def end(self, member: int, segment: int) -> None:
        """Store the state after a slice."""
        gap, track = self.gaps[member], self.tracks[member]
        number, work = gap.first + segment, gap.work
        key, steps = gap.chain.keys[number], gap.plan[number]
        resumed = gap.resumed if segment == 0 else 0
        before = gap.resumed_seconds if segment == 0 else 0.0
        records, batch = len(track.segment.where), gap.recipe.train.batch_size
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
            facts = work.totals()
        if number + 1 == len(gap.chain.keys) or not self.store.keeps_only_finished:
            state = self.learners.state(member)
            put_state(self.store, gap.chain, number, state, facts, gap.recipe)
        if self.logs:
            put_log(self.store, gap.chain, number, self.passed.pop(member)[:-1])
        self.store.remove(progress_key(key))

    @property
    def logs(self) -> bool:
        """Whether what every step changed is kept."""
        return self.gaps[0].recipe.train.log == "stored"

    def after(self, active: int) -> None:
        """Write recovery points when it is time, and tell of the step."""
        if self.logs:
            for member in range(active):
                self.passed[member].append(self._weights(member))
        seconds = self.gaps[0].recipe.train.checkpoint_seconds
        late = time.perf_counter() - self.saved >= seconds
        # A log that went on from a recovery point would lack what came before it.
        if late and not self.store.keeps_only_finished and not self.logs:
            for member in range(active):
                self._save_progress(member)
            self.saved = time.perf_counter()
        if self.on_step:
            for gap, track in zip(self.gaps[:active], self.tracks[:active], strict=True):
                self.on_step(gap.first + track.number, track.step - 1)

    def _weights(self, member: int) -> Weights:
        """Return a copy of a member's network: training changes what a state shows."""
        state = weights_of(self.learners.state(member))
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}

    def _save_progress(self, member: int) -> None:
        gap, track = self.gaps[member], self.tracks[member]
        number = gap.first + track.number
        if track.step == gap.plan[number]:
            return  # the finished state is stored next
        before = gap.resumed_seconds if track.number == 0 else 0.0
        self.store.put(
            progress_key(gap.chain.keys[number]),
            self.learners.state(member),
            kind="progress",
            learned_from=gap.chain.slice_digests[: number + 1],
            facts={"steps": track.step, "seconds": before + track.seconds},
        )


def put_state(
    store: Store,
    chain: Chain,
    number: int,
    state: Mapping[str, torch.Tensor],
    facts: Mapping[str, Any],
    recipe: Recipe,
) -> None:
    """Store the state after a slice."""
    store.put(
        chain.keys[number],
        state,
        kind="state",
        learned_from=chain.slice_digests[: number + 1],
        facts={
            "shard": chain.shard,
            "slice": number,
            **facts,
            "peak_memory_bytes": peak_memory(recipe.device),
        },
    )
