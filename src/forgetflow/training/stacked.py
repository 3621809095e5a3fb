"""Many multi-layer perceptrons at once: every matrix product holds all members.

Small networks leave a core idle: at 64-128-10 a step is a few microseconds of arithmetic under
hundreds of autograd and dispatch. Here one step serves M members with a hand-written backward
pass: preallocated buffers and views of them, one call for the whole update, and class columns
filled up to a round number, because narrow products are slow.

A member's bits do not depend on the others. Each product is one of a batch, computed apart;
every member's block of every buffer is a multiple of the vector width, so no member ever falls
into a scalar remainder loop; batches are always filled up to one shape with weight zero. Padding
is inert: weights zero, and a bias of -1e30 makes the probability of a padded class exactly 0.

Shapes: M members, m active, B records a step (padded), D inputs, H units, C classes (padded).
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from forgetflow.models.normalize import Standardize
from forgetflow.training.learners import Resident, labels_of
from forgetflow.training.objective import CrossEntropy
from forgetflow.training.optimizer import BETAS, EPSILON, MEMORY
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import untrained

LANE = 16
"""Floats in the widest vector register; records and classes are filled up to a multiple."""

BLOCK = 2 * LANE
"""Elementwise kernels take two registers at a time; members' blocks are multiples of it."""

NEVER = -1e30
"""Bias of a padded class."""


def stackable(network: nn.Module) -> bool:
    """Return whether a network is [Standardize,] Flatten, Linear (ReLU, Linear)*."""
    kinds = [type(m) for m in network.modules() if not isinstance(m, nn.Sequential)]
    kinds = kinds[1:] if kinds[:1] == [Standardize] else kinds
    body = kinds[1:]
    return (
        kinds[:1] == [nn.Flatten]
        and len(body) % 2 == 1
        and all(kind is (nn.ReLU if i % 2 else nn.Linear) for i, kind in enumerate(body))
    )


