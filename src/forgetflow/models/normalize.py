"""Standardisation that belongs to a constituent: fitted inside it, stored and forgotten with it."""

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """Subtract a mean and divide by a deviation, per input feature.

    The statistics are buffers, so they are part of the checkpoint; `fit` is called once, on the
    first non-empty slice of the shard. Every state of the chain has learned from that slice
    anyway, hence deleting one of its records restarts the chain and refits.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(input_shape))
        self.register_buffer("deviation", torch.ones(input_shape))

    def reset_parameters(self) -> None:
        """Become the identity."""
        self.mean.zero_()
        self.deviation.fill_(1.0)

    def fit(self, inputs: Tensor) -> None:
        """Take the statistics of `inputs`, (N, *input_shape); constant features pass unscaled."""
        exact = inputs.double()
        self.mean.copy_(exact.mean(dim=0))
        deviation = exact.std(dim=0, correction=0)
        self.deviation.copy_(torch.where(deviation > 0, deviation, 1.0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (inputs - mean) / deviation, same shape."""
        return (inputs - self.mean) / self.deviation
