"""Many networks at once: each has the bits of itself alone, and the numbers of plain torch."""

from itertools import cycle, product

import numpy as np
import pytest
import torch
from torch import nn

from forgetflow.config.model import ModelSettings
from forgetflow.models.build import build as build_network
from forgetflow.models.normalize import Standardize
from forgetflow.models.registry import ARCHITECTURES
from forgetflow.training.learners import Resident
from forgetflow.training.objective import CrossEntropy
from forgetflow.training.recipe import STACKABLE
from forgetflow.training.registry import learners
from forgetflow.training.sequential import untrained, weights_of
from forgetflow.training.stacked import NEVER, StackedLearners, stackable

HIDDEN = ([], [8], [37], [64, 33], [128])
TRAININGS = {
    "sgd": {"momentum": 0.0},
    "momentum": {"momentum": 0.9},
    "decay": {"momentum": 0.5, "weight_decay": 0.05},
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
}
NETWORKS = [
    pytest.param(
        {
            "shape": (width,),
            "classes": classes,
            "model": {"hidden": hidden, "normalize": normalize},
            "train": TRAININGS[train] | {"batch_size": batch},
        },
        id=f"{width}-{hidden}-{classes}-{train}-{batch}-{normalize}",
    )
    for (hidden, train), width, classes, batch, normalize in zip(
        product(HIDDEN, TRAININGS),
        cycle((7, 1, 31, 6, 64)),
        cycle((2, 3, 10, 11, 17, 16, 33)),
        cycle((3, 10, 16, 40)),
        cycle(("none", "standard", "none")),
        strict=False,
    )
]


def as_bytes(state):
    """Return every bit of a state; tensors that compare equal may differ in the sign of zero."""
    return {name: value.numpy().tobytes() for name, value in state.items()}


def distance(state, other):
    """Return the largest relative distance between tensors of two states."""
    assert state.keys() == other.keys()
    return max(
        float((state[name].double() - other[name].double()).norm())
        / max(float(other[name].double().norm()), 1e-3)
        for name in state
    )


