"""Multi-layer perceptron with ReLU; without hidden layers it is multinomial logistic regression."""

from math import prod

from torch import nn

from forgetflow.config.model import ModelSettings


def build(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a network (B, *input_shape) -> (B, classes).

    Parameters: sum over layers of (inputs + 1) * outputs; 64-128-10 has 9,610.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    width = prod(input_shape)
    for units in settings.hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, classes))