class StackedLearners:
    """`Learners` in lockstep; see the module's text.

    Args:
        recipe: a recipe whose network is `stackable`.
        members: (run seed, shard) of each.
        objective: what they descend.

    Raises:
        ValueError: the network is of another kind.
    """

    def __init__(
        self,
        recipe: Recipe,
        members: Sequence[tuple[int, int]],
        objective: CrossEntropy,
    ) -> None:
        networks = [untrained(recipe, seed, shard) for seed, shard in members]
        template = networks[0]
        if not stackable(template):
            raise ValueError(f"model.architecture {recipe.model.architecture} cannot be stacked")
        self.recipe, self.count = recipe, len(networks)
        self.weight = objective.weight
        self.seen = torch.zeros(self.count, dtype=torch.int64)
        linear = {n: m for n, m in template.named_modules() if isinstance(m, nn.Linear)}
        self.names = list(linear)
        self.normalize = next(
            (n for n, m in template.named_modules() if isinstance(m, Standardize)), None
        )
        self.true = [(m.out_features, m.in_features) for m in linear.values()]
        self.shapes = _padded(self.true)
        self.batch = _up(recipe.train.batch_size, LANE)
        self.inputs = prod(recipe.input_shape)
        self.done = torch.zeros(self.count, dtype=torch.float64)  # Adam's steps so far

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(self.count, *shape, device=recipe.device)

        slots = MEMORY[recipe.train.optimizer]
        self.memory_names = [entry for entry in slots if entry != "step"]
        self.weights = [zeros(*shape) for shape in self.shapes]
        # All biases of a member lie in one row, so that its length is a multiple of BLOCK.
        widths = [out for out, _ in self.shapes]
        self.bias = zeros(_up(sum(widths), BLOCK))
        self.biases = _columns(self.bias, widths)
        self.real = torch.zeros(self.bias.shape[1], device=recipe.device)
        for (out, _), column in zip(self.true, _columns(self.real, widths), strict=True):
            column[:out] = 1.0
        self.parameters = [*self.weights, self.bias]
        self.gradients = [torch.zeros_like(p) for p in self.parameters]
        self.memory = {e: [torch.zeros_like(p) for p in self.parameters] for e in self.memory_names}
        self.mean, self.deviation = zeros(1, self.inputs), zeros(1, self.inputs) + 1.0
        signals = [zeros(self.batch, width) for width in (self.inputs, *widths)]
        self.logits = signals[-1]
        self.wanted = torch.zeros_like(self.logits)
        self.hot = torch.eye(recipe.classes, widths[-1], device=recipe.device)
        # The gradient of the logits takes their place.
        deltas = [*(zeros(self.batch, width) for width in widths[:-1]), self.logits]
        self.layers = [
            _Layer._make([*tensors, tensors[0].mT, tensors[-1].mT])
            for tensors in zip(
                self.weights,
                _columns(self.bias[:, None], widths),
                self.gradients[:-1],
                _columns(self.gradients[-1], widths),
                signals[:-1],
                signals[1:],
                deltas,
                strict=True,
            )
        ]
        self.first = _First(self, self.count)
        for number, network in enumerate(networks):
            self.load_weights(number, network.state_dict())

    # -- state ------------------------------------------------------------------------------

    def state(self, member: int) -> dict[str, Tensor]:
        """Return every tensor that decides how training of a member goes on."""
        tensors = {}
        if self.normalize is not None:
            shape = self.recipe.input_shape
            tensors[f"model.{self.normalize}.mean"] = self.mean[member].reshape(shape).clone()
            tensors[f"model.{self.normalize}.deviation"] = (
                self.deviation[member].reshape(shape).clone()
            )
        for name, tensor in self._parameters(member).items():
            tensors[f"model.{name}"] = tensor.clone()
        for entry in self.memory_names:
            for name, tensor in self._parameters(member, entry).items():
                tensors[f"optimizer.{entry}.{name}"] = tensor.clone()
        if "step" in MEMORY[self.recipe.train.optimizer]:
            for name in self._parameters(member):
                count = self.done[member].float().to(self.recipe.device)
                tensors[f"optimizer.step.{name}"] = count
        return tensors

    def load(self, member: int, tensors: Mapping[str, Tensor]) -> None:
        """Let a member continue from `state()`."""
        self.load_weights(
            member, {n.removeprefix("model."): t for n, t in tensors.items() if n[:6] == "model."}
        )
        for entry in self.memory_names:
            for name, tensor in self._parameters(member, entry).items():
                tensor.copy_(tensors[f"optimizer.{entry}.{name}"])
        if "step" in MEMORY[self.recipe.train.optimizer]:
            self.done[member] = float(tensors[f"optimizer.step.{self.names[0]}.weight"])

    def load_weights(self, member: int, weights: Mapping[str, Tensor]) -> None:
        """Give a member a network; its optimizer memory becomes empty."""
        if self.normalize is not None:
            self.mean[member, 0].copy_(weights[f"{self.normalize}.mean"].reshape(-1))
            self.deviation[member, 0].copy_(weights[f"{self.normalize}.deviation"].reshape(-1))
        for stacked in self.weights:
            stacked[member].zero_()
        self.bias[member].zero_()
        self.biases[-1][member].fill_(NEVER)
        for name, tensor in self._parameters(member).items():
            tensor.copy_(weights[name])
        for entry in self.memory_names:
            for stacked in self.memory[entry]:
                stacked[member].zero_()
        self.done[member] = 0.0

    def fit_normalisation(self, member: int, inputs: Tensor) -> None:
        """Fit the member's normalisation, if its network has one."""
        if self.normalize is None:
            return
        fitted = Standardize(self.recipe.input_shape).to(inputs.device)
        fitted.fit(inputs)
        self.mean[member, 0].copy_(fitted.mean.reshape(-1))
        self.deviation[member, 0].copy_(fitted.deviation.reshape(-1))

    def _parameters(self, member: int, entry: str | None = None) -> dict[str, Tensor]:
        """Return views of a member's parameters, or of an optimizer entry, without padding."""
        *weights, row = self.memory[entry] if entry else self.parameters
        biases = _columns(row, [out for out, _ in self.shapes])
        views = {}
        for name, weight, bias, (out, width) in zip(
            self.names, weights, biases, self.true, strict=True
        ):
            views[f"{name}.weight"] = weight[member, :out, :width]
            views[f"{name}.bias"] = bias[member, :out]
        return views

    def passed(self, member: int) -> int:
        """Return how many records have passed through a member's network."""
        return int(self.seen[member])

    # -- training ---------------------------------------------------------------------------

    @torch.inference_mode()
    def steps(
        self,
        data: Resident,
        rows: Tensor,
        counts: Tensor,
        own: Tensor | None = None,  # noqa: ARG002  (the cross-entropy asks for nothing else)
    ) -> None:
        """Make T steps with the first m members; see `Learners`."""
        active, device = rows.shape[1], self.recipe.device
        self.seen[:active] += counts.sum(dim=0)
        if self.first.count != active:  # in a run it only ever falls
            self.first = _First(self, active)
        first = self.first
        # Filled up with a record of the member's own: a zero weight does not cancel infinity.
        filling = rows[..., :1].expand(-1, -1, self.batch - rows.shape[2])
        rows = torch.cat([rows, filling], dim=2).flatten(1).to(device)
        labels = labels_of(data).index_select(0, rows.flatten()).view_as(rows)
        place = torch.arange(self.batch, device=device)
        counts = counts.to(device)[..., None]
        shares = ((place < counts) * (self.weight / counts))[..., None].float()
        inputs = data.inputs.flatten(1)
        update = self._sgd if self.recipe.train.optimizer == "sgd" else self._adam
        for where, label, share in zip(rows, labels, shares, strict=True):
            torch.index_select(inputs, 0, where, out=first.inputs)
            torch.index_select(self.hot, 0, label, out=first.hot)
            self._forward(first)
            self._backward(first, share)
            self._decay(first)
            update(first)

    def _forward(self, first: "_First") -> None:
        layers = first.layers
        if self.normalize is not None:
            layers[0].taken.sub_(first.mean).div_(first.deviation)
        for layer in layers:
            torch.baddbmm(layer.bias, layer.taken, layer.turned_weight, out=layer.given)
            if layer is not layers[-1]:
                layer.given.clamp_min_(0.0)

    def _backward(self, first: "_First", share: Tensor) -> None:
        layers = first.layers
        torch.softmax(layers[-1].given, dim=2, out=layers[-1].delta)
        layers[-1].delta.sub_(first.wanted).mul_(share)
        for number in range(len(layers) - 1, -1, -1):
            layer = layers[number]
            torch.bmm(layer.turned_delta, layer.taken, out=layer.gradient)
            torch.sum(layer.delta, dim=1, out=layer.bias_gradient)
            if number:
                before = layers[number - 1].delta
                torch.bmm(layer.delta, layer.weight, out=before)
                torch.ops.aten.threshold_backward.grad_input(
                    before, layer.taken, 0, grad_input=before
                )

    def _decay(self, first: "_First") -> None:
        """Add the weight decay to the gradients; the bias of padded classes is no parameter."""
        decay = self.recipe.train.weight_decay
        if decay:
            for weight, gradient in zip(first.parameters[:-1], first.gradients[:-1], strict=True):
                gradient.add_(weight, alpha=decay)
            first.gradients[-1].addcmul_(first.parameters[-1], self.real, value=decay)

    def _sgd(self, first: "_First") -> None:
        """V = momentum v + g; p = p - rate v: torch's own kernel, all parameters in one call."""
        train = self.recipe.train
        torch._fused_sgd_(
            first.parameters,
            first.gradients,
            first.memory["momentum_buffer"] if train.momentum else [],
            weight_decay=0.0,
            momentum=train.momentum,
            lr=train.learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )

    def _adam(self, first: "_First") -> None:
        """Adam (Kingma & Ba 2015) with bias correction by each member's own step count."""
        mean_beta, square_beta = BETAS
        done = self.done[: first.count].add_(1.0)
        rate = (-self.recipe.train.learning_rate / (1 - mean_beta**done)).float()
        root = ((1 - square_beta**done) ** 0.5).float()
        rate, root = rate.to(self.recipe.device), root.to(self.recipe.device)
        memory = (first.memory["exp_avg"], first.memory["exp_avg_sq"])
        for p, g, mean, square in zip(first.parameters, first.gradients, *memory, strict=True):
            each = (-1, *[1] * (p.ndim - 1))
            mean.lerp_(g, 1 - mean_beta)
            square.mul_(square_beta).addcmul_(g, g, value=1 - square_beta)
            torch.sqrt(square, out=g).div_(root.view(each)).add_(EPSILON)
            p.addcmul_(torch.div(mean, g, out=g), rate.view(each))


