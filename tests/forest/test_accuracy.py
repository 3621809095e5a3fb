"""As accurate as scikit-learn's forest of the same size, to one point in a hundred."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold

from forgetflow.forest import Forest, ForestSettings, Grid

TREES, DEPTH = 100, 20


def accuracies(features, labels, grid: Grid) -> tuple[float, float]:
    """Return our accuracy and scikit-learn's over the same 5 folds."""
    digests = np.array(
        [list(hashlib.sha256(b"%d" % row).digest()) for row in range(len(labels))], np.uint8
    )
    ours, theirs = [], []
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for train, test in folds.split(features, labels):
        forest = Forest.fit(
            digests[train],
            features[train],
            labels[train],
            grid=grid,
            classes=int(labels.max()) + 1,
            settings=ForestSettings(trees=TREES, max_depth=DEPTH),
        )
        ours.append((forest.predict(features[test]) == labels[test]).mean())
        other = RandomForestClassifier(TREES, max_depth=DEPTH, random_state=0)
        other.fit(features[train], labels[train])
        theirs.append((other.predict(features[test]) == labels[test]).mean())
    return float(np.mean(ours)), float(np.mean(theirs))


@pytest.mark.slow
def test_digits():
    features, labels = load_digits(return_X_y=True)
    grid = Grid.of([np.arange(16) + 0.5] * 64)  # pixels are whole numbers from 0 to 16
    ours, theirs = accuracies(features, labels, grid)
    assert ours >= theirs - 0.01


@pytest.mark.slow
def test_breast_cancer():
    features, labels = load_breast_cancer(return_X_y=True)
    # Ranges a schema could declare: round numbers around what such measurements can be.
    high = 10.0 ** np.ceil(np.log10(features.max(axis=0)))
    ours, theirs = accuracies(features, labels, Grid.uniform(np.zeros(30), high, 254))
    assert ours >= theirs - 0.01
