"""Confusion against scikit-learn and closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from forgetflow.audit.confusion import Confusion, confusion_matrices, total_variation
from forgetflow.audit.context import FLOOR, AuditContext
from forgetflow.audit.protocol import Estimate

MakeContext = Callable[..., AuditContext]


def predicting(*members: list[int], classes: int = 4) -> np.ndarray:
    """Members that predict given classes with probability 0.7."""
    return np.where(np.eye(classes)[np.array(members)] == 1, 0.7, 0.3 / (classes - 1))


def found(context: AuditContext) -> dict[tuple[str, str, str], Estimate]:
    estimates = Confusion().estimates(context)
    return {(one.contender, one.set, one.statistic): one for one in estimates}


RETAIN, FORGET = [3] * 6, [0] * 3 + [1] * 3
TEST = [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
RIGHT = RETAIN + FORGET + TEST
#       class 0: 1 as class 1, 1 as class 2    class 1: 3 as class 0   class 2: 1 as class 0
MIXED = RETAIN + [0, 0, 2, 0, 1, 1] + [0, 0, 0, 1, 2] + [1, 1, 0, 0, 0] + [2, 2, 2, 3, 0] + [3] * 5


def test_errors_on_between_and_into_the_forgotten_classes(make_context: MakeContext) -> None:
    pools = {"oracle": predicting(RIGHT), "second_oracle": predicting(RIGHT)}
    estimates = found(
        make_context(RETAIN, FORGET, TEST, **pools, method=predicting(MIXED, MIXED, RIGHT))
    )
    expected = {
        ("test", "error"): 5 / 10,
        ("test", "confusion"): 4 / 10,
        ("test", "confused_with_forgotten"): 1 / 10,
        ("forget", "error"): 2 / 6,
        ("forget", "confusion"): 1 / 6,
    }
    for (name, statistic), value in expected.items():
        estimate = estimates["method", name, statistic]
        assert estimate.value == pytest.approx(value * 2 / 3)
        assert estimate.target == estimates["oracle", name, statistic].value == 0
    # Rows of class 0, 1, 2 and 3 are off by 2/5, 3/5, 2/5 and 0.
    assert estimates["method", "test", "confusion_tv"].value == pytest.approx(7 / 5 / 4 * 2 / 3)
    assert estimates[FLOOR, "test", "confusion_tv"].value == 0


def test_matrices_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, 50), rng.integers(0, 4, (3, 50))
    matrices = confusion_matrices(labels, predicted, 4)
    for own, one in zip(matrices, predicted, strict=True):
        expected = confusion_matrix(labels, one, labels=range(4), normalize="true")
        assert own == pytest.approx(expected)


def test_total_variation_between_disjoint_predictions_is_one() -> None:
    labels = np.array([0, 0, 1, 1])
    right = confusion_matrices(labels, np.array([[0, 0, 1, 1]]), 3)
    wrong = confusion_matrices(labels, np.array([[1, 2, 0, 2]]), 3)
    assert total_variation(wrong, right) == total_variation(right, wrong) == 1
    # Members that differ but agree on the mean are no distance away.
    halves = confusion_matrices(labels, np.array([[0, 1, 1, 1], [1, 0, 1, 1]]), 3)
    swapped = confusion_matrices(labels, np.array([[0, 0, 1, 1], [1, 1, 1, 1]]), 3)
    assert total_variation(halves, swapped) == 0


def test_one_forgotten_class_has_no_other_to_be_confused_with(make_context: MakeContext) -> None:
    forget = [0] * 6
    tables = predicting(RETAIN + forget + TEST)
    away = predicting(RETAIN + [2] * 6 + [2] * 5 + TEST[5:])
    estimates = found(
        make_context(RETAIN, forget, TEST, oracle=tables, second_oracle=tables, method=away)
    )
    assert estimates["method", "test", "confusion"].value is None
    assert "one class" in estimates["method", "test", "confusion"].reason
    assert estimates["method", "forget", "error"].value == 1
    assert estimates["method", "test", "error"].value == 1
    assert estimates["method", "test", "confused_with_forgotten"].value == 0


def test_forgotten_records_of_all_classes_leave_no_others(make_context: MakeContext) -> None:
    forget = [0, 1, 2, 3, 0, 1]
    tables = predicting(RETAIN + forget + TEST)
    estimates = found(make_context(RETAIN, forget, TEST, oracle=tables, second_oracle=tables))
    estimate = estimates["oracle", "test", "confused_with_forgotten"]
    assert estimate.value is None
    assert "0 record(s) of other classes" in estimate.reason


def test_table_rows_sum_to_one_and_small_classes_are_withheld(make_context: MakeContext) -> None:
    test = [0] * 6 + [1] * 4
    pools = {name: np.full((2, 20, 2), 0.5) for name in ("oracle", "second_oracle")}
    pools["oracle"][1, 10:13, 1] = 0.6  # the second member takes three of class 0 for class 1
    context = make_context([0] * 5, [1] * 5, test, **pools)
    rows = [r for r in Confusion().tables(context)["confusion.csv"] if r["contender"] == "oracle"]
    assert [(r["true"], r["predicted"]) for r in rows] == [
        ("class-0", "class-0"),
        ("class-0", "class-1"),
        ("class-1", "class-0"),
        ("class-1", "class-1"),
    ]
    assert [r["share"] for r in rows] == [0.75, 0.25, None, None]
