"""Representative records, against slow loops and scipy."""

from math import log

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import entropy

from forgetflow.config.partition import SelectionSettings
from forgetflow.partition import selection as selection_module
from forgetflow.partition.selection import Selection, information, own_entropy
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures


def make_records(features, labels=None):
    features = np.asarray(features, np.float32)
    count = len(features)
    return build_record_set(
        RecordSchema(("a", "b", "c"), TensorFeatures(features.shape[1:], "float32")),
        record_ids=[f"r{i:04d}" for i in range(count)],
        subject_ids=[f"s{i:04d}" for i in range(count)],
        labels=np.zeros(count, np.int64) if labels is None else labels,
        features=features,
        where="test",
    )


@pytest.fixture(scope="module")
def records():
    rng = np.random.default_rng(3)
    return make_records(rng.random((90, 6)) ** 3, np.arange(90) % 3)


def everybody(records):
    return np.ones(len(records), bool)


def slow_information(codes):
    """-ln of the product over values of the share that has the same bin there."""
    rows = codes.tolist()
    return [
        sum(
            -log(sum(other[place] == value for other in rows) / len(rows))
            for place, value in enumerate(row)
        )
        for row in rows
    ]


@pytest.mark.parametrize("bins", [2, 5, 16])
def test_own_entropy_is_scipys(bins):
    codes = np.random.default_rng(bins).integers(bins, size=(40, 30)).astype(np.uint8)
    expected = [entropy(np.bincount(row, minlength=bins)) for row in codes]
    assert own_entropy(codes, bins) == pytest.approx(expected)


def test_equal_values_have_no_entropy_and_all_bins_equally_most():
    codes = np.array([[3] * 8, list(range(8))], np.uint8)
    assert own_entropy(codes, 8) == pytest.approx([0, log(8)])


@pytest.mark.parametrize(("count", "width", "bins"), [(1, 3, 4), (20, 5, 3), (33, 7, 16)])
def test_information_is_that_of_a_slow_loop(count, width, bins):
    codes = np.random.default_rng(count).integers(bins, size=(count, width)).astype(np.uint8)
    assert information(codes, bins) == pytest.approx(slow_information(codes))


def test_information_does_not_depend_on_the_chunk(monkeypatch):
    codes = np.random.default_rng(0).integers(16, size=(50, 9)).astype(np.uint8)
    whole = information(codes, 16)
    monkeypatch.setattr(selection_module, "CHUNK", 20)
    assert information(codes, 16).tobytes() == whole.tobytes()


def test_the_mean_of_information_is_the_joint_entropy_of_independent_values():
    codes = np.random.default_rng(1).integers(4, size=(60, 5)).astype(np.uint8)
    apart = sum(entropy(np.bincount(codes[:, d], minlength=4)) for d in range(5))
    assert information(codes, 4).mean() == pytest.approx(apart)


def test_nobody_has_no_information():
    assert information(np.empty((0, 4), np.uint8), 16).shape == (0,)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
def test_bins_are_of_the_declared_range(low, high):
    span = high - low
    values = [low - 5, low, low + 0.24 * span, low + 0.26 * span, low + 0.51 * span, high, high + 5]
    found = Selection(
        make_records([[v] for v in values]), SelectionSettings(bins=4, low=low, high=high)
    )
    assert found.codes[:, 0].tolist() == [0, 0, 0, 1, 2, 3, 3]


def test_none_selects_whoever_is_left(records):
    keep = everybody(records)
    keep[4] = False
    assert np.array_equal(Selection(records, SelectionSettings()).of(keep), keep)


def test_threshold_is_a_function_of_the_record_alone(records):
    worth = own_entropy(Selection(records, SelectionSettings()).codes, 16)
    bound = float(np.median(worth))
    chosen = Selection(records, SelectionSettings(mode="threshold", threshold=bound))
    assert np.array_equal(chosen.of(everybody(records)), worth >= bound)
    keep = np.random.default_rng(0).random(len(records)) < 0.5
    assert np.array_equal(chosen.of(keep), keep & (worth >= bound))
    alone = [
        Selection(records.take([i]), SelectionSettings(mode="threshold", threshold=bound)).of(
            np.ones(1, bool)
        )[0]
        for i in range(len(records))
    ]
    assert np.array_equal(alone, worth >= bound)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_joint_keeps_the_most_informative_share_of_every_class(records, share):
    found = Selection(records, SelectionSettings(mode="joint", share=share))
    chosen = found.of(everybody(records))
    for label in range(3):
        own = np.flatnonzero(records.labels == label)
        worth = np.array(slow_information(found.codes[own]))
        inside, outside = worth[chosen[own]], worth[~chosen[own]]
        assert len(inside) == round(share * len(own))
        assert not len(outside) or inside.min() >= outside.max() - 1e-9


def test_joint_of_the_left_is_joint_of_a_set_that_never_had_the_others(records):
    settings = SelectionSettings(mode="joint", share=0.4)
    keep = np.random.default_rng(5).random(len(records)) < 0.7
    apart = records.take(keep)
    found = Selection(records, settings).of(keep)
    assert np.array_equal(found[keep], Selection(apart, settings).of(everybody(apart)))
    assert not found[~keep].any()


def test_frozen_keeps_the_first_choice_and_joint_does_not(records):
    joint, frozen = (
        Selection(records, SelectionSettings(mode="joint", share=0.4, frozen=f))
        for f in (False, True)
    )
    first = joint.of(everybody(records))
    assert np.array_equal(frozen.of(everybody(records)), first)
    keep = ~first  # exactly those who were chosen leave
    assert not frozen.of(keep).any()
    assert joint.of(keep).any()


def test_the_order_of_records_does_not_matter(records):
    settings = SelectionSettings(mode="joint", share=0.3)
    order = np.random.default_rng(2).permutation(len(records))
    found = Selection(records, settings).of(everybody(records))
    shuffled = records.take(order)
    assert np.array_equal(Selection(shuffled, settings).of(everybody(records)), found[order])


def test_equals_go_by_digest():
    """All of one class have equal information here: each value is in a bin of its own."""
    records = make_records(np.arange(8)[:, None] / 8 + 0.01)
    chosen = Selection(records, SelectionSettings(mode="joint", share=0.5)).of(everybody(records))
    digests = [row.tobytes() for row in records.digests]
    assert {d for d, c in zip(digests, chosen, strict=True) if c} == set(sorted(digests)[:4])


def test_a_class_keeps_at_least_one(records):
    keep = everybody(records)
    keep[records.labels == 1] = False
    keep[1] = True  # the only one of class b
    chosen = Selection(records, SelectionSettings(mode="joint", share=0.01)).of(keep)
    assert chosen[1]
    assert np.bincount(records.labels[chosen], minlength=3).tolist() == [1, 1, 1]


def test_answers_are_remembered_and_cannot_be_changed(records, monkeypatch):
    found = Selection(records, SelectionSettings(mode="joint"))
    first = found.of(everybody(records))
    assert found.of(everybody(records)) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = False
    for number in range(2 * selection_module.REMEMBERED):
        keep = everybody(records)
        keep[number] = False
        found.of(keep)
    assert len(found._latest) <= selection_module.REMEMBERED
    assert np.array_equal(found.of(everybody(records)), first)


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 1.0, "high": 0.0},
        {"frozen": True},
        {"mode": "threshold", "frozen": True},
        {"share": 0.0},
        {"bins": 1},
        {"threshold": -1.0},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        SelectionSettings(**wrong)
