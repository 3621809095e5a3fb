"""One affected constituent on its way to being unlearned: all that a method's function is handed.

student   the parent's constituent, to be changed: directly, or by the fits that are yielded
retain, forget, held_out, classes, log, attributions, prepared
what the method declared; anything else raises `AccessError`
teacher, fresh, build, draws
further networks and randomness, each from a seed domain of its own
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from forgetflow.config.base import Block
from forgetflow.errors import AccessError
from forgetflow.keys.digests import keyed_hash
from forgetflow.models.build import build, initialise
from forgetflow.training.chain import Samples
from forgetflow.training.log import TrainingLog
from forgetflow.training.recipe import Recipe
from forgetflow.unlearning.meter import Meter
from forgetflow.unlearning.preparation import load_parent
from forgetflow.unlearning.records import Records
from forgetflow.unlearning.view import Access, View

S = TypeVar("S", bound=Block)


@dataclass(frozen=True, eq=False)
class Case(Generic[S]):
    """One constituent of one deletion.

    Attributes:
        settings: the method's own block of params.yaml.
        shard: whose constituent it is.
        meter: what has passed through the case's networks.
    """

    settings: S
    shard: int
    _view: View
    _stem: str
    _prepared: Mapping[str, str]
    meter: Meter = field(default_factory=Meter)

    @property
    def recipe(self) -> Recipe:
        """How the constituent was trained."""
        return self._view.recipe

    @cached_property
    def student(self) -> nn.Module:
        """The network that becomes the unlearned constituent; in evaluation mode between fits."""
        return self.meter.watch(load_parent(self._view, self.shard)).eval()

    @cached_property
    def retain(self) -> Records:
        """The shard's retain set; needs `retain`, and `labels` for labels."""
        return Records.of(self._view.retain(self.shard), self.recipe.device, forgotten=False)

    @cached_property
    def forget(self) -> Records:
        """The shard's forget set; needs `forget`, and `labels` for labels."""
        return Records.of([self._view.forget(self.shard)], self.recipe.device, forgotten=True)

    @cached_property
    def held_out(self) -> Records:
        """Records that no constituent learned from; needs `held out`, and `labels` for labels."""
        records = self._view.held_out()
        labels = Access.LABELS in self._view.needs
        samples = Samples.of(records, np.arange(len(records)), labels=labels)
        return Records.of([samples], self.recipe.device, forgotten=False)

    @cached_property
    def classes(self) -> list[int]:
        """Classes that occur in the forget set; needs `class id`."""
        return self._view.forget_classes()

    @cached_property
    def log(self) -> TrainingLog:
        """The steps that made the parent's constituent; needs `training log`."""
        return self._view.training_log(self.shard)

    @property
    def attributions(self) -> Mapping[str, Tensor]:
        """The preparation `attributions`; needs `attributions`."""
        self._view.demand(Access.ATTRIBUTIONS)
        return self.prepared("attributions")

    def prepared(self, name: str) -> Mapping[str, Tensor]:
        """Return the tensors of a preparation that the method declared.

        Raises:
            AccessError: it did not declare one of that name.
        """
        if name not in self._prepared:
            raise AccessError(f"the method reads '{name}', which it does not prepare")
        return self._view.store.require(self._prepared[name])

    def teacher(self) -> nn.Module:
        """Return the parent's constituent, frozen, in evaluation mode."""
        network = self.meter.watch(load_parent(self._view, self.shard)).eval()
        return network.requires_grad_(requires_grad=False)

    def fresh(self, purpose: str) -> nn.Module:
        """Return an untrained network of the student's architecture.

        Args:
            purpose: decides its seed, with the run seed, shard and data of this case.
        """
        recipe = self.recipe
        network = build(recipe.model, recipe.input_shape, recipe.classes, self._seed(purpose))
        return self.meter.watch(network.to(recipe.device))

    def build(self, purpose: str, make: Callable[[], nn.Module]) -> nn.Module:
        """Return another network, initialised from the seed of `purpose`.

        Args:
            purpose: as in `fresh`.
            make: returns it on the CPU; its initial values do not count.
        """
        with torch.random.fork_rng(devices=[]):
            network = make()
        return self.meter.watch(initialise(network, self._seed(purpose)).to(self.recipe.device))

    def draws(self, purpose: str) -> torch.Generator:
        """Return the random numbers of `purpose`, on the CPU: the only randomness there is."""
        return torch.Generator().manual_seed(self._seed(purpose))

    def _seed(self, purpose: str) -> int:
        return keyed_hash(self.recipe.seed, "case", self._stem, self.shard, purpose) % 2**63
