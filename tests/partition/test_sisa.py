"""Placement: a pure function of the record, balanced, and steered by the deletion prior."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetflow.config.partition import PartitionSettings
from forgetflow.partition.registry import place
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures

SCHEMA = RecordSchema(("a", "b"), TensorFeatures((1,), "float32"))
SISA = PartitionSettings(shards=4, slices=5, prior_thresholds=(0.2, 0.6))
NO_PRIOR = PartitionSettings(shards=4, slices=5)


def people(rows):
    """Return a record set of (subject, prior) rows; row i is record ri."""
    return build_record_set(
        SCHEMA,
        record_ids=[f"r{i:05d}" for i in range(len(rows))],
        subject_ids=[subject for subject, _ in rows],
        labels=[i % 2 for i in range(len(rows))],
        features=np.arange(len(rows), dtype=np.float32).reshape(-1, 1),
        priors=[prior for _, prior in rows],
        where="test",
    )


def places(records, settings=SISA, seed=0):
    """Return record id -> (shard, slice)."""
    found = place(records, settings, seed)
    spots = zip(found.shard.tolist(), found.slice.tolist(), strict=True)
    return dict(zip(records.record_ids, spots, strict=True))


rows_of_people = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "eve", "kim", "lea", "max"]),
        st.none() | st.floats(0, 1),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(rows_of_people, st.data())
def test_others_coming_or_going_move_nobody(rows, data):
    records = people(rows)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    everyone, some = places(records), places(records.take(kept))
    assert some == {one: everyone[one] for one in some}
    assert len(some) == kept.sum()


@settings(max_examples=40, deadline=None)
@given(rows_of_people, st.randoms())
def test_the_order_of_records_is_irrelevant(rows, random):
    records = people(rows)
    order = random.sample(range(len(rows)), len(rows))
    assert places(records.take(np.array(order))) == places(records)


@settings(max_examples=40, deadline=None)
@given(rows_of_people)
def test_the_records_of_a_subject_share_a_shard(rows):
    records = people(rows)
    with_priors, without = places(records), places(records, NO_PRIOR)
    by_subject = {}
    for record, subject in zip(records.record_ids, records.subject_ids, strict=True):
        by_subject.setdefault(subject, []).append(record)
    for own in by_subject.values():
        assert len({with_priors[one][0] for one in own}) == 1
        assert len({without[one] for one in own}) == 1, "and, without priors, a slice"


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 50))
def test_a_likelier_deletion_is_never_placed_earlier(one, other, number):
    low, high = sorted((one, other))
    spots = places(people([(f"s{number}", low), (f"s{number}", high)]))
    assert spots["r00000"][1] <= spots["r00001"][1]


def test_bands_of_the_prior_own_consecutive_slices():
    priors = {0.0: {0}, 0.1: {0}, 0.2: {0}, 0.21: {1, 2}, 0.6: {1, 2}, 0.61: {3, 4}, 1.0: {3, 4}}
    for prior, slices in priors.items():
        found = places(people([(f"s{i}", prior) for i in range(60)]))
        assert {number for _, number in found.values()} == slices, prior


def test_an_unknown_prior_counts_as_zero():
    unknown = people([(f"s{i}", None) for i in range(40)])
    never = people([(f"s{i}", 0.0) for i in range(40)])
    assert places(unknown) == places(never)


def test_a_threshold_of_zero_parts_the_unlikely_from_the_rest():
    bounds = PartitionSettings(shards=1, slices=2, prior_thresholds=(0.0,))
    found = places(people([("s0", None), ("s1", 0.0), ("s2", 0.01)]), bounds)
    assert [number for _, number in found.values()] == [0, 0, 1]


def test_content_does_not_decide_the_place():
    records = people([(f"s{i}", 0.3) for i in range(30)])
    other = build_record_set(
        SCHEMA,
        record_ids=[f"other{i:05d}" for i in range(30)],
        subject_ids=records.subject_ids,
        labels=[1] * 30,
        features=np.full((30, 1), 7, np.float32),
        priors=[0.3] * 30,
        where="test",
    )
    assert list(places(other).values()) == list(places(records).values())


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_shards_and_slices_get_uniform_shares(seed):
    count = 8000
    found = place(people([(f"subject-{i}", None) for i in range(count)]), NO_PRIOR, seed)
    cells = found.sizes()
    assert cells.shape == (4, 5)
    expected = count / cells.size
    # 0.999 quantile of chi-square with 19 degrees of freedom; joint cells, so that a slice
    # that followed from the shard would show as well.
    assert ((cells - expected) ** 2 / expected).sum() < 43.8


def test_the_seed_decides():
    records = people([(f"s{i}", None) for i in range(40)])
    assert places(records, seed=0) != places(records, seed=1)


def test_the_monolith_is_one_shard_of_one_slice():
    records = people([("ann", 0.9), ("bob", None), ("eve", 0.0)])
    settings = PartitionSettings(method="monolith", shards=7, slices=3)
    assert settings.layout == (1, 1)
    assert set(places(records, settings).values()) == {(0, 0)}
    found = place(records, settings, 5)
    assert (found.shards, found.slices) == (1, 1)


@pytest.mark.parametrize("method", ["sisa", "monolith"])
def test_nobody_is_placed_too(method):
    settings = PartitionSettings(method=method, shards=2, slices=2)
    found = place(people([("ann", None)]).take(np.array([False])), settings, 0)
    assert found.sizes().sum() == 0
    assert found.sizes().shape == settings.layout
