"""Untrained models: what `model` in params.yaml describes, with weights that a seed decides.

Families (`ModelSettings.family`): networks map inputs to logits (B, C), a forest to
log-probabilities (B, C), a one-class model to the score of its only class, (B, 1).

Weights come from generators seeded per parameter name, so a network's start is a pure function
of (settings, shapes, seed) and building one leaves torch's global random state as it was.
"""

import torch
from torch import nn

from forgetflow.config.model import ModelSettings
from forgetflow.keys.digests import keyed_hash
from forgetflow.models.normalize import Standardize
from forgetflow.models.registry import architecture_named


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
    architecture = architecture_named(settings.architecture)
    with torch.random.fork_rng(devices=[]):  # layers draw initial weights that are replaced below
        body = architecture(settings, input_shape, classes)
    parts = [Standardize(input_shape), body] if settings.normalize == "standard" else [body]
    return initialise(nn.Sequential(*parts), seed)


def initialise(network: nn.Module, seed: int) -> nn.Module:
    """Give every layer the initial values that a seed decides, in place; returns the network.

    Kaiming-uniform weights (He et al. 2015) and uniform biases for linear layers and convolutions,
    as torch's own have; any other layer's `reset_parameters`, from a generator of its own. Draws
    depend on a layer's path in the network, not on its position or on other layers.

    Args:
        network: on the CPU.
        seed: 64-bit seed.

    Raises:
        NotImplementedError: a layer has weights or buffers and no `reset_parameters`.
    """
    for path, module in network.named_modules():
        own = keyed_hash(seed, "weights", path) % 2**63
        if isinstance(module, nn.Linear | nn.Conv2d):
            _kaiming(module, torch.Generator().manual_seed(own))
        elif callable(reset := getattr(module, "reset_parameters", None)):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(own)
                reset()
        elif list(module.parameters(recurse=False)) or list(module.buffers(recurse=False)):
            raise NotImplementedError(f"no initial values are defined for {type(module).__name__}")
    return network


def _kaiming(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> None:
    nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
    if layer.bias is not None:
        bound = layer.weight[0].numel() ** -0.5
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
