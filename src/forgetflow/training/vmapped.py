"""Many networks of any architecture at once: `torch.func.vmap` over stacked parameters.

A small convolutional network leaves a GPU idle. Mapped over members, its convolutions become
grouped ones, its products batched ones, and a step costs a few kernel calls for all of them.

    parameters (M, ...) ─► [:m] ─► vmap(grad(loss)) ─► gradients (m, ...) ─► one update for all
    buffers    (M, ...) ─► [:m] ─┘ (running statistics move in place)

Kernels are chosen by the shape of the whole batch, so a member's bits depend on who trains beside
it. That is why only pools use this engine, see `Recipe.for_pools`. On a CPU it is slower than one
network after another.

Shapes: M members, m active (always the first m), T steps, B records a step, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.optim.sgd import sgd

from forgetflow.models.normalize import Standardize
from forgetflow.training.learners import FORGOTTEN, Resident
from forgetflow.training.objective import Batch, CrossEntropy, Forward, Objective
from forgetflow.training.optimizer import BETAS, EPSILON, MEMORY
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import Statistics, untrained, weights_of

INPUTS, LABELS = "inputs", "labels"

Stacked = dict[str, Tensor]
"""Name -> tensors of several members, (m, ...)."""


class VmappedLearners:
    """`Learners` in lockstep; see the module's text. States are those of `SequentialLearners`.

    Args:
        recipe: architecture, settings and device.
        members: (run seed, shard) of each.
        objective: what they descend.
        statistics: whether running statistics move.
    """

    def __init__(
        self,
        recipe: Recipe,
        members: Sequence[tuple[int, int]],
        objective: Objective,
        statistics: Statistics = "moving",
    ) -> None:
        networks = [untrained(recipe, seed, shard) for seed, shard in members]
        parameters, buffers = stack_module_state(networks)
        self.recipe = recipe
        self.parameters = {name: p.detach().to(recipe.device) for name, p in parameters.items()}
        self.buffers = {name: buffer.to(recipe.device) for name, buffer in buffers.items()}
        self.memory = {
            entry: {name: torch.zeros_like(p) for name, p in self.parameters.items()}
            for entry in MEMORY[recipe.train.optimizer]
            if entry != "step"
        }
        # Adam's steps so far; members that were loaded need not have made equally many.
        self.done = torch.zeros(len(networks), dtype=torch.float64, device=recipe.device)
        template = networks[0].train(statistics == "moving")
        self.names = list(template.state_dict())
        self.normalize = [n for n, m in template.named_modules() if isinstance(m, Standardize)]
        template.to("meta")  # lends its structure only; a weight left out would be noticed

        # One row per class, since the gradient of a gather has no deterministic CUDA kernel.
        self.hot = torch.eye(recipe.classes, device=recipe.device)
        self.seen = torch.zeros(len(networks), dtype=torch.int64)
        self.by_hot = isinstance(objective, CrossEntropy)
        chosen = _Hot(objective.weight) if isinstance(objective, CrossEntropy) else objective

        def loss(parameters: Stacked, buffers: Stacked, tensors: dict[str, Tensor]) -> Tensor:
            def student(inputs: Tensor) -> Tensor:
                return functional_call(template, (parameters, buffers), (inputs,))

            rest = dict(tensors)
            inputs, labels, forgotten = (
                rest.pop(INPUTS),
                rest.pop(LABELS, None),
                rest.pop(FORGOTTEN),
            )
            return chosen(student, Batch(inputs, labels, forgotten, rest))

        # Members are the second dimension of a batch, (B, m, ...): that is how a grouped
        # convolution reads its channels, so nothing is copied in between. Channels-last is left
        # out: the groups would be taken apart and put together again at every layer.
        self._gradient = vmap(grad(loss), in_dims=(0, 0, 1))

    def state(self, member: int) -> dict[str, Tensor]:
        """Return every tensor that decides how training of a member goes on."""
        network = self.parameters | self.buffers
        tensors = {f"model.{name}": network[name][member].clone() for name in self.names}
        for entry, stacked in self.memory.items():
            for name, tensor in stacked.items():
                tensors[f"optimizer.{entry}.{name}"] = tensor[member].clone()
        if "step" in MEMORY[self.recipe.train.optimizer]:
            for name in self.parameters:
                tensors[f"optimizer.step.{name}"] = self.done[member].to(self.hot.dtype, copy=True)
        return tensors

    def load(self, member: int, tensors: Mapping[str, Tensor]) -> None:
        """Let a member continue from `state()`."""
        self.load_weights(member, weights_of(tensors))
        for entry, stacked in self.memory.items():
            for name, tensor in stacked.items():
                tensor[member].copy_(tensors[f"optimizer.{entry}.{name}"])
        if "step" in MEMORY[self.recipe.train.optimizer]:
            self.done[member].copy_(tensors[f"optimizer.step.{next(iter(self.parameters))}"])

    def load_weights(self, member: int, weights: Mapping[str, Tensor]) -> None:
        """Give a member a network; its optimizer memory becomes empty."""
        for name, tensor in (self.parameters | self.buffers).items():
            tensor[member].copy_(weights[name])
        for stacked in self.memory.values():
            for tensor in stacked.values():
                tensor[member].zero_()
        self.done[member].zero_()

    def fit_normalisation(self, member: int, inputs: Tensor) -> None:
        """Fit the member's normalisation, if its network has one."""
        for path in self.normalize:
            fitted = Standardize(self.recipe.input_shape).to(inputs.device)
            fitted.fit(inputs)
            for name, tensor in fitted.named_buffers():
                self.buffers[f"{path}.{name}"][member].copy_(tensor)

    def passed(self, member: int) -> int:
        """Return how many records have passed through a member's network, if once a step each."""
        return int(self.seen[member])

    @torch.no_grad()
    def steps(
        self, data: Resident, rows: Tensor, counts: Tensor, own: Tensor | None = None
    ) -> None:
        """Make T steps with the first m members; see `Learners`."""
        active, device = rows.shape[1], self.recipe.device
        self.seen[:active] += counts.sum(dim=0)
        parameters, buffers = _first(self.parameters, active), _first(self.buffers, active)
        memory = {entry: _first(stacked, active) for entry, stacked in self.memory.items()}
        rows, places = rows.to(device), rows if own is None else own.to(device)
        for where, place, sizes in zip(rows, places, counts.tolist(), strict=True):
            batch = _Rows(data, where, None if own is None else place)
            gradients = self._gradients(parameters, buffers, batch, sizes)
            if self.recipe.train.optimizer == "sgd":
                self._sgd(parameters, gradients, memory)
            else:
                self._adam(parameters, gradients, memory)

    def _gradients(
        self,
        parameters: Stacked,
        buffers: Stacked,
        batch: "_Rows",
        sizes: Sequence[int],
    ) -> Stacked:
        """Return gradients and move running statistics; short batches are filled up.

        Members with batches of one size go together. Filling up with weight zero, as `stacked`
        does, would not do: a filled-up batch has other statistics.
        """
        if len(set(sizes)) == 1:
            return self._of(parameters, buffers, batch.first(sizes[0]))
        gradients = {name: torch.empty_like(p) for name, p in parameters.items()}
        for size in sorted(set(sizes)):
            members = [member for member, own in enumerate(sizes) if own == size]
            chosen = torch.tensor(members, device=batch.where.device)
            own = {name: buffer.index_select(0, chosen) for name, buffer in buffers.items()}
            some = {name: p.index_select(0, chosen) for name, p in parameters.items()}
            found = self._of(some, own, batch.of(chosen).first(size))
            for name, gradient in found.items():
                gradients[name].index_copy_(0, chosen, gradient)
            for name, buffer in own.items():
                buffers[name].index_copy_(0, chosen, buffer)
        return gradients

    def _of(self, parameters: Stacked, buffers: Stacked, batch: "_Rows") -> Stacked:
        """Return the gradients of members whose batches are all of one size."""
        tensors = batch.tensors()
        if LABELS in tensors and self.by_hot:
            tensors[LABELS] = self.hot[tensors[LABELS]]
        found: Stacked = self._gradient(parameters, buffers, tensors)
        # The fused optimizer reads memory in order, whatever the strides say.
        return {name: found[name].contiguous() for name in parameters}

    def _sgd(self, parameters: Stacked, gradients: Stacked, memory: Mapping[str, Stacked]) -> None:
        """Momentum as in `Optimizer`: elementwise, so one call moves all members."""
        train, buffers = self.recipe.train, memory["momentum_buffer"]
        sgd(
            list(parameters.values()),
            list(gradients.values()),
            list(buffers.values()) if train.momentum else [None] * len(buffers),
            fused=True,
            weight_decay=train.weight_decay,
            momentum=train.momentum,
            lr=train.learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )

    def _adam(self, parameters: Stacked, gradients: Stacked, memory: Mapping[str, Stacked]) -> None:
        """Adam (Kingma & Ba 2015) with bias correction by each member's own step count."""
        train, (mean_beta, square_beta) = self.recipe.train, BETAS
        active = len(next(iter(parameters.values())))
        done = self.done[:active].add_(1.0)
        rate = (-train.learning_rate / (1 - mean_beta**done)).to(self.hot.dtype)
        root = (1 - square_beta**done).sqrt().to(self.hot.dtype)
        for name, p in parameters.items():
            mean, square = memory["exp_avg"][name], memory["exp_avg_sq"][name]
            each = (active, *[1] * (p.ndim - 1))
            g = gradients[name].add_(p, alpha=train.weight_decay)
            mean.lerp_(g, 1 - mean_beta)
            square.mul_(square_beta).addcmul_(g, g, value=1 - square_beta)
            divisor = square.sqrt().div_(root.view(each)).add_(EPSILON)
            p.addcmul_(mean / divisor, rate.view(each))


