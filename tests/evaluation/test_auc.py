"""The area under the ROC curve against brute force and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from forgetflow.evaluation.auc import auc

# Few distinct values, so that ties are common.
VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 7.0]), min_size=1, max_size=12)


@given(VALUES, VALUES)
def test_it_counts_pairs(lower: list[float], higher: list[float]) -> None:
    pairs = [(a < b) + 0.5 * (a == b) for a in lower for b in higher]
    assert auc(np.array(lower), np.array(higher)) == pytest.approx(np.mean(pairs))


@given(VALUES, VALUES)
@settings(max_examples=30)
def test_it_is_scikit_learns(lower: list[float], higher: list[float]) -> None:
    labels = [0] * len(lower) + [1] * len(higher)
    expected = roc_auc_score(labels, np.array(lower + higher))
    assert auc(np.array(lower), np.array(higher)) == pytest.approx(expected)


def test_it_says_which_group_is_above() -> None:
    low, high = np.linspace(0, 1, 20), np.linspace(4, 9, 30)
    assert auc(low, high) == 1.0
    assert auc(high, low) == 0.0
    assert auc(low, low) == 0.5
