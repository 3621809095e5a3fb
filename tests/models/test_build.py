"""Networks: what they map, how many parameters they have, and where their weights come from."""

import pytest
import torch
from torch import nn

from forgetflow.config.model import ModelSettings
from forgetflow.errors import InputError
from forgetflow.models.build import build, initialise
from forgetflow.models.registry import ARCHITECTURES

DIGIT = (1, 8, 8)
MLP = ModelSettings(architecture="mlp", hidden=(128,))
LENET = ModelSettings(architecture="lenet")


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


def weights(settings, seed, shape=DIGIT, classes=10):
    return build(settings, shape, classes, seed).state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("settings", "shape", "classes", "parameters"),
    [
        (MLP, DIGIT, 10, 9_610),
        (MLP, (64,), 10, 9_610),
        (ModelSettings(hidden=()), (6,), 3, 21),
        (ModelSettings(hidden=(5, 4)), (2, 3), 7, 7 * 5 + 6 * 4 + 5 * 7),
        (ModelSettings(hidden=(128,), normalize="standard"), DIGIT, 10, 9_610),
        (LENET, DIGIT, 10, 160 + 4_640 + 129 * 64 + 65 * 10),
        (LENET, (3, 32, 32), 10, 448 + 4_640 + 2_049 * 64 + 65 * 10),
        (LENET, (1, 9, 15), 2, 160 + 4_640 + (32 * 2 * 3 + 1) * 64 + 65 * 2),
    ],
)
def test_shapes_and_sizes(settings, shape, classes, parameters):
    network = build(settings, shape, classes, seed=1)
    assert size(network) == parameters
    for count in (1, 5):
        assert network(torch.zeros(count, *shape)).shape == (count, classes)


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 7, 8), (1, 8, 7), (1, 1, 8, 8)])
def test_lenet_refuses_what_is_no_image(shape):
    with pytest.raises(InputError, match="at least 8 x 8"):
        build(LENET, shape, 10, 0)


def test_lenet_has_the_gradient_of_pooling_after_the_relu():
    """Which is how LeNet is usually written; equal maxima and dead maps included."""
    network = build(LENET, (2, 16, 16), 10, 0)
    layers = list(network[0])
    usual = nn.Sequential(*(layers[i] for i in (0, 2, 1, 3, 5, 4, 6, 7, 8, 9)))
    assert [type(layer).__name__ for layer in usual][:3] == ["Conv2d", "ReLU", "MaxPool2d"]
    inputs = torch.randn(12, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    inputs[:3], inputs[3:6, :, :8] = 0.0, -1.0
    found = []
    for one in (network, usual):
        loss = nn.functional.cross_entropy(one(inputs), torch.arange(12) % 10)
        found.append([loss, *torch.autograd.grad(loss, list(one.parameters()))])
    assert all(torch.equal(mine, other) for mine, other in zip(*found, strict=True))


def test_an_unknown_architecture_is_refused():
    unknown = ModelSettings.model_construct(architecture="oracle", hidden=(), normalize="none")
    with pytest.raises(InputError, match="known: mlp, lenet"):
        build(unknown, DIGIT, 10, 0)


@pytest.mark.parametrize("architecture", ["mlp", "lenet", "logistic"])
@pytest.mark.parametrize("normalize", ["none", "standard"])
def test_weights_are_a_function_of_the_seed(architecture, normalize):
    settings = ModelSettings(architecture=architecture, normalize=normalize)
    torch.manual_seed(1)
    first = weights(settings, seed=7)
    torch.manual_seed(2)
    torch.rand(100)
    assert same(first, weights(settings, seed=7))
    other = weights(settings, seed=8)
    for name in first:
        if "mean" not in name and "deviation" not in name:
            assert not torch.equal(first[name], other[name]), name


@pytest.mark.parametrize("settings", [MLP, LENET])
def test_building_leaves_the_global_random_state_alone(settings):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build(settings, DIGIT, 10, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(InputError):
        build(LENET, (64,), 10, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_layers_of_one_shape_start_differently():
    state = weights(ModelSettings(hidden=(8, 8, 8)), seed=0, shape=(8,), classes=8)
    matrices = [value for name, value in state.items() if name.endswith("weight")]
    assert len(matrices) == 4
    for i, one in enumerate(matrices):
        assert all(not torch.equal(one, other) for other in matrices[:i])


def test_the_start_is_spread_as_in_torchs_own_layers():
    state = weights(ModelSettings(hidden=(400,)), seed=5, shape=(100,), classes=2)
    for name in ("0.1.weight", "0.1.bias"):
        bound = 100**-0.5
        assert state[name].abs().max() <= bound
        assert state[name].abs().max() > 0.95 * bound
        assert abs(state[name].mean()) < 0.1 * bound


class Offset(nn.Module):
    """A layer with a parameter and no way to reset it."""

    def __init__(self, size):
        super().__init__()
        self.offset = nn.Parameter(torch.randn(size))


def test_any_layer_that_can_be_reset_is_initialised():
    def made(seed):
        layers = nn.Embedding(5, 3), nn.LayerNorm(3), nn.ConvTranspose2d(3, 2, 2)
        before = torch.get_rng_state()
        network = initialise(nn.Sequential(*layers), seed)
        assert torch.equal(torch.get_rng_state(), before)
        return network.state_dict()

    one, same_seed, other = made(1), made(1), made(2)
    assert same(one, same_seed)
    drawn = {"0.weight", "2.weight", "2.bias"}
    assert {name for name in one if not torch.equal(one[name], other[name])} == drawn


def test_a_layer_without_initial_values_is_refused(monkeypatch):
    def odd(settings, input_shape, classes):
        return nn.Sequential(nn.Flatten(), Offset(64), nn.Linear(64, classes))

    monkeypatch.setitem(ARCHITECTURES, "mlp", odd)
    with pytest.raises(NotImplementedError, match="Offset"):
        build(MLP, DIGIT, 10, 0)
