"""The budget of every slice in steps, and the order in which records are visited."""

import hashlib
from math import ceil, sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forgetflow.keys.digests import canonical_order, keyed_hash
from forgetflow.partition import forecast
from forgetflow.training.schedule import Batches, samples_in, slice_steps

some_sizes = st.lists(st.integers(0, 60), min_size=1, max_size=20)
some_epochs = st.floats(0.1, 50)
some_batch = st.integers(1, 32)


def digests(count, salt=""):
    rows = [hashlib.sha256(f"{salt}{i}".encode()).digest() for i in range(count)]
    found = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32)
    return found[canonical_order(found)]


def batches(count=23, size=4, seed=0, place=(0, 0), salt=""):
    return Batches(digests(count, salt), size, seed, place)


def epoch(of, number):
    per_epoch = of.steps_per_epoch()
    steps = of.iterate(number * per_epoch, (number + 1) * per_epoch)
    return np.concatenate([*steps]).tolist()


# The budget


@settings(deadline=None)
@given(some_sizes, some_epochs, some_batch)
def test_the_budget_is_met_within_half_a_step_at_every_slice(sizes, epochs, batch):
    steps = slice_steps(sizes, epochs, batch)
    unions = np.cumsum(sizes)
    exact = np.cumsum([2 * epochs / (len(sizes) + 1) * ceil(union / batch) for union in unions])
    assert len(steps) == len(sizes)
    assert min(steps) >= 0
    assert np.abs(np.cumsum(steps) - exact).max() <= 0.5 + 1e-9


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(1, 6), some_epochs, some_batch)
def test_equal_slices_cost_the_epochs_of_a_run_without_slicing(slices, full, epochs, batch):
    """Eq. 1: sum_i e_i i/R = e', here with whole mini-batches per slice."""
    steps = slice_steps([full * batch] * slices, epochs, batch)
    per_epoch = np.arange(1, slices + 1) * full
    realised = (np.array(steps) / per_epoch * np.arange(1, slices + 1) / slices).sum()
    assert abs(realised - epochs) <= 1 / (slices * full) + 1e-9, "one step of the whole shard"


@settings(deadline=None)
@example([4, 4, 0, 0], 1.25, 4)
@given(some_sizes, some_epochs, some_batch)
def test_no_slice_is_passed_over(sizes, epochs, batch):
    """A slice whose share is a step or more gets one, and none is off by a whole step."""
    steps = slice_steps(sizes, epochs, batch)
    for number, union in enumerate(np.cumsum(sizes)):
        share = 2 * epochs / (len(sizes) + 1) * ceil(union / batch)
        assert abs(steps[number] - share) <= 1 + 1e-9
        if share >= 1:
            assert steps[number] >= 1


@pytest.mark.parametrize("batch", [1, 16])
def test_many_slices_of_few_epochs_leave_none_empty(batch):
    steps = slice_steps([40] * 64, 20.0, batch)
    assert min(steps) > 0
    rounded_epochs = [round(2 * 20 / 65)] * 64
    assert sum(rounded_epochs) != pytest.approx(2 * 20 / 65 * 64, rel=0.05), "why steps, not epochs"


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 40), some_batch)
def test_one_slice_is_plain_epochs(size, epochs, batch):
    assert slice_steps([size], epochs, batch) == [epochs * ceil(size / batch)]


@settings(deadline=None)
@given(some_sizes, some_epochs, some_batch, st.data())
def test_a_later_slice_never_changes_the_budget_of_an_earlier_one(sizes, epochs, batch, data):
    """Else the states before a restart slice would not be those of a build from scratch."""
    first = data.draw(st.integers(0, len(sizes) - 1))
    later = data.draw(st.lists(st.integers(0, 60), min_size=len(sizes) - first))
    changed = sizes[:first] + later[: len(sizes) - first]
    before, after = (slice_steps(one, epochs, batch) for one in (sizes, changed))
    assert before[:first] == after[:first]


def test_an_emptied_slice_keeps_its_steps():
    assert slice_steps([8, 8, 8], 6, 4) == [6, 12, 18]
    assert slice_steps([8, 0, 8], 6, 4) == [6, 6, 12]
    assert slice_steps([0, 8, 8], 6, 4) == [0, 6, 12]
    assert slice_steps([8, 8, 0], 6, 4) == [6, 12, 12]
    assert slice_steps([0, 0, 0], 6, 4) == [0, 0, 0]


# What the steps cost


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), some_batch, st.integers(0, 60))
def test_samples_are_those_of_the_batches(records, batch, steps):
    visited = batches(records, batch).iterate(0, steps) if records else ()
    assert samples_in(records, batch, steps) == sum(len(rows) for rows in visited)