class _Hot(NamedTuple):
    """`CrossEntropy` whose labels come as one-hot rows, (B, C)."""

    weight: float

    def __call__(self, student: Forward, batch: Batch) -> Tensor:
        return self.weight * nn.functional.cross_entropy(student(batch.inputs), batch.known_labels)


class _Rows(NamedTuple):
    """One step's records of m members: positions (m, B) of shared and of their own tensors."""

    data: Resident
    where: Tensor
    own: Tensor | None

    def first(self, count: int) -> "_Rows":
        """Return the first records of each member."""
        own = None if self.own is None else self.own[:, :count]
        return self._replace(where=self.where[:, :count], own=own)

    def of(self, members: Tensor) -> "_Rows":
        """Return the records of some members."""
        own = None if self.own is None else self.own.index_select(0, members)
        return self._replace(where=self.where.index_select(0, members), own=own)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that a batch holds, (B, m, ...) each."""
        shape = (self.where.shape[1], self.where.shape[0])
        rows = self.where.t().flatten()
        own = None if self.own is None else self.own.t().flatten()
        batch = self.data.batch(rows, own)
        named = {INPUTS: batch.inputs, FORGOTTEN: batch.forgotten, **batch.targets}
        if batch.labels is not None:
            named[LABELS] = batch.labels
        return {name: tensor.unflatten(0, shape) for name, tensor in named.items()}


def _first(stacked: Stacked, count: int) -> Stacked:
    """Return views of the first members."""
    return {name: tensor[:count] for name, tensor in stacked.items()}
