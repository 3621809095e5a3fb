"""Pools of models: many members of one procedure, one per seed, kept and shared by member.

A member is one object in the store: the weights of all its constituents, without slices and
without optimizer memory, under the digest of its constituents' content keys. A pool can
therefore grow, resume after a kill, and be shared by every measure that asks for the same member.

Shapes: M members, N records, C classes.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from forgetflow.errors import VerdictError
from forgetflow.pools.member import read_member
from forgetflow.pools.networks import Apart, Combined, Together
from forgetflow.store.store import Store
from forgetflow.training.abilities import Ability, lacks_of
from forgetflow.training.aggregation import Aggregation, combine
from forgetflow.training.ensemble import BATCH
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import untrained
from forgetflow.training.stacked import stackable


@dataclass(eq=False)
class Pool:
    """Members that are in the store.

    Attributes:
        recipe: architecture, shapes and device; its seed is not used.
        store: where they are.
        keys: store key of every member, M of them.
        aggregation: how constituents are combined.
        votes: as `abilities.votes`.
    """

    recipe: Recipe
    store: Store
    keys: Sequence[str]
    aggregation: Aggregation
    votes: int | None = None

    @property
    def members(self) -> int:
        """Number of models M."""
        return len(self.keys)

    @property
    def lacks(self) -> Mapping[Ability, str]:
        """What its models lack, and why."""
        return lacks_of(self.recipe.model.architecture)

    @property
    def facts(self) -> list[Mapping[str, Any]]:
        """What each member cost: `seconds`, `samples`, `steps`, and bytes of its weights.

        Raises:
            VerdictError: a member is missing.
        """
        receipts = [self.store.receipt(key) for key in self.keys]
        if None in receipts:
            raise VerdictError("a member of the pool is not in the store: train the pool first")
        return [{**r.facts, "bytes": r.size} for r in receipts if r is not None]

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return class probabilities, float64 (M, N, C), for inputs (N, *input_shape)."""
        return np.stack([self._member(key, inputs) for key in self.keys])

    def network(self, member: int) -> nn.Module:
        """Return a fresh copy of one model, in evaluation mode.

        It maps inputs (B, *input_shape) to log-probabilities (B, C), minus infinity for a class
        that no one-class model is left of. `vote` is treated as `mean`, because a vote has no
        gradient.
        """
        shards, constituents = self._constituents(self.keys[member])
        return Combined(constituents, self.aggregation, shards, self.recipe.classes).eval()

    @cached_property
    def _template(self) -> nn.Module:
        return untrained(self.recipe, 0, 0)

    def _constituents(self, key: str) -> tuple[list[int], nn.Module]:
        """Return the shards of a member's constituents, and all of them as one module."""
        members = dict(sorted(read_member(self.store, key).items()))
        if stackable(self._template):
            together = Together(self._template, list(members.values()))
            return list(members), together.to(self.recipe.device).eval()
        networks = []
        for weights in members.values():
            network = deepcopy(self._template)
            network.load_state_dict(weights)
            networks.append(network)
        return list(members), Apart(networks).to(self.recipe.device).eval()

    def _member(self, key: str, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        shards, constituents = self._constituents(key)
        with torch.inference_mode():
            parts = [
                combine(
                    constituents(x.to(self.recipe.device)),
                    self.aggregation,
                    shards,
                    self.recipe.classes,
                ).cpu()
                for x in torch.from_numpy(inputs).split(BATCH)
            ]
        return torch.cat(parts).numpy()


@dataclass(eq=False)
class Untrained:
    """Networks with initial weights only; of one-class models, one per class.

    Attributes:
        recipe: architecture and shapes; its models have parameters.
        seeds: one per member.
    """

    recipe: Recipe
    seeds: Sequence[int]
    votes: int | None = None

    @property
    def members(self) -> int:
        """Number of networks."""
        return len(self.seeds)

    @property
    def lacks(self) -> Mapping[Ability, str]:
        """What its models lack, and why."""
        return lacks_of(self.recipe.model.architecture)

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return class probabilities, float64 (M, N, C), for inputs (N, *input_shape)."""
        with torch.inference_mode():
            parts = [
                torch.cat([self.network(m)(x) for x in torch.from_numpy(inputs).split(BATCH)])
                for m in range(self.members)
            ]
        return np.stack([part.double().exp().numpy() for part in parts])

    def network(self, member: int) -> nn.Module:
        """Return one network, mapping inputs to log-probabilities."""
        recipe, seed = self.recipe, self.seeds[member]
        scored = recipe.model.family == "one-class"
        shards = range(recipe.classes if scored else 1)
        constituents = Apart([untrained(recipe, seed, shard) for shard in shards])
        return Combined(constituents, "scores" if scored else "mean", shards, recipe.classes).eval()
