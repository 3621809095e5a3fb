"""Any networks at once: the numbers of one after another, and never where bits are promised."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from forgetflow.config.model import ModelSettings
from forgetflow.models.registry import ARCHITECTURES
from forgetflow.pools.comparison import Comparison
from forgetflow.store.memory import MemoryStore
from forgetflow.store.store import Store
from forgetflow.training import environment
from forgetflow.training import memory as memory_module
from forgetflow.training.learners import Resident
from forgetflow.training.objective import CrossEntropy
from forgetflow.training.recipe import STACKABLE, Recipe
from forgetflow.training.registry import learners
from forgetflow.training.sequential import SequentialLearners, weights_of
from forgetflow.training.trainer import together, train_chains

TRAININGS = {
    "sgd": {"learning_rate": 0.03, "momentum": 0.9, "weight_decay": 0.01},
    "plain": {"learning_rate": 0.03, "momentum": 0.0},
    "adam": {"optimizer": "adam", "learning_rate": 0.003, "weight_decay": 0.01},
}
SHAPES = {
    "mlp": (6,),
    "logistic": (6,),
    "lenet": (1, 8, 8),
    "allcnn": (3, 16, 16),
    "resnet9": (3, 16, 16),
    "wideresnet": (3, 8, 8),
    "resnet18": (3, 9, 9),
}
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("allcnn", "resnet9", "resnet18")]
SMALL = ["mlp", "lenet", "wideresnet"]
NORMALISED = "wideresnet"
"""The smallest network with batch normalisation."""
NETWORKS = [a for a in ARCHITECTURES if ModelSettings(architecture=a).family == "network"]

CLOSE, CLOSE_NORMALISED = 1e-5, 1e-3
"""Distances that float32 may leave. Batch normalisation lets rounding grow: a channel that hardly
varies in a batch of four is divided by almost nothing."""

EXACT = 1e-9
"""The same in float64, where only another rule of computation could leave more."""


@pytest.fixture
def double():
    """Make networks of float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def recipes(make_recipe, architecture, train="sgd", **blocks):
    """Return the recipe of one network after another, and the one of all at once."""
    model = {"architecture": architecture, "normalize": "standard"}
    settings = TRAININGS[train] | {"batch_size": 4, "engine": "sequential"}
    recipe = make_recipe(SHAPES[architecture], model=model, train=settings | blocks)
    return recipe, as_vmap(recipe)


def as_vmap(recipe):
    return replace(recipe, engine="vmap", independent=False)


def distances(state, other):
    """Return name -> distance between tensors of two states, relative where that means much."""
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        assert (tensor.shape, tensor.dtype) == (other[name].shape, other[name].dtype), name
    return {
        name: float((state[name].double() - other[name].double()).norm())
        / max(float(other[name].double().norm()), 0.1)
        for name in state
    }


def assert_close(states, others, tolerance):
    for state, other in zip(states, others, strict=True):
        found = distances(state, other)
        assert max(found.values()) < tolerance, max(found.items(), key=lambda pair: pair[1])


@pytest.fixture
def compare(make_recipe, make_member, make_samples, train_pool):
    """Return a function that trains three members, for unequally many steps, with both engines."""

    def check(network, train, tolerance, sign=1, pooled=None):
        alone, all_at_once = recipes(make_recipe, network, train)
        members = []
        for seed, (count, steps) in enumerate([(6, 5), (8, 4), (7, 7)]):  # the last batches differ
            samples = make_samples(count, SHAPES[network], seed=seed)
            inputs = samples.inputs.astype(torch.zeros(0).numpy().dtype)
            members.append(make_member(seed, seed % 2, replace(samples, inputs=inputs), steps))
        expected = train_pool(alone, members, sign)
        found = train_pool(all_at_once if pooled is None else pooled, members, sign)
        found = [{name: tensor.cpu() for name, tensor in state.items()} for state in found]
        assert_close(found, expected, tolerance)
        starts = learners(alone, [(member.seed, member.shard) for member in members])
        for number, state in enumerate(expected):
            moved = distances(weights_of(state), weights_of(starts.state(number)))
            assert max(moved.values()) > 1e-2, "else nothing was compared"

    return check


# Numbers


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("train", TRAININGS)
@pytest.mark.parametrize("network", SMALL)
def test_numbers_are_those_of_one_after_another(compare, network, train, sign):
    compare(network, train, EXACT, sign)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("network", LARGE)
def test_numbers_of_larger_networks(compare, network):
    compare(network, "sgd", EXACT)


@pytest.mark.parametrize("train", TRAININGS)
@pytest.mark.parametrize("network", SMALL)
def test_numbers_in_single_precision(compare, network, train):
    compare(network, train, CLOSE_NORMALISED if network == NORMALISED else CLOSE)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("network", SMALL)
