"""Attacks against scikit-learn, brute force and models made to give records away."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from forgetflow.audit.attacks import Attacks, attack_aucs, entropy, entropy_threshold, member_rates
from forgetflow.audit.context import AuditContext
from forgetflow.audit.protocol import Estimate

LABELS = np.arange(30) % 3
SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=12)
MakeContext = Callable[..., AuditContext]


def drawn(seed: int, members: int = 2, sharpness: float = 1.0) -> np.ndarray:
    """Random distributions over 3 classes for 90 records."""
    return np.random.default_rng(seed).dirichlet(np.full(3, sharpness), (members, 90))


def sure(certainty: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Distributions with `certainty` on the label and the rest on the other two."""
    table = np.tile(((1 - certainty) / 2)[:, None], (1, 3))
    table[np.arange(len(labels)), labels] = certainty
    return table[None]


def by_place(estimates: list[Estimate]) -> dict[tuple[str, str], Estimate]:
    return {(one.contender, one.statistic): one for one in estimates}


def test_aucs_are_scikit_learns(make_context: MakeContext) -> None:
    # Labels are the same on both sides, so matching keeps every record.
    tables = drawn(0)
    context = make_context(LABELS, LABELS, LABELS, oracle=tables, second_oracle=drawn(1))
    member = [1] * 30 + [0] * 30
    both = tables[:, 30:]
    own = both[:, np.arange(60), np.tile(LABELS, 2)]
    scores = {"loss": own, "entropy": -stats.entropy(both, axis=2), "confidence": both.max(axis=2)}
    for signal, values in scores.items():
        expected = [roc_auc_score(member, one) for one in values]
        assert attack_aucs(context, "oracle", signal) == pytest.approx(expected)
    estimate = by_place(Attacks().estimates(context))["second oracle", "auc_loss"]
    assert estimate.target == pytest.approx(np.mean([roc_auc_score(member, o) for o in own]))


def test_entropy_is_scipys() -> None:
    tables = np.concatenate([drawn(2)[0], np.eye(3)])
    assert entropy(tables) == pytest.approx(stats.entropy(tables, axis=1))
    assert entropy(np.full(8, 1 / 8)) == pytest.approx(np.log(8))


@given(SCORES, SCORES)
def test_threshold_is_the_best_one(members: list[float], others: list[float]) -> None:
    limit = entropy_threshold(np.array(members), np.array(others))
    reached = np.mean(np.array(members) <= limit) - np.mean(np.array(others) <= limit)
    false, true, _ = roc_curve([1] * len(members) + [0] * len(others), -np.array(members + others))
    assert reached == pytest.approx(max(true - false))


def test_a_model_that_hides_records_scores_below_the_oracle(make_context: MakeContext) -> None:
    rng = np.random.default_rng(3)
    labels = np.tile(LABELS, 3)
    usual, high = rng.uniform(0.7, 0.9, 90), rng.uniform(0.95, 0.99, 30)
    oracle, hiding, knowing = (usual.copy() for _ in range(3))
    for one in (oracle, hiding, knowing):
        one[:30] = high
    hiding[30:60] = rng.uniform(0.34, 0.4, 30)
    knowing[30:60] = rng.uniform(0.95, 0.99, 30)
    pools = {"oracle": oracle, "hiding": hiding, "knowing": knowing, "second_oracle": oracle}
    context = make_context(
        LABELS, LABELS, LABELS, **{name: sure(one, labels) for name, one in pools.items()}
    )
    found = by_place(Attacks().estimates(context))
    for statistic in ("auc_loss", "auc_entropy", "auc_confidence"):
        assert found["hiding", statistic].value == 0
        assert 0.3 < (found["oracle", statistic].value or 0) < 0.7
        assert found["knowing", statistic].value == 1
    assert found["hiding", "member_rate"].value == found["oracle", "member_rate"].value == 0
    assert found["knowing", "member_rate"].value == 1
    assert found["knowing", "member_rate"].target == 0


def test_entropy_and_confidence_ignore_correctness(make_context: MakeContext) -> None:
    # Test records are predicted wrong, with the certainty that forgotten ones are right with.
    labels = np.concatenate([LABELS, LABELS, (LABELS + 1) % 3])
    tables = sure(np.full(90, 0.9), labels)
    context = make_context(LABELS, LABELS, LABELS, oracle=tables, second_oracle=tables)
    assert attack_aucs(context, "oracle", "loss") == 1
    assert attack_aucs(context, "oracle", "entropy") == 0.5
    assert attack_aucs(context, "oracle", "confidence") == 0.5


def test_class_mix_is_not_mistaken_for_memory(make_context: MakeContext) -> None:
    # Class 1 is easy and only half of the test set; forgotten are records of class 0 alone.
    retain, forget = np.zeros(10, int), np.zeros(10, int)
    test = np.repeat([0, 1], 10)
    rng = np.random.default_rng(4)
    certainty = np.where(np.concatenate([retain, forget, test]) == 1, 0.99, 0.6)
    certainty += rng.uniform(0, 0.001, 40).round(4)
    certainty[30 - 10 : 30] = certainty[10:20]  # test records of class 0 as the forgotten ones
    tables = np.stack([certainty, 1 - certainty], axis=1)
    tables[30:] = tables[30:, ::-1]
    context = make_context(retain, forget, test, oracle=tables[None], second_oracle=tables[None])
    assert attack_aucs(context, "oracle", "loss") == pytest.approx(0.5)
    assert attack_aucs(context, "oracle", "entropy") == pytest.approx(0.5)


def test_half_of_the_forget_set_looks_learned(make_context: MakeContext) -> None:
    certainty = np.concatenate([np.full(30, 0.99), np.tile([0.99, 0.4], 15), np.full(30, 0.4)])
    tables = sure(certainty, np.tile(LABELS, 3))
    context = make_context(LABELS, LABELS, LABELS, oracle=tables, second_oracle=tables)
    assert member_rates(context, "oracle") == 0.5


def test_no_estimate_without_records_of_the_same_class(make_context: MakeContext) -> None:
    tables = np.full((1, 30, 3), 1 / 3)
    context = make_context([0] * 10, [1] * 10, [0] * 10, oracle=tables, second_oracle=tables)
    found = by_place(Attacks().estimates(context))
    assert found["oracle", "auc_loss"].value is None
    assert "only 0 forget record(s)" in found["oracle", "auc_loss"].reason
    assert found["oracle", "member_rate"].value == 0
