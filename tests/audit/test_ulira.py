"""The attack against closed forms: accuracy Phi(d'/2), AUC Phi(d'/sqrt 2) (Green & Swets 1966)."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from forgetflow.audit.lira import deviations
from forgetflow.audit.ulira import Ulira, attack, attack_interval, log_ratios


def draws(seed: int, members: int, records: int, shift: float = 0.0) -> np.ndarray:
    """Return normal margins whose means differ between records, the same ones for every seed."""
    means = np.linspace(-6, 6, records)
    return means + shift + np.random.default_rng(seed).normal(size=(members, records))


def binary(margins: np.ndarray) -> np.ndarray:
    own = 1 / (1 + np.exp(-margins))
    return np.stack([own, 1 - own], axis=2)


@pytest.mark.parametrize(("distance", "accuracy"), [(1, 0.6915), (2, 0.8413), (-2, 0.8413)])
def test_distance_gives_the_accuracy_of_signal_detection(distance: int, accuracy: float) -> None:
    outcome = attack(draws(0, 600, 50, distance), draws(1, 600, 50))
    assert stats.norm.cdf(abs(distance) / 2) == pytest.approx(accuracy, abs=5e-5)
    # Standard error of 60,000 decisions: 0.002.
    assert outcome.accuracy.mean() == pytest.approx(accuracy, abs=0.008)
    assert outcome.auc == pytest.approx(stats.norm.cdf(abs(distance) / sqrt(2)), abs=0.008)


def test_a_difference_in_spread_alone_is_found() -> None:
    wide = 3 * draws(2, 600, 50) - 2 * np.linspace(-6, 6, 50)
    # Best cut at |m| = c with equal densities; shares inside of both laws.
    cut = sqrt(2 * np.log(3) / (1 - 1 / 9))
    inside = [2 * stats.norm.cdf(cut / scale) - 1 for scale in (1, 3)]
    expected = (inside[0] + 1 - inside[1]) / 2
    assert attack(wide, draws(3, 600, 50)).accuracy.mean() == pytest.approx(expected, abs=0.008)


@pytest.mark.parametrize("members", [4, 16, 100])
def test_pools_alike_are_guessing(members: int) -> None:
    outcome = attack(draws(4, members, 2000), draws(5, members, 2000))
    tolerance = 4 * 0.5 / sqrt(2 * members * 2000)
    assert outcome.accuracy.mean() == pytest.approx(0.5, abs=tolerance)
    assert outcome.auc == pytest.approx(0.5, abs=2 * tolerance)


def test_the_same_models_on_both_sides_are_exactly_guessing() -> None:
    same = draws(6, 10, 20)
    assert attack(same, same).accuracy.tolist() == [0.5] * 20
    constant = np.full((6, 3), 0.5)
    assert attack(constant, constant).accuracy.tolist() == [0.5] * 3


def test_constant_margins_are_found_out_beside_retrained_models() -> None:
    outcome = attack(np.full((100, 20), 0.3), draws(7, 100, 20) * 0.1)
    assert outcome.accuracy.mean() > 0.9


def test_no_member_is_judged_by_a_fit_it_is_part_of() -> None:
    # Halves of opposite sign: what one half teaches is wrong on the other.
    p, q = np.repeat([5.0, -5.0], 4)[:, None], np.repeat([-5.0, 5.0], 4)[:, None]
    noise = draws(8, 8, 1) / 10
    assert attack(p + noise, q - noise).accuracy[0] == 0.0


@pytest.mark.parametrize("alone", [True, False])
def test_log_ratios_are_scipys(alone: bool) -> None:
    margins, p, q = draws(9, 5, 7), draws(10, 12, 7, 1), 2 * draws(11, 9, 7)
    scale = [
        side.std(axis=0, ddof=1) if alone else sqrt(side.var(axis=0, ddof=1).mean())
        for side in (p, q)
    ]
    expected = stats.norm.logpdf(margins, p.mean(axis=0), scale[0]) - stats.norm.logpdf(
        margins, q.mean(axis=0), scale[1]
    )
    np.testing.assert_allclose(log_ratios(margins, p, q, alone=alone), expected, rtol=1e-9)


def test_few_members_decide_by_a_shared_deviation() -> None:
    assert len(set(deviations(draws(12, 5, 9), alone=False))) == 1
    assert len(set(deviations(draws(12, 5, 9), alone=True))) == 9
    # One deviation only leaves the midpoint to decide: 0 + 0.9 is nearer to 1 even if the law
    # of the first record is so narrow that its own deviation would rule it out.
    p, q = draws(13, 8, 400, 1), draws(14, 8, 400)
    p[:, 0], q[:, 0] = np.tile([0.999, 1.001], 4), np.tile([-1.0, 1.0], 4)
    p[4, 0] = 0.9
    outcome = attack(p, q)
    assert outcome.accuracy[0] == pytest.approx((1 + 0.5) / 2)


def test_auc_is_scikit_learns_per_half() -> None:
    p, q = draws(15, 10, 6, 0.7), draws(16, 8, 6)
    areas = []
    for (p_fit, p_held), (q_fit, q_held) in (
        ((p[:5], p[5:]), (q[:4], q[4:])),
        ((p[5:], p[:5]), (q[4:], q[:4])),
    ):
        mine, theirs = (log_ratios(m, p_fit, q_fit, alone=False) for m in (p_held, q_held))
        labels = [1] * mine.size + [0] * theirs.size
        areas.append(roc_auc_score(labels, np.concatenate([mine.ravel(), theirs.ravel()])))
    assert attack(p, q).auc == pytest.approx(np.mean(areas))


def test_interval_covers_the_accuracy() -> None:
    found = [
        attack_interval(draws(i, 20, 30, 1), draws(i + 50, 20, 30), "accuracy") for i in range(40)
    ]
    truth = np.mean([one.value for one in found])
    assert sum(one.low <= truth <= one.high for one in found) >= 36
    assert all(one.low > 0.5 for one in found)


def test_estimates(make_context) -> None:
    records = {"second_oracle": draws(1, 8, 18), "original": draws(2, 8, 18)}
    records["original"][:, 6:12] += 30
    tables = {name: binary(margins) for name, margins in records.items()}
    context = make_context([0] * 6, [0] * 6, [0] * 6, oracle=binary(draws(0, 8, 18)), **tables)
    estimates = {(f.contender, f.set, f.statistic): f for f in Ulira().estimates(context)}
    assert len(estimates) == 2 * 2 * 3
    known = estimates["original", "forget", "accuracy"]
    assert (known.value, known.low, known.target) == (1.0, 1.0, 0.5)
    assert "8 members" in known.reason
    assert estimates["original", "retain", "accuracy"].value < 0.75
    assert Ulira().tables(context) == {}


@pytest.mark.parametrize(
    ("members", "forget", "reason"), [(3, 6, "3 member"), (8, 4, "fewer than 5")]
)
def test_what_cannot_be_said_is_not(make_context, members, forget, reason) -> None:
    count = 12 + forget
    context = make_context(
        [0] * 6,
        [0] * forget,
        [0] * 6,
        oracle=binary(draws(0, 8, count)),
        second_oracle=binary(draws(1, members, count)),
    )
    estimate = next(f for f in Ulira().estimates(context) if f.set == "forget")
    assert (estimate.value, estimate.low) == (None, None)
    assert reason in estimate.reason
