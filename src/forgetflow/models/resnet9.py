"""ResNet-9, the small residual network of the fast CIFAR-10 recipes and of datamodels.

The line begins with David Page's DAWNBench entry (2018); this is its later, smaller variant by
KakaoBrain (wbaek/torchskeleton), which FFCV's CIFAR example, the datamodels of Ilyas et al. (ICML
2022) and EasyDUB train: eight convolutions and a linear layer without bias, the second
convolution 5 x 5 with stride 2, the last one unpadded, logits times 0.2. Page's own net has 6.6
million parameters.

FFCV and the datamodels train it channels-last and in mixed precision; here neither.
"""

from torch import Tensor, nn

from forgetflow.config.model import ModelSettings
from forgetflow.errors import InputError

SMALLEST = 15
"""Pixels per side that leave 2 x 2 at the end: one record alone cannot be normalised on 1 x 1."""


def build(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:  # noqa: ARG001
    """Return a network (B, C, H, W) -> (B, classes); H and W at least 15.

    Parameters: 576 C + 128 classes + 2,271,872, whatever H and W; 2,274,880 with 3 channels and
    10 classes.

    Raises:
        InputError: the records are not images of at least 15 x 15.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < SMALLEST:
        raise InputError(
            f"model.architecture resnet9 needs images (C, H, W) of at least {SMALLEST} x "
            f"{SMALLEST}, not {input_shape}; use lenet or allcnn for smaller images, mlp for others"
        )
    return ResNet9(input_shape[0], classes)


class ResNet9(nn.Module):
    """Eight convolutions, two residual connections, a maximum over the map, a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _convolution(channels, 64),
            _convolution(64, 128, kernel=5, stride=2, padding=2),
            Residual(_convolution(128, 128), _convolution(128, 128)),
            _convolution(128, 256),
            nn.MaxPool2d(2),
            Residual(_convolution(256, 256), _convolution(256, 256)),
            _convolution(256, 128, padding=0),
        )
        self.classifier = nn.Linear(128, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, C, H, W)."""
        # Not nn.AdaptiveMaxPool2d: its CUDA gradient is not deterministic. Equal maxima share it.
        return self.classifier(self.features(images).amax(dim=(2, 3))) * 0.2


class Residual(nn.Module):
    """Adds to its input what the layers make of it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps + layers(maps), (B, C, H, W)."""
        return maps + self.layers(maps)


def _convolution(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 1
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
