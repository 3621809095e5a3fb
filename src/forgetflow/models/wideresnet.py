"""Wide-ResNet-1-1, SISA's network for SVHN (Bourtoule et al., IEEE S&P 2021, Table II).

The table gives the name only. The released code reads 1-1 as one block per stage at width factor
1: a convolution to 16 channels, then pre-activation blocks of 16, 32 and 64 channels, biases in
all convolutions. In the notation of Zagoruyko & Komodakis, "Wide Residual Networks" (BMVC 2016),
where the first number counts convolutions, that is WRN-10-1.

Differences from the code:

- no dropout (there 0.4 inside each block): its random draws are no part of a state here, so a
  continued training would not repeat an uninterrupted one;
- the last batch normalisation keeps torch's momentum 0.1 (there 0.9, and predictions are made in
  training mode, which does not read the running statistics);
- a mean over the last map instead of 8 x 8 averages: the same on 32 x 32, defined on other sizes.

Not confirmed: that the paper's own SVHN experiments, which were not released, used this network.
"""

import torch
from torch import Tensor, nn

from forgetflow.config.model import ModelSettings
from forgetflow.errors import InputError

SMALLEST = 5
"""Pixels per side that leave 2 x 2 at the end: one record alone cannot be normalised on 1 x 1."""


def build(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:  # noqa: ARG001
    """Return a network (B, C, H, W) -> (B, classes); H and W at least 5.

    Parameters: 144 C + 65 classes + 77,104, whatever H and W; 78,186 with 3 channels and 10
    classes.

    Raises:
        InputError: the records are not images of at least 5 x 5.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < SMALLEST:
        raise InputError(
            f"model.architecture wideresnet needs images (C, H, W) of at least {SMALLEST} x "
            f"{SMALLEST}, not {input_shape}; use mlp or logistic"
        )
    return WideResNet(input_shape[0], classes)


class WideResNet(nn.Module):
    """A convolution, three blocks, a mean over the map, a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            Block(16, 16),
            Block(16, 32, stride=2),
            Block(32, 64, stride=2),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, C, H, W)."""
        return self.classifier(self.features(images).mean(dim=(2, 3)))


class Block(nn.Module):
    """Normalise, ReLU, convolve, twice; the second convolution strides, as in the code."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride), rounded up."""
        out = self.conv1(torch.relu(self.norm1(maps)))
        return self.conv2(torch.relu(self.norm2(out))) + self.shortcut(maps)
