"""A history-independent random forest as a constituent; `forgetflow.forest` is the forest itself.

Its state is the arrays of `Forest.state`, kept as buffers, so that checkpoints, weights files and
checks of their bytes treat it like any network. It has no parameters and no gradient.

Shapes: B inputs of D numbers, C classes.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from forgetflow.config import model as config
from forgetflow.errors import InputError

if TYPE_CHECKING:  # numba takes a second to load, and other models do without it
    from forgetflow.forest import Forest, ForestSettings, Grid


class ForestModel(nn.Module):
    """Inputs (B, *input_shape) -> log-probabilities (B, C), minus infinity where no tree votes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self._forest: Forest | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the log of the mean over trees of class shares, float32 (B, C)."""
        if self._forest is None:
            arrays = {name: buffer.cpu().numpy() for name, buffer in self.named_buffers()}
            self._forest = library().Forest.from_state(arrays)
        shares = self._forest.predict_proba(inputs.flatten(1).cpu().numpy())
        return torch.from_numpy(shares).log().float().to(inputs.device)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *_: Any, **__: Any
    ) -> None:
        """Take whatever arrays are there: their sizes are part of what was learned."""
        self._forest = None
        for name, tensor in state_dict.items():
            if name.startswith(prefix):
                self.register_buffer(name.removeprefix(prefix), tensor.detach().clone())


def build(settings: config.ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:  # noqa: ARG001
    """Return a forest without trees, (B, *input_shape) -> (B, classes), to be loaded."""
    return ForestModel(classes)


def library() -> ModuleType:
    """Return `forgetflow.forest`.

    Raises:
        InputError: numba is not installed.
    """
    try:
        import numba  # noqa: F401
    except ImportError:
        raise InputError(
            "forests need numba, which is not installed: pip install 'forgetflow[forest]'"
        ) from None
    import forgetflow.forest

    return forgetflow.forest


@cache
def compiled() -> ModuleType:
    """Return `library()` with all of it compiled that grows and changes forests.

    The compiler runs once per installation and takes longer than most forests: whoever measures
    seconds calls this before.
    """
    found = library()
    digests = np.repeat(np.arange(8, dtype=np.uint8)[:, None], 32, axis=1)
    rows = digests, np.arange(8.0)[:, None], np.arange(8) % 2
    grid = found.Grid.uniform(np.zeros(1), np.full(1, 8.0), 4)
    size = found.ForestSettings(trees=2)
    state = found.Forest.fit(*rows, grid=grid, classes=2, settings=size).state()
    found.Forest.from_state(state, rows).delete(digests[:2])
    return found


def settings_of(settings: config.ForestSettings, seed: int) -> "ForestSettings":
    """Return the size of a forest whose draws have this seed."""
    found: ForestSettings = library().ForestSettings(
        trees=settings.trees,
        max_depth=settings.max_depth,
        random_depth=settings.random_depth,
        thresholds=settings.candidates,
        features=settings.features,
        min_leaf=settings.min_leaf,
        share=settings.share,
        seed=seed,
    )
    return found


def grid_of(settings: config.ForestSettings, features: int, root: Path) -> "Grid":
    """Return the thresholds that splits are chosen from; no record has a say in them.

    Args:
        settings: declared range, or a file of public rows.
        features: numbers per input D.
        root: folder that a relative `reference` starts from.

    Raises:
        InputError: the file is missing, is no table of numbers, or has other columns.
    """
    grid: type[Grid] = library().Grid
    if settings.reference is None:
        low, high = np.full(features, settings.low), np.full(features, settings.high)
        return grid.uniform(low, high, settings.thresholds)
    path = root / settings.reference
    where = f"model.forest.reference: {path}"
    try:
        rows = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{where} not found: give a .npy file of public rows") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{where} cannot be read as .npy: {error}") from None
    if not isinstance(rows, np.ndarray) or not len(rows) or rows[0].size != features:
        raise InputError(f"{where} must hold public rows of {features} numbers each")
    return grid.from_public(rows.reshape(len(rows), -1), settings.thresholds)


def tensors_of(forest: "Forest", prefix: str) -> dict[str, Tensor]:
    """Return the arrays of a forest as tensors, each name with `prefix`."""
    return {f"{prefix}{n}": torch.from_numpy(a.copy()) for n, a in forest.state().items()}
