"""Which slice a record goes to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetflow.partition.slices import bands, slice_numbers

BOUNDS = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), unique=True, max_size=4).map(
    sorted
)
PRIORS = st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.9, 1.0]), min_size=1, max_size=30)


def picks(count, seed=0):
    return np.random.default_rng(seed).integers(2**64, size=count, dtype=np.uint64)


def test_without_bounds_the_hash_alone_decides():
    pick = picks(1000)
    found = slice_numbers(np.random.default_rng(1).random(1000), pick, (), 7)
    assert np.array_equal(found, (pick % np.uint64(7)).astype(np.int64))
    assert set(found.tolist()) == set(range(7))


@pytest.mark.parametrize(
    ("thresholds", "slices", "owned"),
    [
        ((0.1,), 2, {0.05: {0}, 0.3: {1}}),
        ((0.1,), 5, {0.05: {0, 1}, 0.3: {2, 3, 4}}),
        ((0.1, 0.5), 3, {0.05: {0}, 0.3: {1}, 0.9: {2}}),
        ((0.1, 0.5), 8, {0.05: {0, 1}, 0.3: {2, 3, 4}, 0.9: {5, 6, 7}}),
    ],
)
def test_likelier_leavers_go_to_later_slices(thresholds, slices, owned):
    for prior, expected in owned.items():
        found = slice_numbers(np.full(500, prior), picks(500), thresholds, slices)
        assert set(found.tolist()) == expected


def test_a_prior_equal_to_a_bound_is_not_above_it():
    assert bands(np.array([0.0999, 0.1, 0.1001]), (0.1,)).tolist() == [0, 0, 1]


@given(priors=PRIORS, thresholds=BOUNDS, extra=st.integers(0, 6))
def test_bands_are_how_many_bounds_lie_below(priors, thresholds, extra):
    slices = len(thresholds) + 1 + extra
    found = slice_numbers(np.array(priors), picks(len(priors)), thresholds, slices)
    assert ((found >= 0) & (found < slices)).all()
    for prior, number in zip(priors, found.tolist(), strict=True):
        band = sum(bound < prior for bound in thresholds)
        count = len(thresholds) + 1
        assert band * slices // count <= number < (band + 1) * slices // count


@given(priors=PRIORS, thresholds=BOUNDS, gone=st.integers(0, 29))
def test_a_record_that_leaves_moves_nobody(priors, thresholds, gone):
    pick, keep = picks(len(priors)), np.arange(len(priors)) != gone
    slices = len(thresholds) + 3
    found = slice_numbers(np.array(priors), pick, thresholds, slices)
    left = slice_numbers(np.array(priors)[keep], pick[keep], thresholds, slices)
    assert np.array_equal(left, found[keep])
