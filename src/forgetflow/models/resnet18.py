"""ResNet-18 with the CIFAR stem, the network of most deep unlearning benchmarks.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), with a 3 x 3 convolution of
stride 1 and no max pooling where the ImageNet network has 7 x 7, stride 2 and pooling. The same
layers as in kuangliu/pytorch-cifar and, apart from its built-in normalisation of the input
(`model.normalize` here), in SalUn's code (Fan et al., ICLR 2024). Golatkar et al. use a
pre-activation variant instead.
"""

import torch
from torch import Tensor, nn

from forgetflow.config.model import ModelSettings
from forgetflow.errors import InputError

SMALLEST = 9
"""Pixels per side that leave 2 x 2 at the end: one record alone cannot be normalised on 1 x 1."""


def build(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:  # noqa: ARG001
    """Return a network (B, C, H, W) -> (B, classes); H and W at least 9.

    Parameters: 576 C + 513 classes + 11,167,104, whatever H and W; 11,173,962 with 3 channels and
    10 classes.

    Raises:
        InputError: the records are not images of at least 9 x 9.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < SMALLEST:
        raise InputError(
            f"model.architecture resnet18 needs images (C, H, W) of at least {SMALLEST} x "
            f"{SMALLEST}, not {input_shape}; use lenet or allcnn for smaller images, mlp for others"
        )
    return ResNet18(input_shape[0], classes)


class ResNet18(nn.Module):
    """A convolution, four stages of two blocks, a mean over the map, a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            *(Block(64, 64), Block(64, 64)),
            *(Block(64, 128, stride=2), Block(128, 128)),
            *(Block(128, 256, stride=2), Block(256, 256)),
            *(Block(256, 512, stride=2), Block(512, 512)),
        )
        self.classifier = nn.Linear(512, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, C, H, W)."""
        return self.classifier(self.features(images).mean(dim=(2, 3)))


class Block(nn.Module):
    """Two 3 x 3 convolutions, the first one strides, and a shortcut; ReLU after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()  # the identity
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride), rounded up."""
        return torch.relu(self.layers(maps) + self.shortcut(maps))
