"""LeNet-style network: two convolutions with pooling, then two linear layers.

After LeCun et al., Proc. IEEE 86(11), 1998, with ReLU and max pooling; on 28 x 28 it matches
SISA's MNIST network in kind (two convolutional and two fully connected layers, Table II).
"""

import torch
from torch import nn

from forgetflow.config.model import ModelSettings
from forgetflow.errors import InputError


def build(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:  # noqa: ARG001
    """Return a network (B, C, H, W) -> (B, classes); H and W at least 8.

    Parameters: 144 C + 2,048 (H // 4) (W // 4) + 65 classes + 4,720; 105,866 for 28 x 28 grey
    images and 10 classes.

    Raises:
        InputError: the records are not images of at least 8 x 8.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < 8:
        raise InputError(
            "model.architecture lenet needs images (C, H, W) of at least 8 x 8, "
            f"not {input_shape}; use mlp"
        )
    # The ReLU of a maximum is the maximum of the ReLUs, also in its gradient, and reads a quarter.
    body = nn.Sequential(
        nn.Conv2d(input_shape[0], 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
    )
    features = body(torch.zeros(1, *input_shape)).shape[1]
    return nn.Sequential(*body, nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, classes))
