from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from forgetflow.config.settings import Settings
from forgetflow.evaluation.constituents import Constituents
from forgetflow.evaluation.context import EvaluationContext

LABELS = [0, 1, 2, 0, 1, 2, 0, 1]


@dataclass
class Members:
    """Gives every member's outputs for a record whose feature is its row."""

    shards: list[int]
    table: NDArray[np.float32]

    def outputs(self, inputs):
        return self.table[:, inputs[:, 0].astype(int)]

    def probabilities(self, inputs):
        return np.full((len(inputs), 3), 1 / 3)


def measured(model, records):
    context = EvaluationContext({"unlearned": model}, {"test": records}, Settings())
    return Constituents().measure(context)["unlearned"]


def test_each_member_counts_alone(make_records):
    right = np.eye(3, dtype=np.float32)[LABELS]
    some = right.copy()
    some[:2] = some[:2, ::-1]  # class 0 becomes 2 and 1 stays: one of eight wrong
    wrong = np.roll(right, 1, axis=1)
    found = measured(Members([4, 7, 9], np.stack([right, some, wrong])), make_records(LABELS, 0, 3))
    assert found == {
        "members": 3,
        "accuracy": {"lowest": 0.0, "mean": pytest.approx(1.875 / 3), "highest": 1.0},
    }


def test_one_class_models_are_judged_by_their_own_class(make_records):
    scores = np.random.default_rng(0).normal(size=(2, 8, 1)).astype(np.float32)
    found = measured(Members([2, 0], scores), make_records(LABELS, 0, 3))
    labels = np.array(LABELS)
    aucs = [
        roc_auc_score(labels == 2, scores[0, :, 0]),
        roc_auc_score(labels == 0, scores[1, :, 0]),
    ]
    assert found["members"] == 2
    expected = {"lowest": min(aucs), "mean": np.mean(aucs), "highest": max(aucs)}
    assert found["auc"] == pytest.approx(expected)


def test_a_member_without_its_class_in_the_test_set_is_left_out(make_records):
    scores = np.zeros((1, 2, 1), np.float32)
    found = measured(Members([2], scores), make_records([0, 1], 0, 3))
    assert found["auc"]["mean"] is None
    assert found["auc"]["reason"]


def test_no_test_records_no_metric(make_records):
    found = measured(Members([0], np.zeros((1, 0, 3), np.float32)), make_records([]))
    assert found["accuracy"] is None
    assert found["reason"]


def test_an_output_that_is_no_number_is_refused(make_records):
    scores = np.full((1, 8, 1), np.nan, np.float32)
    with pytest.raises(ValueError, match="not finite"):
        measured(Members([2], scores), make_records(LABELS, 0, 3))
