"""One-class model: an autoencoder scored by how well it gives a record back.

    score(x) = -|x - decode(encode(x))|^2 / 2

the log density, up to a constant, of a normal with unit variance around the reconstruction. It is
not calibrated per class: dividing by a class's own mean error made digits worse, not better.

Shapes: B inputs of D numbers.
"""

from math import prod

from torch import Tensor, nn

from forgetflow.config.model import ModelSettings


class Autoencoder(nn.Module):
    """Inputs (B, *input_shape) -> score, (B, 1), at most 0.

    Args:
        width: numbers per input D.
        hidden: units of the encoder's layers; the last is the code, and the decoder mirrors it.
    """

    def __init__(self, width: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        sizes = (width, *hidden, *reversed(hidden[:-1]), width)
        layers: list[nn.Module] = []
        for number in range(len(sizes) - 1):
            layers += [nn.Linear(sizes[number], sizes[number + 1]), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return minus half the squared reconstruction error of each input, (B, 1)."""
        rows = inputs.flatten(1)
        return -0.5 * (self.layers(rows) - rows).square().sum(dim=1, keepdim=True)


def build(settings: ModelSettings, input_shape: tuple[int, ...], classes: int) -> nn.Module:  # noqa: ARG001
    """Return a network (B, *input_shape) -> (B, 1).

    Parameters: those of linear layers D, hidden..., mirrored, D; 64-32-64 has 4,192.
    """
    return Autoencoder(prod(input_shape), settings.hidden)
