"""The autoencoder of one class."""

import numpy as np
import pytest
import torch
from torch import nn

from forgetflow.config.model import ModelSettings
from forgetflow.models.autoencoder import Autoencoder
from forgetflow.models.build import build


@pytest.mark.parametrize(
    ("width", "hidden", "sizes"),
    [
        (64, (32,), [(64, 32), (32, 64)]),
        (12, (8, 3), [(12, 8), (8, 3), (3, 8), (8, 12)]),
        (5, (4, 3, 2), [(5, 4), (4, 3), (3, 2), (2, 3), (3, 4), (4, 5)]),
    ],
)
def test_the_decoder_mirrors_the_encoder(width, hidden, sizes):
    network = Autoencoder(width, hidden)
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert [(one.in_features, one.out_features) for one in linear] == sizes
    assert isinstance(network.layers[-1], nn.Linear), "a reconstruction may be negative"


def test_parameters_are_counted_as_the_text_says():
    network = Autoencoder(64, (32,))
    assert sum(parameter.numel() for parameter in network.parameters()) == 4192


def test_the_score_is_half_the_squared_error_by_hand():
    network = Autoencoder(3, (2,))
    inputs = torch.tensor([[0.0, 1.0, 2.0], [3.0, -1.0, 0.5]])
    first, _, last = network.layers
    expected = []
    for row in inputs.double().numpy():
        weights = [p.detach().double().numpy() for p in (first.weight, first.bias)]
        code = np.maximum(weights[0] @ row + weights[1], 0)
        back = [p.detach().double().numpy() for p in (last.weight, last.bias)]
        expected.append(-0.5 * ((back[0] @ code + back[1] - row) ** 2).sum())
    assert network(inputs).squeeze(1).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_perfect_reconstruction_scores_zero_and_nothing_scores_more():
    network = Autoencoder(2, (4,))
    weights = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    with torch.no_grad():
        network.layers[0].weight.copy_(weights)
        network.layers[2].weight.copy_(weights.T)
        for layer in (network.layers[0], network.layers[2]):
            layer.bias.zero_()
    assert network(torch.tensor([[0.5, -2.0]])).item() == 0
    assert (Autoencoder(6, (3,))(torch.randn(100, 6)) <= 0).all()


def test_images_are_flattened_and_classes_do_not_matter():
    settings = ModelSettings(architecture="autoencoder", hidden=(4,))
    two, ten = (build(settings, (2, 3, 3), classes, seed=7) for classes in (2, 10))
    images = torch.randn(5, 2, 3, 3)
    assert two(images).shape == (5, 1)
    assert torch.equal(two(images), ten(images))
