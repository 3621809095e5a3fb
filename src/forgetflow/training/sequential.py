"""One network after another with autograd: any architecture, any objective, on any device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from forgetflow.keys.digests import keyed_hash
from forgetflow.models.build import build
from forgetflow.models.normalize import Standardize
from forgetflow.training.learners import Resident
from forgetflow.training.objective import Batch, Objective
from forgetflow.training.optimizer import Optimizer
from forgetflow.training.recipe import Recipe

Statistics = Literal["moving", "frozen"]
"""Whether training moves running statistics (of batch normalisation) or uses them as they are."""


@dataclass
class Learner:
    """A network, what it descends, and its optimizer, on one device."""

    network: nn.Module
    optimizer: Optimizer
    objective: Objective
    only: Mapping[str, Tensor] | None = None
    half: bool = False
    passed: int = 0
    _start: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def fresh(
        cls,
        recipe: Recipe,
        place: tuple[int, int],
        objective: Objective,
        statistics: Statistics = "moving",
        only: Mapping[str, Tensor] | None = None,
    ) -> "Learner":
        """Return the untrained learner of `place`: (run seed, shard)."""
        network = untrained(recipe, *place).to(recipe.device)
        if any(isinstance(module, nn.Conv2d) for module in network.modules()):
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.train(statistics == "moving")
        optimizer = Optimizer(recipe.train, network.named_parameters())
        half = recipe.train.precision == "bfloat16"
        return cls(network, optimizer, objective, only, half)

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that decides how training goes on."""
        tensors = {f"model.{name}": value for name, value in self.network.state_dict().items()}
        return tensors | {f"optimizer.{n}": value for n, value in self.optimizer.state().items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state()`."""
        self.network.load_state_dict(weights_of(tensors))
        self.optimizer.load({n.removeprefix("optimizer."): t for n, t in tensors.items()})

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take a network; the optimizer memory becomes empty."""
        self.network.load_state_dict(weights)
        self.optimizer.clear()
        if self.only is not None:
            self._start = {n: p.detach().clone() for n, p in self.network.named_parameters()}

    def step(self, batch: Batch) -> None:
        """Make one optimizer step on a batch."""
        self.objective(self._forward, batch).backward()
        self.optimizer.step()
        if self.only is not None:
            self._restore(self.only)

    @torch.no_grad()
    def _restore(self, only: Mapping[str, Tensor]) -> None:
        """Put back what is not to move: momentum and weight decay move more than gradients do."""
        for name, parameter in self.network.named_parameters():
            start = self._start[name]
            moved = torch.where(only[name], parameter, start) if name in only else start
            parameter.copy_(moved)

    def _forward(self, inputs: Tensor) -> Tensor:
        self.passed += len(inputs)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        # The cache would keep the cast weights of the step before.
        with torch.autocast(
            inputs.device.type, torch.bfloat16, enabled=self.half, cache_enabled=False
        ):
            outputs: Tensor = self.network(inputs)
        return outputs.float() if self.half else outputs


class SequentialLearners:
    """`Learners` that take their steps one member after another.

    Args:
        recipe: architecture, settings and device.
        members: (run seed, shard) of each.
        objective: what they descend.
        statistics: whether running statistics move.
        only: parameter name -> mask of the weights that move, after `load_weights`; None: all.
    """

    def __init__(
        self,
        recipe: Recipe,
        members: Sequence[tuple[int, int]],
        objective: Objective,
        statistics: Statistics = "moving",
        only: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.device = recipe.device
        self.members = [Learner.fresh(recipe, m, objective, statistics, only) for m in members]

    def state(self, member: int) -> dict[str, Tensor]:
        """Return every tensor that decides how training of a member goes on."""
        return self.members[member].state()

    def load(self, member: int, tensors: Mapping[str, Tensor]) -> None:
        """Let a member continue from `state()`."""
        self.members[member].load(tensors)

    def load_weights(self, member: int, weights: Mapping[str, Tensor]) -> None:
        """Give a member a network; its optimizer memory becomes empty."""
        self.members[member].load_weights(weights)

    def passed(self, member: int) -> int:
        """Return how many records have passed through a member's network."""
        return self.members[member].passed

    def fit_normalisation(self, member: int, inputs: Tensor) -> None:
        """Fit the member's normalisation, if its network has one."""
        for module in self.members[member].network.modules():
            if isinstance(module, Standardize):
                module.fit(inputs)

    def steps(
        self, data: Resident, rows: Tensor, counts: Tensor, own: Tensor | None = None
    ) -> None:
        """Make T steps with each of the first m members; see `Learners`."""
        sizes = counts.tolist()
        for number, learner in enumerate(self.members[: rows.shape[1]]):
            mine = rows[:, number].to(self.device)
            extra = None if own is None else own[:, number].to(self.device)
            for step, count in enumerate(one[number] for one in sizes):
                places = None if extra is None else extra[step, :count]
                learner.step(data.batch(mine[step, :count], places))


def untrained(recipe: Recipe, seed: int, shard: int) -> nn.Module:
    """Return the network of (run seed, shard) with its initial weights, on the CPU."""
    member = keyed_hash(seed, "member", shard)
    return build(recipe.model, recipe.input_shape, recipe.classes, member)


def weights_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network part of a state, under the network's own names."""
    return {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
