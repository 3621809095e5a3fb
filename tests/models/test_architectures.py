"""Published networks: their size, their wiring, what they accept and where weights come from."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d

from forgetflow.attribution.grad_dot import loss, per_sample_gradients
from forgetflow.config.model import ModelSettings
from forgetflow.errors import InputError
from forgetflow.models.build import build
from forgetflow.models.registry import ARCHITECTURES

SMALLEST = {"allcnn": 5, "resnet9": 15, "wideresnet": 5, "resnet18": 9}
NEW = ("logistic", *SMALLEST)


def make(architecture, shape=None, classes=10, seed=1, **settings):
    side = SMALLEST.get(architecture, 5)
    settings = ModelSettings(architecture=architecture, **settings)
    return build(settings, shape or (1, side, side), classes, seed)


def images_for(architecture, count):
    side = SMALLEST.get(architecture, 5)
    return torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(count))


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


def conv(inputs, outputs, kernel, bias=0):
    return inputs * outputs * kernel**2 + bias * outputs


def norm(channels):
    return 2 * channels


def all_cnn(c, k):
    convolutions = conv(c, 96, 3) + conv(96, 96, 3) + conv(96, 192, 3) + 4 * conv(192, 192, 3)
    return convolutions + conv(192, 192, 1) + 2 * norm(96) + 6 * norm(192) + 193 * k


def resnet9(c, k):
    first = conv(c, 64, 3) + norm(64) + conv(64, 128, 5) + norm(128)
    residuals = 2 * (conv(128, 128, 3) + norm(128)) + 2 * (conv(256, 256, 3) + norm(256))
    return first + residuals + 2 * conv(128, 256, 3) + norm(256) + norm(128) + 128 * k


def wide_resnet(c, k):
    def block(i, o, shortcut):
        return norm(i) + conv(i, o, 3, 1) + norm(o) + conv(o, o, 3, 1) + shortcut * conv(i, o, 1, 1)

    blocks = block(16, 16, 0) + block(16, 32, 1) + block(32, 64, 1)
    return conv(c, 16, 3, 1) + blocks + norm(64) + 65 * k


def resnet18(c, k):
    def block(i, o, shortcut):
        body = conv(i, o, 3) + norm(o) + conv(o, o, 3) + norm(o)
        return body + shortcut * (conv(i, o, 1) + norm(o))

    widths = [64, 64, 128, 256, 512]
    blocks = sum(block(i, o, i != o) + block(o, o, 0) for i, o in pairwise(widths))
    return conv(c, 64, 3) + norm(64) + blocks + 513 * k


@pytest.mark.parametrize(
    ("architecture", "shape", "classes", "parameters"),
    [
        ("logistic", (1, 8, 8), 10, 650),
        ("logistic", (1, 28, 28), 10, 7_850),
        ("logistic", (7,), 3, 24),
        ("lenet", (1, 28, 28), 10, 105_866),
        ("lenet", (3, 9, 15), 2, 144 * 3 + 2_048 * 2 * 3 + 65 * 2 + 4_720),
        ("allcnn", (3, 32, 32), 10, 1_620_010),
        ("allcnn", (1, 28, 28), 10, all_cnn(1, 10)),
        ("allcnn", (2, 8, 8), 7, 864 * 2 + 193 * 7 + 1_615_488),
        ("resnet9", (3, 32, 32), 10, 2_274_880),
        ("resnet9", (1, 28, 28), 10, resnet9(1, 10)),
        ("resnet9", (2, 16, 16), 7, 576 * 2 + 128 * 7 + 2_271_872),
        ("wideresnet", (3, 32, 32), 10, 78_186),  # the size of SISA's released SVHN network
        ("wideresnet", (1, 28, 28), 10, wide_resnet(1, 10)),
        ("wideresnet", (2, 8, 8), 7, 144 * 2 + 65 * 7 + 77_104),
        ("resnet18", (3, 32, 32), 10, 11_173_962),  # as published for kuangliu/pytorch-cifar
        ("resnet18", (1, 28, 28), 10, resnet18(1, 10)),
        ("resnet18", (2, 16, 16), 7, 576 * 2 + 513 * 7 + 11_167_104),
    ],
)
def test_sizes_and_shapes(architecture, shape, classes, parameters):
    network = make(architecture, shape, classes).eval()
    assert size(network) == parameters
    with torch.no_grad():
        assert network(torch.zeros(2, *shape)).shape == (2, classes)


def test_the_documented_sizes_are_those_of_the_layer_tables():
    assert all_cnn(3, 10) == 1_620_010
    assert resnet9(3, 10) == 2_274_880
    assert wide_resnet(3, 10) == 78_186
    assert resnet18(3, 10) == 11_173_962


@pytest.mark.parametrize("architecture", SMALLEST)
def test_what_is_no_image_or_too_small_is_refused(architecture):
    side = SMALLEST[architecture]
    for shape in [(64,), (32, 32), (1, 1, 32, 32), (1, side - 1, 32), (1, 32, side - 1)]:
        with pytest.raises(InputError, match=rf"architecture {architecture}.*{side} x {side}.*use"):
            make(architecture, shape)


@pytest.mark.parametrize("architecture", SMALLEST)
def test_the_smallest_image_leaves_two_by_two(architecture):
    sides = []
    network = make(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _, given, __: sides.append(given[0].shape[2:]))
    with torch.no_grad():
        network(images_for(architecture, 1))
    assert sides[-1] == min(sides) == (2, 2)


@pytest.mark.parametrize("architecture", NEW)
@pytest.mark.parametrize("count", [1, 2])
def test_a_training_step_on_a_tiny_batch(architecture, count):
    network = make(architecture)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    cross_entropy(network(images_for(architecture, count)), torch.arange(count)).backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter).all(), name
    for name, value in network.named_buffers():
        assert torch.isfinite(value).all(), name
        assert not torch.equal(value, before[name]), name


@pytest.mark.parametrize("architecture", NEW)
def test_gradients_reach_every_parameter(architecture):
    # In evaluation mode: while training, a bias right before a batch normalisation has none.
    network = make(architecture).eval()
    cross_entropy(network(images_for(architecture, 2)), torch.arange(2)).backward()
    assert all(parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize("architecture", NEW)
def test_evaluation_is_deterministic_and_leaves_the_state_alone(architecture):
    network, inputs = make(architecture).eval(), images_for(architecture, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        logits = network(inputs)
        assert torch.equal(network(inputs), logits)
        torch.testing.assert_close(network(inputs[1:2]), logits[1:2], rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("architecture", NEW)
def test_training_draws_no_random_numbers(architecture):
    network = make(architecture)
    before = torch.get_rng_state()
    network(images_for(architecture, 2)).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("architecture", NEW)
def test_initial_weights_are_a_function_of_the_seed_alone(architecture):
    torch.manual_seed(1)
    first = make(architecture, seed=7).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = make(architecture, seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = make(architecture, seed=8)
    drawn = {
        f"{path}.{name}"
        for path, module in other.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
        for name, _ in module.named_parameters()
    }
    for name, value in other.state_dict().items():
        assert torch.equal(first[name], value) == (name not in drawn), name


@pytest.mark.parametrize("architecture", SMALLEST)
def test_batch_normalisation_starts_as_before_the_first_batch(architecture, monkeypatch):
    plain = ARCHITECTURES[architecture]

    def used(settings, input_shape, classes):
        body = plain(settings, input_shape, classes)
        for value in [*body.parameters(), *body.buffers()]:
            value.data.fill_(3)
        return body

    monkeypatch.setitem(ARCHITECTURES, architecture, used)
    norms = [m for m in make(architecture).modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    for module in norms:
        assert (module.weight == 1).all()
        assert (module.running_var == 1).all()
        assert not module.bias.any()
        assert not module.running_mean.any()
        assert module.num_batches_tracked == 0


@pytest.mark.parametrize("architecture", NEW)
def test_the_state_survives_safetensors(architecture):
    network, inputs = make(architecture, normalize="standard"), images_for(architecture, 2)
    network(inputs)  # moves the running statistics
    stored = safetensors.torch.load(safetensors.torch.save(network.state_dict()))
    fresh = make(architecture, normalize="standard", seed=2)
    fresh.load_state_dict(stored)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(inputs), network.eval()(inputs))


def test_logistic_is_the_mlp_without_hidden_layers():
    one, other = make("logistic", seed=5), make("mlp", hidden=(), seed=5)
    inputs = images_for("logistic", 3)
    assert one.state_dict().keys() == other.state_dict().keys()
    assert torch.equal(one(inputs), other(inputs))


@pytest.mark.parametrize("architecture", ["logistic", "allcnn", "resnet9", "wideresnet"])
def test_gradients_per_record_equal_autograd_one_record_at_a_time(architecture):
    network, inputs = make(architecture).eval().double(), images_for(architecture, 2)
    classes = torch.tensor([3, 4])
    found = per_sample_gradients(network, loss, inputs, classes)
    for row in range(2):
        network.zero_grad()
        cross_entropy(network(inputs[row : row + 1].double()), classes[row : row + 1]).backward()
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(found[name][row], parameter.grad, rtol=1e-6, atol=1e-9)


Take = Callable[[Tensor], Tensor]


def plain_allcnn(take: Take, x: Tensor) -> Tensor:
    for _ in range(8):
        x = take(take(x)).relu()
    return take(x.mean((2, 3)))


def plain_resnet9(take: Take, x: Tensor) -> Tensor:
    x = take(take(x)).relu()
    x = take(take(x)).relu()
    x = x + take(take(take(take(x)).relu())).relu()
    x = max_pool2d(take(take(x)).relu(), 2)
    x = x + take(take(take(take(x)).relu())).relu()
    x = take(take(x)).relu()
    return take(x.flatten(2).max(dim=2).values) / 5


def plain_wideresnet(take: Take, x: Tensor) -> Tensor:
    x = take(x)
    for stage in range(3):
        inner = take(take(take(take(x).relu())).relu())
        x = inner + (take(x) if stage else x)
    return take(take(x).relu().mean((2, 3)))


def plain_resnet18(take: Take, x: Tensor) -> Tensor:
    x = take(take(x)).relu()
    for block in range(8):
        inner = take(take(take(take(x)).relu()))
        x = (inner + (take(take(x)) if block in (2, 4, 6) else x)).relu()
    return take(x.mean((2, 3)))


@pytest.mark.parametrize(
    "plain",
    [plain_allcnn, plain_resnet9, plain_wideresnet, plain_resnet18],
    ids=lambda f: f.__name__,
)
def test_the_wiring_is_the_published_one(plain):
    architecture = plain.__name__.removeprefix("plain_")
    network = make(architecture, (2, 17, 19)).eval()
    generator = torch.Generator().manual_seed(0)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    for module in layers:
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight, module.bias, module.running_mean, module.running_var):
                value.data.uniform_(0.5, 1.5, generator=generator)
    inputs = torch.randn(2, 2, 17, 19, generator=generator)
    with torch.no_grad():
        expected = plain(partial(_next, left := iter(layers)), inputs)
        torch.testing.assert_close(network(inputs), expected)
    assert not list(left)


def _next(layers: Iterator[nn.Module], inputs: Tensor) -> Tensor:
    return next(layers)(inputs)
