"""Training given networks further: plain training from given weights, together or alone."""

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
import torch
from torch import nn

from forgetflow.keys.digests import canonical_order
from forgetflow.training.further import PLACE, Start, train_further
from forgetflow.training.schedule import Batches
from forgetflow.training.sequential import untrained, weights_of

ENGINES = ("sequential", "stacked")
COUNTS = (3, 17, 8, 1, 17)
"""Records in the first part of every start; the second has two."""


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture
def make_starts(make_samples):
    """Return a maker of starts with networks of their own, on two parts each."""

    def make(recipe):
        starts = []
        for number, count in enumerate(COUNTS):
            network = untrained(recipe, 50 + number, 0)
            if recipe.model.normalize == "standard":
                network[0].fit(torch.randn(20, 6, generator=torch.Generator().manual_seed(number)))
            parts = [make_samples(count, seed=number), make_samples(2, seed=number)]
            starts.append(Start(number % 2, number // 2, network.state_dict(), parts))
        return starts

    return make


def as_bytes(result):
    return {name: value.numpy().tobytes() for name, value in result.state.items()}


@pytest.mark.parametrize("train", [{}, {"optimizer": "adam", "weight_decay": 0.01}])
@pytest.mark.parametrize("sign", [1, -1])
def test_together_is_alone(make_recipe, make_starts, train, sign, engine):
    recipe = make_recipe(train=train | {"engine": engine}, model={"normalize": "standard"})
    starts = make_starts(recipe)
    together = train_further(recipe, starts, 1.5, sign)
    some = train_further(recipe, [starts[i] for i in (4, 0, 2)], 1.5, sign)
    assert [as_bytes(result) for result in some] == [as_bytes(together[i]) for i in (4, 0, 2)]
    for start, result in zip(starts, together, strict=True):
        (alone,) = train_further(recipe, [start], 1.5, sign)
        assert as_bytes(alone) == as_bytes(result)
        assert (alone.steps, alone.samples) == (result.steps, result.samples)


def by_hand(recipe, start, epochs, sign):
    """Return the network that a loop of torch makes, and (steps, samples)."""
    digests = np.concatenate([part.digests for part in start.parts])
    order = canonical_order(digests)
    inputs = torch.from_numpy(np.concatenate([part.inputs for part in start.parts])[order])
    targets = torch.from_numpy(np.concatenate([part.targets for part in start.parts])[order])
    network = untrained(recipe, 0, 0)
    network.load_state_dict(start.weights)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, maximize=sign < 0, fused=True
    )
    batches = Batches(digests[order], 4, start.seed, (start.shard, PLACE))
    steps, samples = ceil(epochs * batches.steps_per_epoch()), 0
    for rows in batches.iterate(0, steps):
        optimizer.zero_grad()
        where = torch.from_numpy(rows)
        nn.functional.cross_entropy(network(inputs[where]), targets[where]).backward()
        optimizer.step()
        samples += len(rows)
    return network, (steps, samples)


@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_plain_training_from_the_given_weights(make_recipe, make_starts, sign, engine):
    recipe = make_recipe(train={"engine": engine, "weight_decay": 0.01})
    starts = make_starts(recipe)
    for start, result in zip(starts, train_further(recipe, starts, 1.5, sign), strict=True):
        network, cost = by_hand(recipe, start, 1.5, sign)
        assert (result.steps, result.samples) == cost
        found = weights_of(result.state)
        for name, value in network.state_dict().items():
            if engine == "sequential":
                assert torch.equal(found[name], value), name
            else:
                assert torch.allclose(found[name], value, rtol=1e-5, atol=2e-6), name
            assert not torch.allclose(start.weights[name], value, atol=1e-3), "it moved"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_no_epochs_leave_the_network(make_recipe, make_starts, optimizer, engine):
    recipe = make_recipe(
        model={"normalize": "standard"}, train={"engine": engine, "optimizer": optimizer}
    )
    starts = make_starts(recipe)
    for start, result in zip(starts, train_further(recipe, starts, 0), strict=True):
        assert (result.steps, result.samples, result.seconds) == (0, 0, 0)
        found = weights_of(result.state)
        assert found.keys() == start.weights.keys()
        assert all(torch.equal(found[name], value) for name, value in start.weights.items())
        memory = [value for name, value in result.state.items() if name.startswith("optimizer.")]
        assert memory
        assert not any(value.any() for value in memory)


def loss(recipe, weights, start):
    network = untrained(recipe, 0, 0)
    network.load_state_dict(weights)
    part = start.parts[0]
    logits = network(torch.from_numpy(part.inputs))
    return nn.functional.cross_entropy(logits, torch.from_numpy(part.targets)).item()


def test_the_sign_decides_whether_the_loss_falls(make_recipe, make_starts, engine):
    recipe = make_recipe(train={"engine": engine, "learning_rate": 0.02})
    starts = make_starts(recipe)
    down, up = (train_further(recipe, starts, 3, sign) for sign in (1, -1))
    for start, lower, upper in zip(starts, down, up, strict=True):
        before = loss(recipe, start.weights, start)
        assert loss(recipe, weights_of(lower.state), start) < before - 1e-3
        assert loss(recipe, weights_of(upper.state), start) > before + 1e-3


def test_the_recipes_own_seed_is_not_used(make_recipe, make_starts, engine):
    recipe = make_recipe(train={"engine": engine})
    starts = make_starts(recipe)
    found = train_further(replace(recipe, seed=9), starts, 1)
    assert [as_bytes(r) for r in found] == [as_bytes(r) for r in train_further(recipe, starts, 1)]


def test_every_step_is_told(make_recipe, make_starts, engine):
    recipe = make_recipe(train={"engine": engine})
    start = make_starts(recipe)[1]
    seen = []
    (result,) = train_further(recipe, [start], 2, on_step=lambda *step: seen.append(step))
    assert seen == [(-1, step) for step in range(2 * ceil(19 / 4))]
    assert as_bytes(result) == as_bytes(train_further(recipe, [start], 2)[0])


def test_nobody_to_train(make_recipe):
    assert train_further(make_recipe(), [], 3) == []
