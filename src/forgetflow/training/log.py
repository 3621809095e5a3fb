"""The path that training took: the weights before every step, kept or found again.

Which records a step learned from is not kept: the schedule derives it. Because training is a pure
function of its records, a path that nobody kept can be had by training once more from nothing;
`train.log: stored` only decides who pays when. What is kept is an object in the store beside each
slice's state, and has learned from what that state has learned from.

    theta_0 ──step 0──► theta_1 ──step 1──► ... ──► theta_T = the state after the slice

Shapes: T steps of a slice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from forgetflow.errors import InputError
from forgetflow.keys.digests import Digests, canonical_order
from forgetflow.store.memory import MemoryStore
from forgetflow.store.store import Store
from forgetflow.training.chain import Chain
from forgetflow.training.learners import Resident
from forgetflow.training.path import log_key
from forgetflow.training.recipe import Recipe
from forgetflow.training.registry import objective_of
from forgetflow.training.schedule import Batches, slice_steps
from forgetflow.training.sequential import untrained, weights_of
from forgetflow.training.trainer import train_chain


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """The steps of one constituent's training, numbered from 0 through all slices.

    Attributes:
        chain, recipe: what was trained, and how.
        store: where its path is.
        replayed: whether it had to be found again, at the cost of one training.
    """

    chain: Chain
    recipe: Recipe
    store: Store
    replayed: bool

    @classmethod
    def open(cls, chain: Chain, recipe: Recipe, store: Store) -> "TrainingLog":
        """Return the log of a constituent, from `store` or, where it is missing, by a replay.

        Raises:
            InputError: the constituent was not trained step by step.
        """
        if recipe.engine == "closed form":
            raise InputError(
                f"a {recipe.model.architecture} is fitted in closed form: it has no training log"
            )
        kept = [log_key(key) for key in chain.keys]
        if all(store.verify(key) for key in kept) and store.verify(chain.key):
            return cls(chain, recipe, store, replayed=False)
        memory = MemoryStore()
        logging = recipe.train.model_copy(update={"log": "stored"})
        train_chain(memory, chain, replace(recipe, train=logging))
        return cls(chain, recipe, memory, replayed=True)

    def __len__(self) -> int:
        return sum(self._counts)

    def records(self, step: int) -> Digests:
        """Return the digests of the records that a step learned from, uint8 (B, 32)."""
        number, within = self._place(step)
        batches = self._batches[number]
        return batches.digests[next(batches.iterate(within, within + 1))]

    def steps_with(self, digests: Digests) -> list[int]:
        """Return the steps whose batch held any of these records, uint8 (K, 32)."""
        wanted = {row.tobytes() for row in digests}
        found, first = [], 0
        for batches, count in zip(self._batches, self._counts, strict=True):
            hit = np.array([row.tobytes() in wanted for row in batches.digests], bool)
            if hit.any():
                steps = enumerate(batches.iterate(0, count), first)
                found += [step for step, rows in steps if hit[rows].any()]
            first += count
        return found

    def before(self, step: int) -> dict[str, Tensor]:
        """Return the weights before a step; `before(len(self))` is the trained network."""
        if step == len(self):
            return self._end
        number, within = self._place(step)
        return {name: tensor[within] for name, tensor in self._path(number).items()}

    def update(self, step: int) -> dict[str, Tensor]:
        """Return what a step changed, float64: weights after it minus weights before it."""
        after, before = self.before(step + 1), self.before(step)
        return {name: after[name].double() - before[name].double() for name in before}

    def updates(self, steps: Sequence[int]) -> Iterator[dict[str, Tensor]]:
        """Yield `update` of some steps."""
        return (self.update(step) for step in steps)

    def path(self, step: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the weights before a step, and the gradient there of what it descended.

        The gradient is that of the mean loss of the step's records, without weight decay, by
        parameter name. It is computed again: a path keeps weights only.
        """
        weights = self.before(step)
        network = untrained(self.recipe, 0, 0).to(self.recipe.device)
        network.load_state_dict(weights)
        data = self._resident
        rows = torch.from_numpy(data.find(self.records(step))).to(self.recipe.device)
        objective_of(self.recipe)(network, data.batch(rows)).backward()
        gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        return weights, gradients

    @cached_property
    def _resident(self) -> Resident:
        return Resident.of(self.chain.slices, self.recipe)

    @cached_property
    def _counts(self) -> list[int]:
        sizes = [len(part) for part in self.chain.slices]
        return slice_steps(sizes, self.recipe.train.epochs, self.recipe.train.batch_size)

    @cached_property
    def _batches(self) -> list[Batches]:
        parts, found = [part.digests for part in self.chain.slices], []
        for number in range(len(parts)):
            digests = np.concatenate(parts[: number + 1])
            digests = digests[canonical_order(digests)]
            place = (self.chain.shard, number)
            size, seed = self.recipe.train.batch_size, self.recipe.seed
            found.append(Batches(digests, size, seed, place))
        return found

    def _place(self, step: int) -> tuple[int, int]:
        """Return (slice, step within it)."""
        for number, count in enumerate(self._counts):
            if step < count:
                return number, step
            step -= count
        raise IndexError("there is no such step")

    def _path(self, number: int) -> dict[str, Tensor]:
        if number not in self._paths:
            self._paths.clear()  # one slice at a time: a path is large
            self._paths[number] = self.store.require(log_key(self.chain.keys[number]))
        return self._paths[number]

    @cached_property
    def _paths(self) -> dict[int, dict[str, Tensor]]:
        return {}

    @cached_property
    def _end(self) -> dict[str, Tensor]:
        return weights_of(self.store.require(self.chain.key))
