"""All-CNN as the unlearning papers train it: All-CNN-C with batch normalisation.

All-CNN-C is Springenberg et al., "Striving for Simplicity: The All Convolutional Net" (ICLR 2015
workshop): convolutions only, two of them with stride 2 where others pool. This is the variant of
Golatkar et al., "Eternal Sunshine of the Spotless Net" (CVPR 2020), in their released code, which
later papers copied. It differs from the original, which has 1,369,738 parameters on CIFAR-10:

- batch normalisation after every convolution instead of a bias, and no dropout;
- the first strided convolution widens 96 -> 192 (there it stays 96 -> 96);
- every 3 x 3 convolution is padded, and a linear layer on the pooled features replaces the last
  1 x 1 convolution and its ReLU.

The mean over the last map stands where the code averages 8 x 8, which is the same on 32 x 32 and
is defined on other sizes; unlike torch's adaptive pooling it has a deterministic CUDA gradient.
"""

from torch import Tensor, nn

from forgetflow.config.model import ModelSettings
from forgetflow.errors import InputError

SMALLEST = 5
"""Pixels per side that leave 2 x 2 at the end: one record alone cannot be normalised on 1 x 1."""


def build(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:  # noqa: ARG001
    """Return a network (B, C, H, W) -> (B, classes); H and W at least 5.

    Parameters: 864 C + 193 classes + 1,615,488, whatever H and W; 1,620,010 with 3 channels and
    10 classes.

    Raises:
        InputError: the records are not images of at least 5 x 5.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < SMALLEST:
        raise InputError(
            f"model.architecture allcnn needs images (C, H, W) of at least {SMALLEST} x "
            f"{SMALLEST}, not {input_shape}; use mlp or logistic"
        )
    return AllCNN(input_shape[0], classes)


class AllCNN(nn.Module):
    """Eight convolutions, a mean over the map, a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(channels, 96),
            *_convolution(96, 96),
            *_convolution(96, 192, stride=2),
            *_convolution(192, 192),
            *_convolution(192, 192),
            *_convolution(192, 192, stride=2),
            *_convolution(192, 192),
            *_convolution(192, 192, kernel=1),
        )
        self.classifier = nn.Linear(192, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, C, H, W)."""
        return self.classifier(self.features(images).mean(dim=(2, 3)))


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