class _Layer(NamedTuple):
    """Buffers of one layer: parameters, signals and what flows back."""

    weight: Tensor  # (m, out, in)
    bias: Tensor  # (m, 1, out)
    gradient: Tensor  # (m, out, in)
    bias_gradient: Tensor  # (m, out)
    taken: Tensor  # inputs, (m, B, in)
    given: Tensor  # outputs, (m, B, out)
    delta: Tensor  # gradient of the outputs, (m, B, out)
    turned_weight: Tensor  # (m, in, out)
    turned_delta: Tensor  # (m, out, B)


class _First:
    """The first m members: views, made once, since to slice costs as much as a small product."""

    def __init__(self, of: StackedLearners, m: int) -> None:
        self.count = m
        self.layers = [_Layer(*(tensor[:m] for tensor in layer)) for layer in of.layers]
        self.inputs = self.layers[0].taken.flatten(0, 1)  # (m B, D)
        self.wanted = of.wanted[:m]
        self.hot = self.wanted.flatten(0, 1)  # (m B, C)
        self.mean, self.deviation = of.mean[:m], of.deviation[:m]
        self.parameters = [p[:m] for p in of.parameters]
        self.gradients = [g[:m] for g in of.gradients]
        self.memory = {e: [t[:m] for t in tensors] for e, tensors in of.memory.items()}


def _padded(shapes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (out, in) of every layer, so that each weight is a multiple of BLOCK floats."""
    padded, width = [], shapes[0][1]
    for out, _ in shapes[:-1]:
        padded.append((_up(out, BLOCK), width))
        width = padded[-1][0]
    unit = LANE if width % 2 == 0 else BLOCK
    return [*padded, (_up(shapes[-1][0], unit), width)]


def _columns(rows: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """Return views of consecutive columns of (..., W)."""
    return list(rows[..., : sum(widths)].split(list(widths), dim=-1))


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
