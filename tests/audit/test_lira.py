"""The attack against closed forms and scikit-learn."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from forgetflow.audit.klom import MIN_DEVIATION
from forgetflow.audit.lira import Lira, deviations, leave_one_out, scores, true_positives
from forgetflow.evaluation.membership import matched

MEMBERS, ORACLES, EACH = 12, 40, 300


def draws(seed: int, members: int, records: int) -> np.ndarray:
    """Return normal margins whose means differ between records, the same ones for every seed."""
    means = np.random.default_rng(99).normal(0, 4, records)
    return means + np.random.default_rng(seed).normal(size=(members, records))


def binary(margins: np.ndarray, labels: np.ndarray | int = 0) -> np.ndarray:
    """Return probabilities (M, N, 2) with these margins for the records' own class."""
    own = 1 / (1 + np.exp(-margins))
    return np.where(np.equal(labels, 0)[..., None], np.stack([own, 1 - own], 2), 0) + np.where(
        np.equal(labels, 1)[..., None], np.stack([1 - own, own], 2), 0
    )


@pytest.fixture
def context(make_context):
    """Return pools where `original` raises the margins of forget records by one deviation."""
    count = 5 + 2 * EACH
    original = draws(2, MEMBERS, count)
    original[:, 5 : 5 + EACH] += 1
    return make_context(
        [0] * 5,
        [0] * EACH,
        [0] * EACH,
        oracle=binary(draws(0, ORACLES, count)),
        second_oracle=binary(draws(1, MEMBERS, count)),
        original=binary(original),
    )


def test_a_shift_gives_the_auc_of_signal_detection(context) -> None:
    estimates = {(f.contender, f.statistic): f for f in Lira().estimates(context)}
    assert list(dict.fromkeys(f[0] for f in estimates)) == ["oracle", "second oracle", "original"]
    # Scores differ from the margins' own law by the error of the fitted means, variance 1 / K,
    # and of the deviations, Student's t with K - 1 degrees, which blurs both sides alike.
    expected = stats.norm.cdf(1 / sqrt(2 * (1 + 1 / ORACLES)))
    known = estimates["original", "auc"]
    assert known.value == pytest.approx(expected, abs=0.02)
    assert known.low < known.value < known.high
    for guess in ("oracle", "second oracle"):
        assert estimates[guess, "auc"].value == pytest.approx(0.5, abs=0.03)
        assert estimates[guess, "tpr_at_1pct_fpr"].value == pytest.approx(0.01, abs=0.01)
    assert estimates["original", "tpr_at_1pct_fpr"].value > 0.03
    assert not known.reason
    assert Lira().tables(context) == {}


def test_estimates_are_scikit_learns(context) -> None:
    forget, test = matched(context.sets["forget"], context.sets["test"], context.seed)
    sides = ("forget", forget), ("test", test)
    fit = [context.margins("oracle", name)[:, at] for name, at in sides]
    own = [context.margins("original", name)[:, at] for name, at in sides]
    scored = np.concatenate(
        [
            stats.norm.cdf(m, f.mean(axis=0), f.std(axis=0, ddof=1))
            for m, f in zip(own, fit, strict=True)
        ],
        axis=1,
    )
    labels = [1] * EACH + [0] * EACH
    areas, rates = [], []
    for member in scored:
        areas.append(roc_auc_score(labels, member))
        false, true, _ = roc_curve(labels, member, drop_intermediate=False)
        rates.append(true[false <= 0.01].max())
    estimates = {(f.contender, f.statistic): f.value for f in Lira().estimates(context)}
    assert estimates["original", "auc"] == pytest.approx(np.mean(areas))
    assert estimates["original", "tpr_at_1pct_fpr"] == pytest.approx(np.mean(rates))


def test_scores_are_deviations_from_the_mean() -> None:
    out = np.array([[0.0, 10.0], [2.0, 14.0], [4.0, 18.0]])
    margins = np.array([[6.0, 10.0]])
    np.testing.assert_allclose(scores(margins, out, alone=True), [[2.0, -1.0]])
    np.testing.assert_allclose(scores(margins, out, alone=False), [[4, -4] / np.sqrt(10)])


def test_an_oracle_is_left_out_of_its_own_fit() -> None:
    pool = np.array([[9.0], [0.0], [2.0], [4.0]])
    assert leave_one_out(pool)[0, 0] == pytest.approx(7 / 2)  # mean 2, deviation 2
    # Under its own fit no score of K models can pass (K - 1) / sqrt K.
    assert scores(pool, pool, alone=False)[0, 0] < 3 / 2
    for members in (10, 40):  # one shared deviation, one of each record's own
        many = draws(3, members, 200)
        own = scores(many, many, alone=members >= 32)
        np.testing.assert_array_equal(leave_one_out(many).argsort(axis=1), own.argsort(axis=1))


def test_constant_margins_have_the_least_deviation() -> None:
    assert deviations(np.ones((5, 2)), alone=True).tolist() == [MIN_DEVIATION] * 2


def test_true_positives_allow_one_per_cent() -> None:
    test = np.arange(200.0)  # two may be above
    assert true_positives(np.array([197.0, 197.5, 198.5, 300.0]), test) == 0.75
    assert true_positives(np.array([97.0, 98.5, 99.5]), test[:99]) == pytest.approx(2 / 3)
    assert true_positives(test, test) == 0.01
    assert true_positives(np.ones(4), np.ones(150)) == 0.0


def test_a_difference_in_class_mix_is_not_memory(make_context) -> None:
    # Oracles find class 1 hard by accident; the attacked pool does not. Forget is mostly class 1.
    labels = np.array([0] * 5 + [1] * 30 + [0] * 10 + [1] * 10 + [0] * 30)
    shift = np.where(labels == 1, 3.0, 0.0)
    context = make_context(
        labels[:5],
        labels[5:45],
        labels[45:],
        oracle=binary(draws(0, 40, 85), labels),
        second_oracle=binary(draws(1, 40, 85) + shift, labels),
    )
    found = {(f.contender, f.statistic): f for f in Lira().estimates(context)}
    assert found["second oracle", "auc"].value == pytest.approx(0.5, abs=0.04)
    reason = found["second oracle", "tpr_at_1pct_fpr"].reason
    assert "20 test records" in reason


@pytest.mark.parametrize(
    ("oracles", "test", "reason"), [(2, 0, "2 oracle"), (8, 1, "same class"), (8, 0, "only 8")]
)
def test_what_must_be_known(make_context, oracles, test, reason) -> None:
    pools = {"oracle": binary(draws(0, oracles, 15)), "second_oracle": binary(draws(1, 4, 15))}
    context = make_context([0] * 5, [0] * 5, [test] * 5, **pools)
    estimates = Lira().estimates(context)
    assert len(estimates) == 4
    assert all(reason in f.reason for f in estimates)
    assert all((f.value is None) == (reason != "only 8") for f in estimates)
