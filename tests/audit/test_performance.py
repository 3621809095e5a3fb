"""Accuracy, tug of war and gaps against closed forms, scipy and scikit-learn."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, recall_score

from forgetflow.audit.context import FLOOR, AuditContext
from forgetflow.audit.performance import (
    CLASS_TABLE,
    TABLE,
    Performance,
    difference_interval,
    tug_of_war,
)
from forgetflow.audit.protocol import Estimate

LABELS = np.arange(10) % 2
MakeContext = Callable[..., AuditContext]


def table(wrong: int, members: int = 3) -> np.ndarray:
    """Members that get the first `wrong` of the ten records of each set wrong."""
    right = np.tile(np.arange(10) >= wrong, 3)
    labels = np.tile(LABELS, 3)
    own = np.where(right, 0.9, 0.1)
    first = np.where(labels == 0, own, 1 - own)
    return np.tile(np.stack([first, 1 - first], axis=1), (members, 1, 1))


def by_place(estimates: list[Estimate]) -> dict[tuple[str, str, str], Estimate]:
    return {(one.contender, one.set, one.statistic): one for one in estimates}


def test_a_retrained_model_scores_one_and_has_no_gap(make_context: MakeContext) -> None:
    context = make_context(LABELS, LABELS, LABELS, oracle=table(2), second_oracle=table(2))
    found = by_place(Performance().estimates(context))
    assert found[FLOOR, "all", "tow"].value == pytest.approx(1)
    assert found[FLOOR, "all", "average_gap"].value == pytest.approx(0)
    gap = found[FLOOR, "forget", "gap"]
    assert (gap.value, gap.low, gap.high, gap.target) == pytest.approx((0, 0, 0, 0))
    assert found["oracle", "test", "accuracy"].value == pytest.approx(0.8)
    assert ("oracle", "all", "tow") not in found


@pytest.mark.parametrize(("wrong", "sign"), [(1, 1), (3, -1)])
def test_a_tenth_off_on_every_set(make_context: MakeContext, wrong: int, sign: int) -> None:
    pools = {"oracle": table(2), "second_oracle": table(2), "finetune": table(wrong)}
    context = make_context(LABELS, LABELS, LABELS, **pools)
    found = by_place(Performance().estimates(context))
    assert found["finetune", "all", "tow"].value == pytest.approx(0.729)
    for name in ("retain", "forget", "test"):
        assert found["finetune", name, "gap"].value == pytest.approx(0.1 * sign)
        assert found["finetune", name, "accuracy"].target == pytest.approx(0.8)
    # All entropies are equal, so no attacker finds a member: the fourth difference is 0.
    assert found["finetune", "all", "average_gap"].value == pytest.approx(0.3 / 4)


def test_tug_of_war_is_a_product_per_member() -> None:
    differences = np.array([[0.0, 0.5], [0.0, 0.5], [0.5, 0.0]])
    value, low, high = tug_of_war(differences)
    assert value == pytest.approx((0.5 + 0.25) / 2)
    bounds = stats.t.interval(0.95, 1, loc=0.375, scale=stats.sem([0.5, 0.25]))
    assert (low, high) == pytest.approx(bounds, rel=1e-4)


def test_average_gap_takes_the_member_rate_as_fourth(make_context: MakeContext) -> None:
    # Retain and forget certain, test unsure: the oracle's attacker calls every forgotten record a
    # member; the contender's none, as it is unsure of forgotten records.
    rng = np.random.default_rng(0)
    sure = np.where(np.tile(LABELS, 3) == 0, 0.99, 0.01)
    unsure = np.where(np.tile(LABELS, 3) == 0, 0.6, 0.4) + rng.uniform(-0.01, 0.01, 30)
    oracle = np.concatenate([sure[:20], unsure[20:]])
    forgetful = np.concatenate([sure[:10], unsure[10:]])
    both = {
        name: np.tile(np.stack([p, 1 - p], axis=1), (2, 1, 1))
        for name, p in (("oracle", oracle), ("forgetful", forgetful))
    }
    context = make_context(LABELS, LABELS, LABELS, second_oracle=both["oracle"], **both)
    found = by_place(Performance().estimates(context))
    assert found["forgetful", "all", "tow"].value == 1
    assert found["forgetful", "all", "average_gap"].value == pytest.approx(1 / 4)


def test_average_gap_is_withheld_with_few_records(make_context: MakeContext) -> None:
    tables = table(0)[:, :24]
    context = make_context(LABELS, LABELS[:4], LABELS, oracle=tables, second_oracle=tables)
    estimate = by_place(Performance().estimates(context))[FLOOR, "all", "average_gap"]
    assert estimate.value is None
    assert "fewer than 5" in estimate.reason


def test_difference_interval_is_welchs() -> None:
    rng = np.random.default_rng(1)
    left, right = rng.normal(0.4, 1.0, 9), rng.normal(0.0, 3.0, 14)
    expected = stats.ttest_ind(left, right, equal_var=False)
    value, low, high = difference_interval(left, right)
    error = value / expected.statistic
    half = stats.t.ppf(0.975, int(expected.df)) * error
    assert (low, high) == pytest.approx((value - half, value + half), rel=1e-4)
    assert low is not None
    assert low < expected.confidence_interval().low
    assert difference_interval(left[:1], right)[1:] == (None, None)


def test_tables_agree_with_scikit_learn(make_context: MakeContext) -> None:
    rng = np.random.default_rng(2)
    labels = np.array([0] * 12 + [1] * 9 + [2] * 4)
    tables = rng.dirichlet(np.ones(3), (2, 75))
    context = make_context(labels, labels, labels, oracle=tables, second_oracle=tables)
    rows = Performance().tables(context)
    predicted = tables[:, 50:].argmax(axis=2)
    expected = np.mean([accuracy_score(labels, one) for one in predicted])
    row = next(r for r in rows[TABLE] if (r["contender"], r["set"]) == ("oracle", "test"))
    assert row["accuracy"] == pytest.approx(expected)
    recalls = np.mean([recall_score(labels, one, average=None) for one in predicted], axis=0)
    classes = [r for r in rows[CLASS_TABLE] if (r["contender"], r["set"]) == ("oracle", "test")]
    assert [r["records"] for r in classes] == [12, 9, 4]
    assert [r["accuracy"] for r in classes[:2]] == pytest.approx(list(recalls[:2]))
    assert classes[2]["accuracy"] is None
