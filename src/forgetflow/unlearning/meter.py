"""What a method takes: records passed through networks, counted where they pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Meter:
    """Counts of one constituent's treatment.

    Attributes:
        forward: records passed forward through any network.
        backward: records that a gradient passed backward through one.
        steps: optimizer steps.
    """

    forward: int = 0
    backward: int = 0
    steps: int = 0
    _paused: bool = False

    def watch(self, network: nn.Module) -> nn.Module:
        """Count whatever passes through a network from now on; returns the network."""
        network.register_forward_hook(self._passed)
        return network

    def count(self, *, forward: int = 0, backward: int = 0, steps: int = 0) -> None:
        """Count by hand."""
        self.forward += forward
        self.backward += backward
        self.steps += steps

    @contextmanager
    def by_hand(self, *, forward: int, backward: int) -> Iterator[None]:
        """Count so much, and nothing of what passes meanwhile: for mapped and functional calls."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False
        self.count(forward=forward, backward=backward)

    def _passed(self, _: nn.Module, inputs: tuple[Any, ...], outputs: Tensor) -> None:
        if self._paused:
            return
        count = len(inputs[0])
        self.forward += count
        if torch.is_grad_enabled() and outputs.requires_grad:
            outputs.register_hook(lambda _: self.count(backward=count))
