"""Missing and unusable values: learned from where they mean something, refused where not."""

import hashlib

import numpy as np
import pytest

from forgetflow.errors import InputError
from forgetflow.forest import Forest, ForestSettings, Grid

GRID = Grid.uniform([0, 0], [1, 1], 7)
COMMON = {"grid": GRID, "classes": 2, "settings": ForestSettings(trees=3, features=2)}


def digests_of(count: int, salt: str = ""):
    rows = [list(hashlib.sha256(f"{salt}{i}".encode()).digest()) for i in range(count)]
    return np.array(rows, np.uint8).reshape(count, 32)


def table(count: int):
    """Return digests, features and labels; the label is whether the first value is missing."""
    draw = np.random.default_rng(0)
    features = draw.random((count, 2))
    missing = draw.random(count) < 0.3
    features[missing, 0] = np.nan
    return digests_of(count), features, missing.astype(np.int64)


def test_that_a_value_is_missing_is_learned():
    digests, features, labels = table(200)
    forest = Forest.fit(digests, features, labels, **COMMON)
    assert (forest.predict([[np.nan, 0.5], [0.01, 0.5], [0.99, 0.5]]) == [1, 0, 0]).all()


def test_deleting_all_with_missing_values_leaves_none_of_it():
    digests, features, labels = table(200)
    forest = Forest.fit(digests, features, labels, **COMMON)
    gone = labels == 1
    forest.delete(digests[gone])
    rest = Forest.fit(digests[~gone], features[~gone], labels[~gone], **COMMON)
    assert forest.digest() == rest.digest()
    assert forest.predict_proba([[np.nan, 0.5]])[0].tolist() == [1, 0]


def test_missing_differs_from_every_value_and_infinity_is_a_value():
    digests = digests_of(4)
    features = [[np.nan, 0.5], [np.inf, 0.5], [-np.inf, 0.5], [9e99, 0.5]]
    forest = Forest.fit(digests, features, [1, 0, 0, 0], **COMMON)
    assert forest.predict(features).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_lists_with_gaps_are_tables_with_missing_values(missing):
    forest = Forest.fit(digests_of(2), [[missing, 0.1], [0.3, 0.1]], [0, 1], **COMMON)
    assert forest.predict([[np.nan, 0.1], [0.3, 0.1]]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0.0, 1.0], "float64, not integers: this forest classifies"),
        ([0.5, np.nan], "does not do regression"),
        ([True, False], "bool, not integers"),
        ([0, None], "not integers"),
        ([0, 2], "number them 0 to 1"),
    ],
)
def test_labels_that_are_no_classes_are_refused_on_the_way_in(labels, words):
    features = [[0.1, 0.2], [0.3, 0.4]]
    with pytest.raises(InputError, match=words):
        Forest.fit(digests_of(2), features, labels, **COMMON)
    forest = Forest.fit(digests_of(2, "old"), features, [0, 1], **COMMON)
    before = forest.digest()
    with pytest.raises(InputError, match=words):
        forest.add(digests_of(2), features, labels)
    assert forest.digest() == before


@pytest.mark.parametrize("value", ["red", b"red", object(), 1 + 2j])
def test_values_that_are_no_numbers_are_refused(value):
    with pytest.raises(InputError, match="must be numbers"):
        Forest.fit(digests_of(2), [[0.1, value], [0.2, value]], [0, 1], **COMMON)


def test_absent_and_deleted_records_are_named_and_told_apart_from_damage():
    digests, features, labels = table(20)
    forest = Forest.fit(digests, features, labels, **COMMON)
    forest.delete(digests[:1])
    for gone in (digests[:1], digests_of(1, "never")):
        with pytest.raises(InputError, match=f"record {gone[0].tobytes().hex()[:12]} is not in"):
            forest.delete(gone)
    empty = Forest.fit(digests[:0], features[:0], labels[:0], **COMMON)
    with pytest.raises(InputError, match="not in the forest"):
        empty.delete(digests[:1])


def test_deleting_nobody_changes_nothing():
    digests, features, labels = table(20)
    forest = Forest.fit(digests, features, labels, **COMMON)
    before = forest.digest()
    change = forest.delete(digests[:0])
    assert (change.records, change.rows_regrown, change.subtrees_regrown) == (0, 0, 0)
    assert forest.digest() == before
