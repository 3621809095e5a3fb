"""What a method presupposes of a trained constituent: computed once, kept, and found by key.

Importances of weights, curvature, a training log: a preparation depends on the constituent and on
what it learned from, not on who asks to be forgotten, so it can be made before anybody does, and
serves every deletion until the constituent changes. Its cost is told apart from the method's own.

    Trained ──► compute ──► tensors ──► store, kind `prepared`, learned_from = the constituent's
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import Tensor, nn

from forgetflow.keys.code import code_digest, module_of
from forgetflow.keys.digests import digest_of, set_digest
from forgetflow.models.build import build
from forgetflow.store.receipt import Receipt
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import weights_of
from forgetflow.training.work import peak_memory
from forgetflow.unlearning.meter import Meter
from forgetflow.unlearning.records import Records
from forgetflow.unlearning.view import View

KIND = "prepared"


@dataclass(frozen=True, eq=False)
class Trained:
    """One trained constituent and the records it learned from: what a preparation sees.

    Attributes:
        recipe: how it was trained.
        meter: counts what passes through its network.
    """

    _view: View
    _shard: int
    meter: Meter = field(default_factory=Meter)

    @property
    def recipe(self) -> Recipe:
        """How it was trained."""
        return self._view.recipe

    @cached_property
    def records(self) -> Records:
        """What it learned from, with labels."""
        return Records.of(self._view.learned(self._shard), self.recipe.device, forgotten=False)

    @cached_property
    def network(self) -> nn.Module:
        """The constituent, in evaluation mode."""
        return self.meter.watch(load_parent(self._view, self._shard)).eval()


@dataclass(frozen=True, eq=False)
class Preparation:
    """Something that methods presuppose of every constituent they edit.

    Attributes:
        name: what it is called in plans, receipts and `Case.prepared`.
        compute: makes it, a pure function of the trained constituent.
        passes: passes over the constituent's records that it takes, for plans.
    """

    name: str
    compute: Callable[[Trained], Mapping[str, Tensor]]
    passes: float = 1.0

    def key(self, view: View, shard: int) -> str:
        """Return its content key for the parent's constituent of a shard; computes nothing."""
        return digest_of(
            {
                "prepared": self.name,
                "parent": view.member(shard).key,
                "records": set_digest(np.concatenate(view.learned_sets(shard))),
                "recipe": view.recipe.digest,
                "code": code_digest(module_of(self.compute), __name__),
            }
        )

    def samples(self, view: View, shard: int) -> int:
        """Return how many records pass through the constituent."""
        return round(self.passes * sum(len(part) for part in view.learned_sets(shard)))

    def prepare(self, view: View, shard: int) -> Receipt:
        """Make it, or find it in the store, and return its receipt."""
        key = self.key(view, shard)
        if found := view.store.verify(key):
            return found
        started = time.perf_counter()
        trained = Trained(view, shard)
        tensors = self.compute(trained)
        names = [view.store.put_members(part) for part in view.learned_sets(shard)]
        return view.store.put(
            key,
            tensors,
            kind=KIND,
            learned_from=sorted({*view.member(shard).learned_from, *names}),
            facts={
                "shard": shard,
                "samples": trained.meter.forward,
                "forward_samples": trained.meter.forward,
                "backward_samples": trained.meter.backward,
                "steps": 0,
                "seconds": time.perf_counter() - started,
                "peak_memory_bytes": peak_memory(view.recipe.device),
            },
        )


def load_parent(view: View, shard: int) -> nn.Module:
    """Return the parent's constituent of a shard as a network on the recipe's device."""
    recipe = view.recipe
    network = build(recipe.model, recipe.input_shape, recipe.classes, seed=0)
    network.load_state_dict(weights_of(view.store.require(view.member(shard).key)))
    return network.to(recipe.device)
