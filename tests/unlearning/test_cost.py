"""What a deletion costs is what the formulas say, counted record by record."""

from dataclasses import replace

import numpy as np
import pytest

from forgetflow.errors import VerdictError
from forgetflow.partition.assignment import Assignment
from forgetflow.partition.forecast import restart_samples
from forgetflow.training.schedule import samples_in, slice_steps
from forgetflow.unlearning.cost import cost_of
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS

BATCH = 4


@pytest.fixture(scope="module")
def equal(lab, make_records):
    """Two shards of three slices of eight records: two whole mini-batches each."""
    records = make_records(48)
    numbers = np.arange(48)
    space = lab.space(records, partition={"shards": 2, "slices": 3}, train={"epochs": 3.3})
    space = replace(space, assignment=Assignment(2, 3, numbers % 2, numbers // 2 % 3))
    assert (space.assignment.sizes() == 8).all()
    return space, lab.build(space)


def counted(lab, space, parent, forget, count_samples):
    view = lab.view(lab.copy(space), parent, forget)
    jobs = jobs_of(METHODS["sisa"], view)
    count_samples.clear()
    lab.unlearn(view)
    keys = [key for job in jobs for key in job.fresh]
    assert cost_of(view.store, keys).backward_samples == sum(count_samples)
    return sum(count_samples)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_restart_costs_its_budget(equal, lab, mask_of, first, count_samples):
    """Equation 11 for unequal slices, within one optimizer step."""
    space, parent = equal
    members = space.assignment.members(space.records, 1)
    forget = mask_of(space.records, *members[first][:BATCH])
    sizes = space.assignment.take(~forget).sizes()[1].tolist()
    exact = restart_samples(sizes, 3.3, first)
    assert abs(counted(lab, space, parent, forget, count_samples) - exact) <= BATCH


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_small_last_mini_batch_costs_a_step_more_at_most(
    equal, lab, mask_of, first, count_samples
):
    space, parent = equal
    forget = mask_of(space.records, space.assignment.members(space.records, 0)[first][0])
    sizes = space.assignment.take(~forget).sizes()[0].tolist()
    exact = restart_samples(sizes, 3.3, first)
    found = counted(lab, space, parent, forget, count_samples)
    assert abs(found - exact) <= 2 * BATCH * (3 - first)
    assert found == samples_from(sizes, first, 3.3, BATCH)


def test_several_hits_cost_the_earliest_restart_of_each_shard(equal, lab, mask_of, count_samples):
    space, parent = equal
    left, right = (space.assignment.members(space.records, shard) for shard in (0, 1))
    forget = mask_of(space.records, *left[1], *left[2][:4], *right[2][:4])
    sizes = space.assignment.take(~forget).sizes().tolist()
    exact = restart_samples(sizes[0], 3.3, 1) + restart_samples(sizes[1], 3.3, 2)
    assert abs(counted(lab, space, parent, forget, count_samples) - exact) <= 2 * BATCH


def samples_from(sizes, first, epochs, batch):
    steps, unions = slice_steps(sizes, epochs, batch), np.cumsum(sizes)
    return sum(samples_in(int(unions[i]), batch, steps[i]) for i in range(first, len(sizes)))


def test_random_deletions_cost_what_the_budgets_expect(digits, lab):
    """Mean over 300 single deletions from hashed, hence unequal, shards and slices."""
    space = lab.space(
        digits, partition={"shards": 10, "slices": 4}, train={"epochs": 40, "batch_size": 16}
    )
    whole = space.assignment.sizes()

    def left(position):
        shard, number = space.assignment.shard[position], space.assignment.slice[position]
        sizes = whole[shard].copy()
        sizes[number] -= 1
        return sizes.tolist(), int(number)

    everyone = [restart_samples(*left(i)[:1], 40.0, left(i)[1]) for i in range(len(digits))]
    drawn = np.random.default_rng(0).integers(len(digits), size=300)
    costs = [samples_from(*left(i), 40.0, 16) for i in drawn]
    error = 3 * np.std(costs, ddof=1) / np.sqrt(len(costs))
    assert abs(np.mean(costs) - np.mean(everyone)) <= error
    assert error < 0.1 * np.mean(everyone), "else the test could not fail"
    for i, cost in zip(drawn, costs, strict=True):
        assert cost == pytest.approx(everyone[i], rel=0.05)


def test_a_state_without_a_receipt_has_no_cost(equal):
    space, _ = equal
    with pytest.raises(VerdictError, match="no receipt"):
        cost_of(space.store, ["0" * 64])
    nothing = cost_of(space.store, [])
    assert (nothing.states, nothing.seconds, nothing.peak_memory_bytes) == (0, 0, 0)
