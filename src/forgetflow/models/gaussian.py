"""One-class model: a normal density, fitted in closed form from sums over the records.

    score(x) = ln N(x; m, V),  V = (1 - s) S + s tr(S)/D I + f I

with mean m and covariance S of the class's records, shrinkage s and floor f. The state is the
number of records, their mean and their scatter about it, so that further records are absorbed from
theirs alone (Chan, Golub and LeVeque 1983); sums of squares about zero would lose the variance of
values far from zero.

Shapes: B inputs of D numbers.
"""

from math import log, pi, prod

import torch
from torch import Tensor, nn

from forgetflow.config.model import GaussianSettings, ModelSettings


class Gaussian(nn.Module):
    """Inputs (B, *input_shape) -> log density in nats, (B, 1).

    Args:
        width: numbers per input D.
        settings: shrinkage and floor.
    """

    count: Tensor
    mean: Tensor
    scatter: Tensor

    def __init__(self, width: int, settings: GaussianSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("scatter", torch.zeros(width, width, dtype=torch.float64))

    def reset_parameters(self) -> None:
        """Forget every record."""
        for buffer in self.buffers():
            buffer.zero_()

    def absorb(self, inputs: Tensor) -> None:
        """Learn from further records (N, *input_shape); their order reaches the last bits."""
        rows = inputs.flatten(1).double()
        if not len(rows):
            return
        mean, before = rows.mean(dim=0), self.count.clone()
        apart, centred = mean - self.mean, rows - mean
        self.count += len(rows)
        self.scatter += centred.T @ centred
        self.scatter += (before * len(rows) / self.count) * torch.outer(apart, apart)
        self.mean += apart * (len(rows) / self.count)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the log density of each input in nats, (B, 1)."""
        factor = self._factor()
        rows = inputs.flatten(1).double() - self.mean
        scaled = torch.linalg.solve_triangular(factor, rows.T, upper=False)
        spread = 2 * factor.diagonal().log().sum() + len(self.mean) * log(2 * pi)
        return (-0.5 * (scaled.square().sum(dim=0) + spread))[:, None].to(inputs.dtype)

    def _factor(self) -> Tensor:
        """Return the lower Cholesky factor of the covariance, (D, D)."""
        covariance = self.scatter / self.count.clamp(min=1)
        share, width = self.settings.shrinkage, len(self.mean)
        level = share * covariance.diagonal().sum() / width + self.settings.floor
        covariance = (1 - share) * covariance
        covariance.diagonal().add_(level)
        return torch.linalg.cholesky(covariance)


def build(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:  # noqa: ARG001
    """Return an empty density (B, *input_shape) -> (B, 1); it has no parameters."""
    return Gaussian(prod(input_shape), settings.gaussian)
