"""Draws and scores against arithmetic that cannot be wrong."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from forgetflow.forest.draw import child_key, feature_key, mix, nth
from forgetflow.forest.split import gini_score


def test_mix_is_splitmix64():
    # First outputs of the reference generator seeded with 0 and, for the second, its next state.
    assert int(mix(np.uint64(0))) == 0xE220A8397B1DCDAF
    assert int(mix(np.uint64(0x9E3779B97F4A7C15))) == 0x6E789E6AA1B965F4


@pytest.mark.parametrize("bits", [0, 1, 2, 5, 8, 13])
def test_every_item_is_tried_once(bits):
    for seed in range(3):
        key = np.uint64(mix(np.uint64(seed)))
        order = [nth(key, bits, turn) for turn in range(1 << bits)]
        assert sorted(order) == list(range(1 << bits))


def test_draws_are_even():
    keys = [np.uint64(mix(np.uint64(seed))) for seed in range(16_000)]
    for turn in (0, 7):
        counts = Counter(nth(key, 4, turn) for key in keys)
        assert all(abs(counts[item] - 1000) < 160 for item in range(16))  # 5 deviations
    pairs = Counter((nth(key, 2, 0), nth(key, 2, 1)) for key in keys)
    assert len(pairs) == 12
    assert max(pairs.values()) < 3 * min(pairs.values())  # even one by one, not in pairs


def test_keys_of_children_and_features_differ():
    key = np.uint64(1)
    keys = [child_key(key, 0), child_key(key, 1), *(feature_key(key, f) for f in range(100))]
    assert len({int(one) for one in keys}) == 102


def test_scores_order_candidates_as_exact_gini_does():
    draw = np.random.default_rng(0)
    for _ in range(300):
        classes, size = int(draw.integers(2, 6)), int(draw.integers(1, 40))
        counts = draw.integers(1, 1 + size, classes).astype(np.int32)
        left = draw.integers(0, counts + 1, (1, 8, classes)).astype(np.int32)
        sides = left[0].sum(axis=1)
        left = left[:, (sides > 0) & (sides < counts.sum())]
        exact = [impurity(one, counts) for one in left[0].tolist()]
        scores = [gini_score(left, 0, j, counts) for j in range(left.shape[1])]
        for a in range(len(exact)):
            for b in range(len(exact)):
                assert (exact[a] < exact[b]) == (scores[a] > scores[b])


def impurity(left: list[int], counts: np.ndarray) -> Fraction:
    """Return the weighted Gini impurity of a split, by its definition."""
    right = [int(c) - a for c, a in zip(counts, left, strict=True)]
    total = sum(left) + sum(right)
    return sum(
        Fraction(sum(side), total) * (1 - sum(Fraction(c, sum(side)) ** 2 for c in side))
        for side in (left, right)
    )


def test_scores_hold_at_the_largest_counts():
    half = 2**20
    counts = np.array([half, half], np.int32)
    left = np.array([[[half, 0], [half // 2, half // 2], [1, 0]]], np.int32)
    scores = [gini_score(left, 0, j, counts) for j in range(3)]
    assert scores[0] == 2 * half
    assert scores[1] == half
    assert scores[1] < scores[2] < scores[0]