def counted(sizes, epochs, batch, first):
    """Return the samples of training slices `first` to the last again."""
    steps, unions = slice_steps(sizes, epochs, batch), np.cumsum(sizes)
    return sum(samples_in(int(unions[i]), batch, steps[i]) for i in range(first, len(sizes)))


@settings(deadline=None)
@given(some_sizes, some_epochs, some_batch, st.data())
def test_a_restart_costs_the_exact_budget(sizes, epochs, batch, data):
    first = data.draw(st.integers(0, len(sizes) - 1))
    exact = forecast.restart_samples(sizes, epochs, first)
    difference = abs(counted(sizes, epochs, batch, first) - exact)
    # A step of rounding and, because the last batch of an epoch is small, less than another.
    assert difference <= 2 * batch * (len(sizes) - first)


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), some_epochs, some_batch)
def test_whole_batches_cost_the_exact_budget_within_one_step(slices, full, epochs, batch):
    sizes = [full * batch] * slices
    for first in range(slices):
        exact = forecast.restart_samples(sizes, epochs, first)
        assert exact == pytest.approx(
            forecast.slicing_restart(sum(sizes), slices, first, epochs)
        ), "Eq. 11"
        assert abs(counted(sizes, epochs, batch, first) - exact) <= batch * (1 + 1e-9)


@pytest.mark.parametrize(("shards", "slices"), [(1, 8), (5, 4), (4, 1)])
def test_random_deletions_cost_what_the_formula_expects(shards, slices):
    """Mean over single deletions, one at a time, from equal shards of equal slices."""
    size, epochs, batch = 40, 20.0, 8
    rng = np.random.default_rng(shards)
    costs = []
    for hit in rng.integers(slices, size=400):
        sizes = [size] * slices
        sizes[hit] -= 1
        costs.append(counted(sizes, epochs, batch, int(hit)))
    records = shards * slices * size
    full = forecast.joint_batch(records, shards, slices, 1, epochs)
    alone = forecast.slicing_sequential(records // shards, slices, epochs)
    assert full == pytest.approx(alone), "one of the equal shards is hit, whichever"
    expected = full - epochs  # the forgotten record itself is not trained
    assert abs(np.mean(costs) - expected) <= 3 * np.std(costs, ddof=1) / sqrt(len(costs)) + 1e-9


# The order


def test_every_record_is_visited_once_an_epoch():
    for count, size in ((23, 4), (24, 4), (3, 8), (1, 1)):
        of = batches(count, size)
        sizes = [len(rows) for rows in of.iterate(0, of.steps_per_epoch())]
        assert sizes[:-1] == [size] * (len(sizes) - 1)
        for number in range(3):
            assert sorted(epoch(of, number)) == list(range(count))


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 40), st.integers(0, 40))
def test_starting_in_the_middle_is_the_tail_of_running_through(count, size, first, more):
    of = batches(count, size)
    whole = [rows.tolist() for rows in of.iterate(0, first + more)]
    assert [rows.tolist() for rows in of.iterate(first, first + more)] == whole[first:]


def test_the_order_is_the_published_one():
    """A second writing of it in plain integers: sort by splitmix64(head xor epoch seed)."""
    mask = 2**64 - 1

    def mix(x):
        x = (x + 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    of = batches(40, 7, seed=5, place=(3, 2))
    for number in range(3):
        seed = keyed_hash(5, "epoch", 3, 2, number)
        heads = [int.from_bytes(row[:8].tobytes(), "big") for row in of.digests]
        assert epoch(of, number) == sorted(range(40), key=lambda i: mix(heads[i] ^ seed))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=23, max_size=23))
def test_removing_records_keeps_the_order_of_the_others(kept):
    everyone = batches()
    keep = np.flatnonzero(kept)
    some = Batches(everyone.digests[keep], 4, 0, (0, 0))
    if len(keep):
        wanted = set(keep.tolist())
        assert [int(keep[i]) for i in epoch(some, 1)] == [
            i for i in epoch(everyone, 1) if i in wanted
        ]


def test_seed_shard_slice_epoch_and_content_shuffle_anew():
    orders = [
        epoch(of, number)
        for of, number in (
            (batches(), 0),
            (batches(), 1),
            (batches(seed=1), 0),
            (batches(place=(1, 0)), 0),
            (batches(place=(0, 1)), 0),
            (batches(salt="other"), 0),
        )
    ]
    assert len({tuple(order) for order in orders}) == len(orders)
    assert list(range(23)) not in orders