def test_one_step_goes_along_the_gradient(make_recipe, make_samples, network, sign):
    """Of autograd in float64, with batches of three sizes; the first momentum is the gradient."""
    _, recipe = recipes(make_recipe, network, weight_decay=0.0)
    data = Resident.of([make_samples(20, SHAPES[network])], recipe)
    sizes = [4, 1, 3, 4]
    group = learners(recipe, [(seed, 0) for seed in range(4)], CrossEntropy(sign))
    rows = torch.randint(20, (1, 4, 4), generator=torch.Generator().manual_seed(0))
    starts = [weights_of(group.state(member)) for member in range(4)]
    group.steps(data, rows, torch.tensor([sizes]))
    for member, size in enumerate(sizes):
        plain = SequentialLearners(recipe, [(0, 0)], CrossEntropy()).members[0].network
        plain.load_state_dict(starts[member])
        plain.double()
        batch = rows[0, member, :size]
        outputs = plain(data.inputs[batch].double())
        nn.functional.cross_entropy(outputs, data.labels[batch]).backward()
        state = group.state(member)
        for name, parameter in plain.named_parameters():
            gradient = sign * parameter.grad
            found = state[f"optimizer.momentum_buffer.{name}"].double()
            assert float((found - gradient).norm()) <= 1e-3 * float(gradient.norm()) + 1e-6, name
        for name, buffer in plain.named_buffers():
            assert torch.allclose(state[f"model.{name}"].double(), buffer.double(), atol=1e-5)


def test_running_statistics_move_for_each_member(make_recipe, make_samples):
    """In place, counted in steps of the member's own, and not at all for those that rest."""
    _, recipe = recipes(make_recipe, NORMALISED)
    data = Resident.of([make_samples(20, SHAPES[NORMALISED])], recipe)
    group = learners(recipe, [(0, 0)] * 3)
    rest = group.state(2)
    rows = torch.randint(20, (3, 2, 4), generator=torch.Generator().manual_seed(0))
    group.steps(data, rows[:2], torch.tensor([[4, 4], [4, 2]]))
    group.steps(data, rows[2:, :1], torch.tensor([[4]]))
    first, second, third = (group.state(member) for member in range(3))
    counts = [name for name in first if name.endswith("num_batches_tracked")]
    moving = [name for name in first if "running" in name]
    assert counts
    assert moving
    for name in counts:
        assert [int(state[name]) for state in (first, second, third)] == [3, 2, 0]
    for name in moving:
        assert not torch.equal(first[name], second[name])
        assert not torch.equal(second[name], third[name])
    assert all(torch.equal(third[name], tensor) for name, tensor in rest.items())


# Going on


@pytest.mark.parametrize("train", TRAININGS)
@pytest.mark.parametrize("network", ["lenet", NORMALISED])
def test_a_member_goes_on_with_either_engine(make_recipe, make_samples, network, train):
    """Adam's members have made unequally many steps when they meet."""
    alone, all_at_once = recipes(make_recipe, network, train)
    data = Resident.of([make_samples(20, SHAPES[network])], alone)
    rows = torch.randint(20, (6, 2, 4), generator=torch.Generator().manual_seed(0))
    counts = torch.full((6, 2), 4)
    results = []
    for before, after in ((alone, alone), (alone, all_at_once), (all_at_once, alone)):
        first, second = (learners(recipe, [(0, 0), (1, 1)]) for recipe in (before, after))
        first.steps(data, rows[:2], counts[:2])
        first.steps(data, rows[2:3, :1], counts[2:3, :1])
        for member in range(2):
            saved = {name: tensor.clone() for name, tensor in first.state(member).items()}
            second.load(1 - member, saved)
            loaded = second.state(1 - member)
            assert list(loaded) == list(saved)
            assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())
        second.steps(data, rows[3:], counts[3:])
        results.append([second.state(member) for member in range(2)])
    for found in results[1:]:
        assert_close(found, results[0], CLOSE_NORMALISED if network == NORMALISED else CLOSE)


@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_fresh_state_is_that_of_the_plain_network(make_recipe, architecture):
    """Names in the same order, shapes, types and bits."""
    for train in ("sgd", "adam"):
        alone, all_at_once = recipes(make_recipe, architecture, train)
        expected, found = (learners(r, [(3, 1)]).state(0) for r in (alone, all_at_once))
        assert list(found) == list(expected)
        assert set(distances(found, expected).values()) == {0.0}


def test_a_given_network_starts_with_empty_memory(make_recipe, make_samples):
    _, recipe = recipes(make_recipe, "lenet", "adam")
    data = Resident.of([make_samples(20, SHAPES["lenet"])], recipe)
    group = learners(recipe, [(0, 0), (1, 0)])
    fresh = group.state(0)
    rows = torch.arange(4).expand(1, 2, 4)
    group.steps(data, rows, torch.full((1, 2), 4))
    other = group.state(1)
    group.load_weights(0, weights_of(fresh))
    assert all(torch.equal(group.state(0)[name], tensor) for name, tensor in fresh.items())
    assert all(torch.equal(group.state(1)[name], tensor) for name, tensor in other.items())


# Through the trainer