@pytest.fixture(scope="module")
def members_of(make_member, make_samples):
    """Return a maker of members whose records are unequally many and partly the same."""

    def make(network, steps):
        shape, classes = network["shape"], network["classes"]
        members = []
        for i, count in enumerate(steps):
            samples = make_samples(5 + i % 13, shape, classes, seed=i // 2)
            members.append(make_member(i % 5, i // 3, samples, count))
        return members

    return make


# Isolation


@pytest.mark.parametrize("ragged", [False, True], ids=["level", "ragged"])
@pytest.mark.parametrize("network", NETWORKS)
def test_bits_are_those_of_training_alone(make_recipe, members_of, train_pool, network, ragged):
    recipe = make_recipe(**network)
    members = members_of(network, [i * 7 % 12 if ragged else 6 for i in range(33)])
    expected = [as_bytes(state) for state in train_pool(recipe, members)]
    assert len({state["model." + name_of_first(recipe)] for state in expected}) > 20
    rng = np.random.default_rng(0)
    for pool in (
        rng.permutation(33)[:16],
        rng.permutation(33)[:3],
        *([i] for i in range(0, 33, 8)),
    ):
        found = train_pool(recipe, [members[i] for i in pool])
        for i, state in zip(pool, found, strict=True):
            assert as_bytes(state) == expected[i], (i, list(pool))


def name_of_first(recipe):
    return next(n for n, _ in untrained(recipe, 0, 0).named_parameters())


def test_extreme_records_of_others_change_no_bit(
    make_recipe, make_member, make_samples, train_pool
):
    """Batches are filled up with records; those must be the member's own."""
    recipe = make_recipe()
    own, other = make_samples(10, seed=1), make_samples(10, seed=2)
    other.inputs[:] = np.float32(3e38)  # finite, so records may be so
    member = make_member(0, 0, own, 5)
    (alone,) = train_pool(recipe, [member])
    beside, _ = train_pool(recipe, [member, make_member(0, 1, other, 5)])
    assert as_bytes(beside) == as_bytes(alone)


# Numbers


@pytest.mark.parametrize("network", NETWORKS)
def test_numbers_are_those_of_one_network_after_another(
    make_recipe, members_of, train_pool, network
):
    found = {}
    for engine in ("sequential", "stacked"):
        train = network["train"] | {"engine": engine}
        recipe = make_recipe(**network | {"train": train})
        found[engine] = train_pool(recipe, members_of(network, [30, 21]))
    for stacked, sequential in zip(found["stacked"], found["sequential"], strict=True):
        assert distance(stacked, sequential) < 3e-6
    start = untrained(recipe, 0, 0).state_dict()
    moved = weights_of(found["stacked"][0])
    assert distance(moved, start) > 1e-2, "else nothing was compared"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_one_step_goes_along_the_gradient(make_recipe, make_samples, hidden, sign):
    """Of autograd in float64; the first momentum is the gradient itself."""
    recipe = make_recipe((7,), 11, model={"hidden": hidden}, train={"batch_size": 10})
    samples = make_samples(20, (7,), 11)
    data = Resident.of([samples], recipe)
    sizes = [1, 4, 10]
    stacked = learners(recipe, [(seed, 2) for seed in range(3)], CrossEntropy(sign))
    rows = torch.randint(20, (1, 3, 10), generator=torch.Generator().manual_seed(0))
    stacked.steps(data, rows, torch.tensor([sizes]))
    for member, size in enumerate(sizes):
        network = untrained(recipe, member, 2).double()
        batch = rows[0, member, :size]
        loss = nn.functional.cross_entropy(network(data.inputs[batch].double()), data.labels[batch])
        loss.backward()
        state = stacked.state(member)
        for name, parameter in network.named_parameters():
            gradient = sign * parameter.grad
            found = state[f"optimizer.momentum_buffer.{name}"].double()
            assert float((found - gradient).norm()) <= 1e-5 * float(gradient.norm()), name
            moved = state[f"model.{name}"].double() - parameter.detach()
            assert torch.allclose(moved, -0.1 * gradient, rtol=1e-3, atol=1e-7), name


@pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS)
def test_ascending_raises_the_loss(make_recipe, make_member, make_samples, train_pool, train):
    recipe = make_recipe(train=train | {"learning_rate": 0.03})
    samples = make_samples(20)
    inputs, targets = torch.from_numpy(samples.inputs), torch.from_numpy(samples.labels)
    losses = []
    for sign in (-1, 0, 1):
        member = make_member(0, 0, samples, 10 * abs(sign))
        (state,) = train_pool(recipe, [member], sign or 1)
        network = untrained(recipe, 0, 0)
        network.load_state_dict(weights_of(state))
        losses.append(nn.functional.cross_entropy(network(inputs), targets).item())
    assert losses[0] > losses[1] + 0.01 > losses[2] + 0.02


# Padding


@pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS)
@pytest.mark.parametrize("hidden", [[], [5], [33, 3]], ids=str)
def test_padding_stays_what_it_is(make_recipe, make_samples, hidden, train):
    """Through 300 steps, with weight decay: nothing outside the network ever moves."""
    recipe = make_recipe((7,), 3, model={"hidden": hidden}, train=train)
    data = Resident.of([make_samples(30, (7,))], recipe)
    stacked = learners(recipe, [(0, 0), (1, 0)])
    assert isinstance(stacked, StackedLearners)
    rows = torch.randint(30, (300, 2, 4), generator=torch.Generator().manual_seed(0))
    stacked.steps(data, rows, torch.randint(1, 5, (300, 2)))
    for weight, (out, width) in zip(stacked.weights, stacked.true, strict=True):
        assert weight.shape[1] > out
        assert not weight[:, out:].any()
        assert not weight[:, :, width:].any()
    for bias, (out, _) in zip(stacked.biases[:-1], stacked.true[:-1], strict=True):
        assert not bias[:, out:].any()
    assert (stacked.biases[-1][:, 3:] == NEVER).all()
    for *_, bias in stacked.memory.values():
        assert not (bias * (1 - stacked.real)).any()
    assert not (stacked.logits[:, :, 3:] != 0).any(), "gradients, so a probability of exactly 0"


@pytest.mark.parametrize("network", NETWORKS[::3])
def test_a_state_is_that_of_the_plain_network(make_recipe, network):
    """Names, shapes and types of `state_dict()`, so that it can be loaded and stored."""
    found = {}
    for engine in ("sequential", "stacked"):
        recipe = make_recipe(**network | {"train": network["train"] | {"engine": engine}})
        state = learners(recipe, [(0, 0)]).state(0)
        assert all(tensor.is_contiguous() for tensor in state.values())
        found[engine] = {n: (t.shape, t.dtype, t.numpy().tobytes()) for n, t in state.items()}
    assert found["stacked"] == found["sequential"]


# Going on


@pytest.mark.parametrize("network", NETWORKS[1::3])
def test_a_member_goes_on_elsewhere_with_the_same_bits(make_recipe, make_samples, network):
    """Saved in the middle and loaded at another place of another pool."""
    recipe = make_recipe(**network)
    samples = make_samples(30, network["shape"], network["classes"])
    data = Resident.of([samples], recipe)
    batch = recipe.train.batch_size
    rows = torch.randint(30, (12, 3, batch), generator=torch.Generator().manual_seed(0))
    counts = torch.full((12, 3), batch)
    whole, first = (learners(recipe, [(seed, 0) for seed in range(3)]) for _ in range(2))
    for pool in (whole, first):
        for member in range(3):
            pool.fit_normalisation(member, data.inputs[member * 5 :])
    whole.steps(data, rows, counts)
    first.steps(data, rows[:5], counts[:5])
    second = learners(recipe, [(9, seed) for seed in range(5)])
    second.steps(data, rows[:2].repeat(1, 2, 1)[:, :5], counts[:2].repeat(1, 2)[:, :5])
    places = [4, 0, 2]
    for member, place in enumerate(places):
        second.load(place, first.state(member))
    mixed = torch.tensor([1, 0, 2, 0, 0])
    second.steps(data, rows[5:, mixed], counts[5:, mixed])
    for member, place in enumerate(places):
        assert as_bytes(second.state(place)) == as_bytes(whole.state(member)), member


# What can be stacked


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), True),
        (nn.Sequential(Standardize((4,)), nn.Flatten(), nn.Linear(4, 3)), True),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), True),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), False),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Linear(5, 3)), False),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU()), False),
        (nn.Sequential(nn.Linear(4, 3)), False),
        (nn.Sequential(nn.Flatten()), False),
        (nn.Sequential(nn.Flatten(), Standardize((4,)), nn.Linear(4, 3)), False),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(4, 3)), False),
    ],
)
def test_linear_layers_with_relu_between_can_be_stacked(network, expected):
    assert stackable(network) is expected


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_list_of_stackable_architectures_is_right(make_settings, make_recipe, architecture):
    family = ModelSettings(architecture=architecture).family
    normalize = "standard" if family == "network" else "none"
    model = {"architecture": architecture, "normalize": normalize}
    if family != "network":
        assert not stackable(build_network(ModelSettings(**model), (3, 32, 32), 10, 0))
        return
    network = build_network(make_settings(model=model).model, (3, 32, 32), 10, 0)
    assert stackable(network) is (architecture in STACKABLE)
    if architecture not in STACKABLE:
        with pytest.raises(ValueError, match=f"{architecture} cannot be stacked"):
            StackedLearners(make_recipe((3, 32, 32), model=model), [(0, 0)], CrossEntropy())
