"""Distances against SciPy and closed forms, and against the wrong copies in circulation."""

from math import log, sqrt

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from forgetflow.audit.divergence import (
    FLOOR,
    STATISTICS,
    Divergence,
    activation_distance,
    kullback_leibler,
    paired,
    same_class,
)
from forgetflow.evaluation.distance import jensen_shannon

ONE, OTHER = np.eye(10)[:1], np.eye(10)[1:2]
UNIFORM = np.full((1, 10), 0.1)


def draws(seed: int, members: int, records: int, classes: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(classes, 0.3), (members, records))


def test_js_and_kl_are_scipys() -> None:
    p, q = draws(0, 1, 50)[0], draws(1, 1, 50)[0]
    roots = jensenshannon(p, q, base=2, axis=1)
    np.testing.assert_allclose(jensen_shannon(p, q), roots**2, rtol=1e-9)
    assert q.min() > FLOOR
    np.testing.assert_allclose(kullback_leibler(p, q), stats.entropy(p, q, axis=1), rtol=1e-9)


def test_js_is_not_one_of_the_wrong_copies() -> None:
    # KL(m || p) would be infinite, a mean over classes 1 / C, a root 0.8708 in the last line.
    for classes in (2, 10, 100):
        sides = np.eye(classes)[:1], np.eye(classes)[1:2]
        assert jensen_shannon(*sides)[0] == pytest.approx(1.0)
    assert jensen_shannon(ONE, UNIFORM)[0] == pytest.approx(0.75828, abs=5e-6)


def test_exact_zeros_are_floored_in_the_second_argument_only() -> None:
    assert kullback_leibler(ONE, OTHER)[0] == pytest.approx(-log(FLOOR))
    assert kullback_leibler(ONE, UNIFORM)[0] == pytest.approx(log(10))
    assert kullback_leibler(UNIFORM, ONE)[0] == pytest.approx(
        0.1 * log(0.1) + 0.9 * log(0.1 / FLOOR)
    )
    assert kullback_leibler(ONE, ONE)[0] == 0.0


def test_activation_distance_is_the_l2_norm() -> None:
    assert activation_distance(ONE, OTHER)[0] == pytest.approx(sqrt(2))  # L1 would be 2
    assert activation_distance(ONE, UNIFORM)[0] == pytest.approx(sqrt(0.9))


def test_same_class_takes_the_lowest_of_a_tie() -> None:
    q = np.concatenate([ONE, OTHER])
    assert same_class(np.repeat(UNIFORM, 2, axis=0), q).tolist() == [1.0, 0.0]


def test_member_i_meets_oracle_i_mod_k() -> None:
    own, other = draws(2, 5, 20), draws(3, 2, 20)
    partners = [0, 1, 0, 1, 0]
    expected = [np.linalg.norm(own[i] - other[k], axis=1).mean() for i, k in enumerate(partners)]
    np.testing.assert_allclose(paired(activation_distance, own, other), expected)


def test_estimates(make_context) -> None:
    oracle, second, original = draws(4, 3, 20), draws(5, 4, 20), draws(4, 3, 20)
    original[:, 6:12] = np.eye(4)[0]
    context = make_context(
        [0] * 6, [1] * 6, [2] * 8, oracle=oracle, second_oracle=second, original=original
    )
    estimates = {(f.contender, f.set, f.statistic): f for f in Divergence().estimates(context)}
    assert len(estimates) == 2 * 3 * len(STATISTICS)
    assert estimates["original", "test", "js"].value == 0.0
    assert estimates["original", "test", "completeness"].value == 1.0
    same = (oracle[:, 6:12].argmax(axis=2) == 0).mean(axis=1)
    found = estimates["original", "forget", "completeness"]
    assert found.value == pytest.approx(same.mean())
    assert found.high - found.value == pytest.approx(
        stats.t.ppf(0.975, 2) * stats.sem(same), rel=1e-4
    )
    # Certain predictions: -ln q_0 in one direction, floored zeros in the other.
    there = estimates["original", "forget", "kl_to_oracle"].value
    assert there == pytest.approx(-np.log(oracle[:, 6:12, 0]).mean())
    assert estimates["original", "forget", "kl_from_oracle"].value > there
    assert Divergence().tables(context) == {}


def test_small_sets_are_withheld(make_context) -> None:
    context = make_context(
        [0] * 5, [0] * 4, [0] * 5, oracle=draws(0, 2, 14), second_oracle=draws(1, 2, 14)
    )
    for estimate in Divergence().estimates(context):
        assert (estimate.value is None) == (estimate.set == "forget")
        assert ("forget set has fewer" in estimate.reason) == (estimate.set == "forget")