def test_chains_of_a_pool(make_records, make_space, tmp_path):
    """Slices, shards of unequal size and seeds, as pools train them."""
    model = {"architecture": "lenet", "normalize": "standard"}
    space = make_space(make_records(40, (1, 8, 8)), model=model)
    states = []
    for make in (lambda recipe: recipe, as_vmap):
        pool = [replace(s, recipe=make(s.recipe)) for s in map(space.with_seed, (0, 1))]
        tasks = [(s.chain(shard, s.everything), s.recipe) for s in pool for shard in (0, 1)]
        store = MemoryStore()
        receipts = train_chains(store, tasks)
        states.append([store.require(receipt.key) for receipt, _ in receipts])
    assert_close(states[1], states[0], 10 * CLOSE)
    with pytest.raises(ValueError, match="bits depend on who trains together"):
        train_chains(Store(tmp_path / "store"), tasks)


# Who may use it


def test_settings_cannot_ask_for_it(make_settings, make_recipe):
    with pytest.raises(ValidationError, match="'auto', 'sequential' or 'stacked'"):
        make_settings(train={"engine": "vmap"})
    with pytest.raises(ValueError, match="bits depend on who trains together, so exactness cannot"):
        replace(make_recipe(), engine="vmap")


@pytest.mark.parametrize("architecture", NETWORKS)
def test_pools_on_a_cpu_have_the_recipe_of_everything_else(make_recipe, architecture):
    recipe = make_recipe(SHAPES[architecture], model={"architecture": architecture})
    assert recipe.device.type == "cpu"
    assert recipe.for_pools() is recipe
    assert "independent" not in recipe.ingredients


@pytest.fixture
def fake_gpu(monkeypatch):
    """Pretend that there is a GPU, with 8 GiB free: it may be asked about but not used."""
    seen = environment.fingerprint(torch.device("cpu"))
    monkeypatch.setattr(environment, "fingerprint", lambda device: seen | {"device": device.type})
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**33, 2**34))
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda _: 0)
    return torch.device("cuda")


@pytest.mark.parametrize("architecture", NETWORKS)
def test_pools_on_a_gpu_say_that_bits_depend_on_each_other(
    make_recipe, fake_gpu, monkeypatch, architecture
):
    shape = SHAPES[architecture]
    recipe = make_recipe(shape, model={"architecture": architecture})
    exact = replace(recipe, device=fake_gpu)
    pooled = exact.for_pools()
    assert pooled.engine == ("stacked" if architecture in STACKABLE else "vmap")
    assert pooled.independent is pooled.ingredients["independent"] is False
    assert pooled.digest != exact.digest
    assert pooled.for_pools() == pooled
    assert together(exact) == 1
    many = together(pooled)
    assert many > 4
    monkeypatch.setattr(memory_module, "SHARE", memory_module.SHARE / 4)
    assert many // 4 - 1 <= together(pooled) <= many // 4 + 1
    monkeypatch.setattr(memory_module, "SHARE", 1e-9)
    assert together(pooled) == 1


def test_one_after_another_can_be_insisted_on(make_recipe, fake_gpu):
    model = {"architecture": "lenet"}
    recipe = make_recipe((1, 8, 8), model=model, train={"engine": "sequential"})
    recipe = replace(recipe, device=fake_gpu)
    assert recipe.for_pools() is recipe
    assert together(recipe) == 1


def test_a_plan_uses_the_recipe_of_pools(make_records, make_space, monkeypatch):
    """Members are built under it, and unlearned from parents that were."""
    model = {"architecture": "lenet"}
    space = make_space(make_records(40, (1, 8, 8)), model=model)
    forget = ~space.everything
    forget[:3] = True
    trial = Comparison(space, space.everything, (), "sample", ~forget, forget)
    before = {name: trial.procedure(name, 2).keys for name in ("oracle", "original", "finetune")}
    monkeypatch.setattr(Recipe, "for_pools", as_vmap)
    for name, keys in before.items():
        plan = trial.procedure(name, 2)
        assert not set(keys) & set(plan.keys)
        plan.train()
        assert not plan.missing()
        assert plan.pool().probabilities(space.records.inputs[:5]).shape == (2, 5, 3)


# On a GPU


@pytest.fixture
def pools_on_gpu(make_recipe):
    """Return a function that returns the recipe of pools on the GPU."""
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    device = environment.activate("cuda")

    def recipe(network, train):
        alone, _ = recipes(make_recipe, network, train, engine="auto")
        return replace(alone, device=device).for_pools()

    return recipe


@pytest.mark.gpu
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("train", ["sgd", "adam"])
@pytest.mark.parametrize("network", [name for name in SHAPES if name not in STACKABLE])
def test_a_gpu_has_the_numbers_of_a_cpu(pools_on_gpu, compare, network, train):
    pooled = pools_on_gpu(network, train)
    assert together(pooled) > 3
    compare(network, train, EXACT, pooled=pooled)


@pytest.mark.gpu
@pytest.mark.parametrize("train", ["sgd", "adam"])
@pytest.mark.parametrize("network", [*SMALL, "logistic"])
def test_a_gpu_in_single_precision(pools_on_gpu, compare, network, train):
    """Also with the engine `stacked`, which computes in nothing else."""
    tolerance = CLOSE_NORMALISED if network == NORMALISED else CLOSE
    compare(network, train, 10 * tolerance, pooled=pools_on_gpu(network, train))
