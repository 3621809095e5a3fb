"""Intervals against SciPy and closed forms."""

import numpy as np
import pytest
from scipy import stats

from forgetflow.audit.intervals import GROUPS, jackknife, mean_interval, student


@pytest.mark.parametrize("freedom", [1, 2, 9, 30])
def test_student_table(freedom: int) -> None:
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=5.1e-5)


@pytest.mark.parametrize("freedom", [31, 40, 99, 1000])
def test_student_beyond_the_table(freedom: int) -> None:
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-4)


@pytest.mark.parametrize("count", [2, 7, 64])
def test_mean_interval_is_scipys(count: int) -> None:
    values = np.random.default_rng(count).normal(3, 2, count)
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    found = mean_interval(values)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-4)


def test_one_member_has_no_interval() -> None:
    assert mean_interval(np.array([2.5])) == (2.5, None, None)
    assert jackknife(lambda at: float(len(at)), 1) == (1.0, None, None)


def test_jackknife_of_a_mean_is_its_t_interval() -> None:
    """With one member per group, leaving one out is the textbook interval of the mean."""
    values = np.random.default_rng(0).normal(size=GROUPS - 3)
    found = jackknife(lambda at: float(values[at].mean()), len(values))
    assert found == pytest.approx(mean_interval(values))


def test_jackknife_of_groups_is_the_t_interval_of_group_means() -> None:
    """With equal groups, a mean's jackknife sees the groups as its observations."""
    values = np.random.default_rng(1).normal(size=4 * GROUPS)
    groups = values.reshape(-1, GROUPS).mean(axis=0)  # member i is in group i mod GROUPS
    found = jackknife(lambda at: float(values[at].mean()), len(values))
    assert found == pytest.approx(mean_interval(groups))


def test_jackknife_covers_a_statistic_that_is_no_mean() -> None:
    rng, hits = np.random.default_rng(2), 0
    for _ in range(300):
        values = rng.normal(size=60)
        at_hand = jackknife(lambda at, v=values: float(v[at].std(ddof=1)), 60)
        assert at_hand.low is not None
        assert at_hand.high is not None
        hits += at_hand.low <= 1.0 <= at_hand.high
    assert 0.9 < hits / 300 < 0.99
