"""What training costs: counted while it runs, and foretold from the sizes of slices."""

import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forgetflow.training.recipe import Recipe
from forgetflow.training.schedule import samples_in, slice_steps

OnStep = Callable[[int, int], None]
"""Called after every optimizer step with (slice, step within the slice)."""

PARTS = "by_slice"
"""Fact of a finished state that stands for its whole chain: what each slice took."""


@dataclass
class Work:
    """What a piece of training cost, apart from what a cache saved.

    Attributes:
        samples, steps, seconds: totals.
        slices: numbers of the slices that were trained.
        parts: the same three numbers for each of them.
    """

    samples: int = 0
    steps: int = 0
    seconds: float = 0.0
    slices: list[int] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)

    def count(self, number: int, facts: Mapping[str, Any]) -> None:
        """Add what a slice took: `samples`, `steps` and `seconds`."""
        self.samples += facts["samples"]
        self.steps += facts["steps"]
        self.seconds += facts["seconds"]
        self.slices.append(number)
        self.parts.append(dict(facts))

    def totals(self) -> dict[str, Any]:
        """Return the facts of a last state that stands for all of its chain."""
        own = {"steps": self.steps, "samples": self.samples, "seconds": self.seconds}
        return own | {PARTS: list(self.parts)}


def closed_form_samples(recipe: Recipe, sizes: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return `slice_samples` of all shards, (S, R), for `sizes` (S, R); None for other engines."""
    if recipe.engine != "closed form":
        return None
    return np.array([slice_samples(recipe, own) for own in sizes.tolist()], np.int64)


def slice_samples(recipe: Recipe, sizes: Sequence[int]) -> list[int]:
    """Return the samples that each state of a chain takes after the one before it.

    Args:
        recipe: how it is trained.
        sizes: records of each slice.
    """
    if recipe.engine == "closed form":
        return samples_of(recipe, sizes)
    train, found, seen = recipe.train, [], 0
    for size, steps in zip(sizes, slice_steps(sizes, train.epochs, train.batch_size), strict=True):
        seen += size
        found.append(samples_in(seen, train.batch_size, steps))
    return found


def peak_memory(device: torch.device) -> int:
    """Return the peak memory so far in bytes: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def samples_of(recipe: Recipe, sizes: Sequence[int]) -> list[int]:
    """Return the samples that the state of each slice takes, given the slices' sizes.

    For a density they are the records of the slice; for a forest, records times trees that learn
    from them.
    """
    if recipe.model.architecture == "forest":
        forest = recipe.model.forest
        return [round(total * forest.trees * forest.share) for total in np.cumsum(sizes)]
    return list(sizes)
