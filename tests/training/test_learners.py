"""Learners of both engines, and the records they learn from."""

import numpy as np
import pytest
import torch

from forgetflow.keys.digests import canonical_order
from forgetflow.training.learners import Resident
from forgetflow.training.registry import learners
from forgetflow.training.schedule import Batches
from forgetflow.training.sequential import weights_of

ENGINES = ("sequential", "stacked")
TRAININGS = {
    "momentum": {},
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
}


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def test_shards_have_seeds_of_their_own(records, make_space):
    """Initial weights are a function of (run seed, shard) and the same for every engine."""
    starts = []
    for engine in ENGINES:
        fresh = learners(
            make_space(records, train={"engine": engine}).recipe, [(0, 0), (0, 1), (1, 0), (0, 0)]
        )
        starts.append([fresh.state(member)["model.0.1.weight"] for member in range(4)])
    for one, other in zip(*starts, strict=True):
        assert torch.equal(one, other)
    first, second, third, again = starts[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS.keys())
def test_continuing_from_a_file_is_never_having_stopped(records, make_space, train, engine):
    """Without the optimizer's memory in the file, momentum and Adam would differ."""
    space = make_space(records, train=train | {"engine": engine})
    data = Resident.of(space.slices(0, space.everything), space.recipe)
    rows, counts = map(torch.from_numpy, Batches(data.digests, 4, 0, (0, 0)).block(0, 12))
    through, first, second = (learners(space.recipe, [place]) for place in [(0, 0), (0, 0), (7, 5)])
    through.steps(data, rows[:, None], counts[:, None])
    first.steps(data, rows[:5, None], counts[:5, None])
    space.store.put("0" * 64, first.state(0), kind="progress")
    second.load(0, space.store.require("0" * 64))
    second.steps(data, rows[5:, None], counts[5:, None])
    expected, found = through.state(0), second.state(0)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("used", [False, True])
def test_given_weights_come_without_memory(records, make_space, engine, used):
    space = make_space(records, train={"engine": engine})
    data = Resident.of(space.slices(0, space.everything), space.recipe)
    rows, counts = map(torch.from_numpy, Batches(data.digests, 4, 0, (0, 0)).block(0, 5))
    one, other = (learners(space.recipe, [place]) for place in [(0, 0), (7, 5)])
    if used:
        other.steps(data, rows[:, None], counts[:, None])
    other.load_weights(0, weights_of(one.state(0)))
    expected, found = one.state(0), other.state(0)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    for pool in (one, other):
        pool.steps(data, rows[:, None], counts[:, None])
    expected, found = one.state(0), other.state(0)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_parts_are_joined_in_canonical_order_and_no_record_twice(records, make_space):
    """Then a tie of two digests falls the same way whatever slices they are in."""
    space = make_space(records)
    first, second, third = space.slices(0, space.everything)
    data = Resident.of([third, first, second, first], space.recipe)
    where = np.flatnonzero(space.assignment.shard == 0)
    where = where[canonical_order(records.digests[where])]
    np.testing.assert_array_equal(data.digests, records.digests[where])
    np.testing.assert_array_equal(data.inputs.numpy(), records.inputs[where])
    np.testing.assert_array_equal(data.labels.numpy(), records.labels[where])


def test_records_are_found_in_canonical_order(records, make_space):
    space = make_space(records)
    data = Resident.of([space.samples(np.arange(40))], space.recipe)
    some = np.random.default_rng(3).permutation(40)[:17]
    expected = records.digests[some][canonical_order(records.digests[some])]
    np.testing.assert_array_equal(data.digests[data.find(records.digests[some])], expected)
    assert len(data.find(records.digests[:0])) == 0
