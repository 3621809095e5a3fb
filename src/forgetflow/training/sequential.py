"""One network after another with autograd: any architecture, on any device.

The loss is cross-entropy; of a one-class model, whose records all have one class, it is the mean
squared error of its reconstruction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from forgetflow.keys.digests import keyed_hash
from forgetflow.models.build import build
from forgetflow.models.normalize import Standardize
from forgetflow.training.learners import Resident
from forgetflow.training.optimizer import Optimizer
from forgetflow.training.recipe import Recipe


@dataclass
class Learner:
    """A network and its optimizer on one device."""

    recipe: Recipe
    network: nn.Module
    optimizer: Optimizer

    @classmethod
    def fresh(cls, recipe: Recipe, seed: int, shard: int, sign: int = 1) -> "Learner":
        """Return the untrained learner of (run seed, shard)."""
        network = untrained(recipe, seed, shard).to(recipe.device)
        if any(isinstance(module, nn.Conv2d) for module in network.modules()):
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(recipe, network, Optimizer(recipe.train, network.named_parameters(), sign))

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that decides how training goes on."""
        tensors = {f"model.{name}": value for name, value in self.network.state_dict().items()}
        return tensors | {f"optimizer.{n}": value for n, value in self.optimizer.state().items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state()`."""
        self.network.load_state_dict(weights_of(tensors))
        self.optimizer.load({n.removeprefix("optimizer."): t for n, t in tensors.items()})

    def step(self, inputs: Tensor, targets: Tensor, rows: Tensor) -> None:
        """Make one optimizer step on the mean loss of the records at `rows`, (B,)."""
        batch = inputs.index_select(0, rows)
        if batch.ndim == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        outputs = self.network(batch)
        if self.recipe.model.family == "one-class":
            # The score's scale is that of a sum over inputs; the step size should not know it.
            loss = outputs.mean() * (-2 / batch[0].numel())
        else:
            loss = nn.functional.cross_entropy(outputs, targets.index_select(0, rows))
        loss.backward()
        self.optimizer.step()


class SequentialLearners:
    """`Learners` that take their steps one member after another."""

    def __init__(self, recipe: Recipe, members: Sequence[tuple[int, int]], sign: int = 1) -> None:
        self.members = [Learner.fresh(recipe, seed, shard, sign) for seed, shard in members]

    def state(self, member: int) -> dict[str, Tensor]:
        """Return every tensor that decides how training of a member goes on."""
        return self.members[member].state()

    def load(self, member: int, tensors: Mapping[str, Tensor]) -> None:
        """Let a member continue from `state()`."""
        self.members[member].load(tensors)

    def load_weights(self, member: int, weights: Mapping[str, Tensor]) -> None:
        """Give a member a network; its optimizer memory becomes empty."""
        self.members[member].network.load_state_dict(weights)
        self.members[member].optimizer.clear()

    def fit_normalisation(self, member: int, inputs: Tensor) -> None:
        """Fit the member's normalisation, if its network has one."""
        for module in self.members[member].network.modules():
            if isinstance(module, Standardize):
                module.fit(inputs)

    def steps(self, data: Resident, rows: Tensor, counts: Tensor) -> None:
        """Make T steps with each of the first m members; see `Learners`."""
        numbers = counts.tolist()
        for learner, mine, sizes in zip(
            self.members, rows.unbind(1), zip(*numbers, strict=True), strict=False
        ):
            for batch, size in zip(mine.to(learner.recipe.device), sizes, strict=True):
                learner.step(data.inputs, data.targets, batch[:size])


def untrained(recipe: Recipe, seed: int, shard: int) -> nn.Module:
    """Return the network of (run seed, shard) with its initial weights, on the CPU."""
    member = keyed_hash(seed, "member", shard)
    return build(recipe.model, recipe.input_shape, recipe.classes, member)


def weights_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network part of a state, under the network's own names."""
    return {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
