"""The constituents of a member as one network, all in each product where they can be.

Shapes: S constituents, B records, C classes, O outputs of a constituent.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from forgetflow.models.normalize import Standardize
from forgetflow.training.aggregation import Aggregation, log_combine

Weights = Mapping[str, Tensor]


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
