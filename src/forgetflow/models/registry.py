"""Architectures: one file each in this room, one line here."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from forgetflow.config.model import ModelSettings
from forgetflow.errors import InputError
from forgetflow.models import (
    allcnn,
    autoencoder,
    forest,
    gaussian,
    lenet,
    logistic,
    mlp,
    resnet9,
    resnet18,
    wideresnet,
)

if TYPE_CHECKING:  # numba takes a second to load
    from forgetflow.forest import Grid

Architecture = Callable[[ModelSettings, tuple[int, ...], int], nn.Module]

ARCHITECTURES: dict[str, Architecture] = {
    "mlp": mlp.build,
    "lenet": lenet.build,
    "logistic": logistic.build,
    "allcnn": allcnn.build,
    "resnet9": resnet9.build,
    "wideresnet": wideresnet.build,
    "resnet18": resnet18.build,
    "forest": forest.build,
    "autoencoder": autoencoder.build,
    "gaussian": gaussian.build,
}


def architecture_named(name: str) -> Architecture:
    """Return what builds the body of an architecture.

    Raises:
        InputError: there is none of that name.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InputError(f"model.architecture: unknown '{name}'; known: {known}")
    return ARCHITECTURES[name]


def architecture_module(model: ModelSettings) -> str:
    """Return the module of an architecture, for keys."""
    return architecture_named(model.architecture).__module__


def grid_for(model: ModelSettings, features: int, root: Path) -> "Grid | None":
    """Return the thresholds that a forest's splits are chosen from; None for other architectures.

    Args:
        model: the `model` block.
        features: numbers per input D.
        root: folder of the project, where relative paths start.

    Raises:
        InputError: the file of public rows is missing or cannot be used.
    """
    return forest.grid_of(model.forest, features, root) if model.family == "forest" else None
