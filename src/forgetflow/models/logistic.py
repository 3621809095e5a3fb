"""Multinomial logistic regression: one linear layer on the flattened input.

The model for which unlearning has closed forms and certificates (Guo et al., "Certified Data
Removal from Machine Learning Models", ICML 2020); the same network as `mlp` without hidden layers.
"""

from math import prod

from torch import nn

from forgetflow.config.model import ModelSettings


def build(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:  # noqa: ARG001
    """Return a network (B, *input_shape) -> (B, classes).

    Parameters: (inputs + 1) * classes; 8 x 8 images and 10 classes have 650, 28 x 28 have 7,850.
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), classes))
