"""Models of the field that constituents can be; one file each, one registry line here.

Families (`ModelSettings.family`): networks map inputs to logits (B, C), a forest to
log-probabilities (B, C), a one-class model to the score of its only class, (B, 1).

Weights come from generators seeded per parameter name, so a network's start is a pure function
of (settings, shapes, seed) and building one leaves torch's global random state as it was.
"""

from collections.abc import Callable

import torch
from torch import nn

from forgetflow.config import ModelSettings
from forgetflow.errors import InputError
from forgetflow.keys import keyed_hash
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
from forgetflow.models.normalize import Standardize

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


def build(
    settings: ModelSettings, input_shape: tuple[int, ...], classes: int, seed: int
) -> nn.Module:
    """Return a freshly initialised model on the CPU; see the module's text for what it maps.

    Args:
        settings: the `model` block.
        input_shape: shape of one input, without the batch dimension.
        classes: number of classes C; ignored by one-class models.
        seed: 64-bit seed of the initial weights.

    Raises:
        InputError: the architecture cannot take inputs of this shape.
    """
    if settings.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InputError(f"model.architecture: unknown '{settings.architecture}'; known: {known}")
    with torch.random.fork_rng(devices=[]):  # layers draw initial weights that are replaced below
        body = ARCHITECTURES[settings.architecture](settings, input_shape, classes)
    parts = [Standardize(input_shape), body] if settings.normalize == "standard" else [body]
    network = nn.Sequential(*parts)
    _initialise(network, seed)
    return network


def _initialise(network: nn.Module, seed: int) -> None:
    """Kaiming-uniform weights (He et al. 2015) and uniform biases, as torch's own layers do."""
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            generator = torch.Generator().manual_seed(keyed_hash(seed, "weights", path) % 2**63)
            nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
            if module.bias is not None:
                bound = module.weight[0].numel() ** -0.5
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()  # scale 1, shift 0, statistics as before the first batch
        elif isinstance(module, Standardize | gaussian.Gaussian):
            module.reset()
        elif list(module.parameters(recurse=False)) or list(module.buffers(recurse=False)):
            raise NotImplementedError(f"no initial values are defined for {type(module).__name__}")
