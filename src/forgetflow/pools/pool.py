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
from torch import Tensor, nn

from forgetflow.errors import VerdictError
from forgetflow.keys.digests import digest_of, keyed_hash
from forgetflow.models.normalize import Standardize
from forgetflow.store.receipt import Receipt
from forgetflow.store.store import Store
from forgetflow.training.abilities import Ability, lacks_of
from forgetflow.training.aggregation import Aggregation, combine, log_combine
from forgetflow.training.ensemble import BATCH
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import untrained, weights_of
from forgetflow.training.stacked import stackable

Weights = Mapping[str, Tensor]

LEARNED_FROM = "constituents_learned_from"
"""Fact of a member: shard -> digests of the record sets that influenced that constituent."""


def member_seed(run_seed: int, role: str, number: int) -> int:
    """Return the seed of member `number` of a pool; pools of different roles share none.

    Args:
        run_seed: seed of the project.
        role: e.g. `oracle`; contenders that are judged share the role `subject`, because an
            unlearned model and the original it came from have the same seed.
        number: 0 to M - 1.
    """
    return keyed_hash(run_seed, "pool", role, number) >> 1  # fits a signed 64-bit integer


def member_key(way: str, constituents: Mapping[int, str]) -> str:
    """Return the store key of a member.

    Args:
        way: how it came about. Exact methods end in the very weights of a build, but not at its
            cost, and what a member cost is kept with it.
        constituents: shard -> content key.
    """
    return digest_of(["member", way, sorted(constituents.items())])


def put_member(
    store: Store,
    source: Store,
    key: str,
    constituents: Mapping[int, str],
    facts: Mapping[str, Any],
) -> Receipt:
    """Store the constituents that `source` holds as one member under `key`."""
    tensors: dict[str, Tensor] = {}
    sets: dict[str, list[str]] = {}
    for shard, made in sorted(constituents.items()):
        for name, tensor in weights_of(source.require(made)).items():
            tensors[f"{shard}/{name}"] = tensor
        receipt = source.receipt(made)
        sets[str(shard)] = list(receipt.learned_from) if receipt else []
    learned_from = sorted({name for names in sets.values() for name in names})
    for name in learned_from:
        if source.knows(name):
            store.put_members(source.members(name))
    return store.put(
        key,
        tensors,
        kind="member",
        learned_from=learned_from,
        facts={**facts, LEARNED_FROM: sets},
    )


def learned_from_of(receipt: Receipt | None) -> dict[int, tuple[str, ...]]:
    """Return shard -> digests of the record sets that a member's constituent learned from."""
    sets = receipt.facts[LEARNED_FROM] if receipt else {}
    return {int(shard): tuple(names) for shard, names in sets.items()}


def read_member(store: Store, key: str) -> dict[int, dict[str, Tensor]]:
    """Return the weights of a member's constituents, shard -> name -> tensor.

    Raises:
        VerdictError: the member is missing or damaged.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for path, tensor in store.require(key).items():
        shard, name = path.split("/", 1)
        found.setdefault(int(shard), {})[name] = tensor
    return found


class Apart(nn.Module):
    """Constituents of any architecture, one after another: inputs -> logits (S, B, C)."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (S, B, C) for inputs (B, *input_shape)."""
        return torch.stack([network(inputs) for network in self.networks])


class Together(nn.Module):
    """Constituents that are `stackable`, all in each product: inputs -> logits (S, B, C).

    Args:
        template: a network of their kind.
        weights: the state of each constituent.
    """

    def __init__(self, template: nn.Module, weights: Sequence[Weights]) -> None:
        super().__init__()
        names = {kind: _paths(template, kind) for kind in (Standardize, nn.Linear)}
        self.scaled = bool(names[Standardize])
        for path in names[Standardize]:
            for name in ("mean", "deviation"):
                values = [one[f"{path}.{name}"].flatten() for one in weights]
                self.register_buffer(name, torch.stack(values)[:, None])
        layers = names[nn.Linear]
        self.weights = nn.ParameterList(
            torch.stack([one[f"{path}.weight"] for one in weights]) for path in layers
        )
        self.biases = nn.ParameterList(
            torch.stack([one[f"{path}.bias"] for one in weights])[:, None] for path in layers
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (S, B, C) for inputs (B, *input_shape)."""
        layer = inputs.flatten(1).expand(len(self.weights[0]), -1, -1)
        if self.scaled:
            layer = (layer - self.get_buffer("mean")) / self.get_buffer("deviation")
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            layer = torch.baddbmm(bias, layer.relu() if number else layer, weight.transpose(1, 2))
        return layer


def _paths(network: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [path for path, module in network.named_modules() if isinstance(module, kind)]


class Combined(nn.Module):
    """Constituents as one differentiable model; `vote` counts as `mean`.

    Args:
        constituents: maps inputs to outputs of all of them, (S, B, O).
        rule: how they are combined.
        shards: number of each one's shard.
        classes: number of classes C.
    """

    def __init__(
        self, constituents: nn.Module, rule: Aggregation, shards: Sequence[int], classes: int
    ) -> None:
        super().__init__()
        self.constituents = constituents
        self.rule, self.shards, self.classes = rule, list(shards), classes

    def forward(self, inputs: Tensor) -> Tensor:
        """Return log-probabilities (B, C) for inputs (B, *input_shape)."""
        return log_combine(self.constituents(inputs), self.rule, self.shards, self.classes)


@dataclass(eq=False)
class Pool:
    """Members that are in the store.

    Attributes:
        recipe: architecture, shapes and device; its seed is not used.
        store: where they are.
        keys: store key of every member, M of them.
        aggregation: how constituents are combined.
        voices: as `abilities.voices`.
    """

    recipe: Recipe
    store: Store
    keys: Sequence[str]
    aggregation: Aggregation
    voices: int | None = None

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
            raise VerdictError("a member of the pool is not in the store: grow the pool first")
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
    voices: int | None = None

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
