"""The attack against closed forms and brute force."""

from math import sqrt

import numpy as np
import pytest

from forgetflow.config.settings import Settings
from forgetflow.evaluation.auc import auc
from forgetflow.evaluation.context import EvaluationContext
from forgetflow.evaluation.membership import (
    Membership,
    attack_accuracy,
    auc_deviation,
    matched,
)


def spread(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 20)


def test_identical_losses_are_guessing() -> None:
    losses = np.random.default_rng(0).exponential(size=30)
    assert auc(losses, losses) == 0.5
    assert attack_accuracy(losses, losses, 5) == 0.5
    constant = np.full(30, 0.7)
    assert auc(constant, constant) == attack_accuracy(constant, constant, 5) == 0.5


def test_separable_losses_are_found_in_both_directions() -> None:
    low, high = spread(0.0, 1.0), spread(4.0, 9.0)
    assert auc(low, high) == 1.0
    assert auc(high, low) == 0.0
    assert attack_accuracy(low, high, 5) == attack_accuracy(high, low, 5) == 1.0


def test_attack_accuracy_of_partly_separated_losses() -> None:
    # A quarter of the members cannot be told from the others by any threshold.
    forget, test = np.repeat([0.0, 5.0], [30, 10]), np.full(40, 5.0)
    order = np.random.default_rng(1).permutation(40)
    assert attack_accuracy(forget[order], test, 4) == pytest.approx(0.875)


def test_the_attack_chooses_its_threshold_without_the_records_it_is_counted_on() -> None:
    # With one record a side held out, what the rest suggests is always wrong: an attack that
    # looked at all records would reach 1/2 at least.
    forget, test = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    assert attack_accuracy(forget, test, 2) == 0.0


def test_deviation_of_an_ignorant_auc() -> None:
    rng = np.random.default_rng(2)
    values = [auc(rng.normal(size=12), rng.normal(size=12)) for _ in range(4000)]
    # The standard error of a standard deviation is about sd / sqrt(2 n).
    tolerance = 3 * auc_deviation(12, 12) / sqrt(2 * 4000)
    assert np.std(values) == pytest.approx(auc_deviation(12, 12), abs=tolerance)


def test_pairs_have_equal_classes_and_do_not_depend_on_order(make_records) -> None:
    forget = make_records([0] * 9 + [1] * 3, classes=3)
    test = make_records([0] * 4 + [1] * 8 + [2] * 5, start=50, classes=3)
    left, right = matched(forget, test, seed=7)
    assert forget.labels[left].tolist() == test.labels[right].tolist() == [0] * 4 + [1] * 3
    assert len(set(left)) == len(left)

    backwards = forget.take(np.arange(len(forget))[::-1])
    again, _ = matched(backwards, test, seed=7)
    names = np.array(forget.record_ids)[left].tolist()
    assert np.array(backwards.record_ids)[again].tolist() == names
    assert np.array(forget.record_ids)[matched(forget, test, seed=8)[0]].tolist() != names


def test_a_difference_in_class_mix_is_not_memory(make_records, model_with_losses) -> None:
    forget, test = [0] * 18 + [1] * 6, [0] * 10 + [1] * 30
    loss_of_class = np.array([0.1, 2.0])
    model = model_with_losses(forget + test, loss_of_class[forget + test])
    sets = {"forget": make_records(forget), "test": make_records(test, start=24)}
    context = EvaluationContext({"unlearned": model, "oracle": model}, sets, Settings())
    metrics = Membership().measure(context)
    assert metrics["pairs"] == 16
    assert metrics["unlearned"]["auc"] == metrics["unlearned"]["attack_accuracy"] == 0.5
    assert auc(loss_of_class[forget], loss_of_class[test]) > 0.7


def test_gaps_keep_their_sign(attacked) -> None:
    unseen = (spread(1, 2), spread(1, 2))
    context = attacked(
        unlearned=(spread(5, 6), spread(1, 2)), parent=(spread(0, 0.5), spread(1, 2)), oracle=unseen
    )
    metrics = Membership().measure(context)
    assert metrics["oracle"]["auc"] == 0.5
    assert "gap_to_oracle" not in metrics["oracle"]
    assert metrics["unlearned"] == {"auc": 0.0, "gap_to_oracle": -0.5, "attack_accuracy": 1.0}
    assert metrics["parent"] == {"auc": 1.0, "gap_to_oracle": 0.5, "attack_accuracy": 1.0}


def test_infinite_losses_are_only_large(attacked) -> None:
    context = attacked(
        unlearned=(np.full(20, np.inf), spread(1, 2)), oracle=(spread(1, 2), spread(1, 2))
    )
    assert Membership().measure(context)["unlearned"]["attack_accuracy"] == 1.0


def test_without_an_oracle_there_is_no_metric(attacked) -> None:
    metrics = Membership().measure(attacked(unlearned=(spread(1, 2), spread(1, 2))))
    assert metrics["unlearned"] is None
    assert "oracle" in metrics["reason"]


@pytest.mark.parametrize(
    ("forget", "test", "reason"),
    [([], [0, 1], "no forget set"), ([0, 1], [], "no test set"), ([0] * 9, [1] * 9, "same class")],
)
def test_nothing_to_compare(make_records, model_with_losses, forget, test, reason) -> None:
    labels = forget + test
    model = model_with_losses(labels, np.ones(len(labels)))
    sets = {"forget": make_records(forget), "test": make_records(test, start=len(forget))}
    context = EvaluationContext({"unlearned": model, "oracle": model}, sets, Settings())
    metrics = Membership().measure(context)
    assert metrics["oracle"] is None
    assert reason in metrics["reason"]


def test_too_few_pairs_for_the_folds(attacked) -> None:
    sides = (spread(1, 2), spread(1, 2))
    context = attacked({"evaluate": {"attack_folds": 21}}, unlearned=sides, oracle=sides)
    metrics = Membership().measure(context)["unlearned"]
    assert metrics["auc"] == 0.5
    assert metrics["attack_accuracy"] is None
    assert "21 folds" in metrics["reason"]
