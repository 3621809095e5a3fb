"""ARCANE's placement: a shard per class, blocks by prior and hash."""

import numpy as np
import pytest

from forgetflow.config.partition import PartitionSettings
from forgetflow.config.settings import parse_settings
from forgetflow.errors import InputError
from forgetflow.partition.registry import place
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures


def make_records(count=120, priors=None, labels=None):
    rng = np.random.default_rng(count)
    return build_record_set(
        RecordSchema(("a", "b", "c", "unused"), TensorFeatures((4,), "float32")),
        record_ids=[f"r{i:04d}" for i in range(count)],
        subject_ids=[f"s{i // 2:04d}" for i in range(count)],
        labels=np.arange(count) % 3 if labels is None else labels,
        features=rng.normal(size=(count, 4)).astype(np.float32),
        priors=priors,
        where="test",
    )


def arcane(slices=4, **more):
    return PartitionSettings(method="arcane", slices=slices, **more)


def test_the_shard_is_the_class_and_every_class_has_one():
    records = make_records()
    placed = place(records, arcane(), seed=3)
    assert np.array_equal(placed.shard, records.labels)
    assert (placed.shards, placed.slices) == (4, 4)
    assert placed.sizes()[3].sum() == 0


def test_blocks_are_those_of_sisa():
    """The same hash decides, so that the two can be compared block by block."""
    records = make_records()
    sisa = place(records, PartitionSettings(method="sisa", shards=3, slices=4), seed=3)
    assert np.array_equal(place(records, arcane(), seed=3).slice, sisa.slice)


def test_records_of_a_subject_share_the_block_in_all_classes():
    records = make_records()
    placed = place(records, arcane(), seed=0)
    assert np.array_equal(placed.slice[::2], placed.slice[1::2])
    assert (records.labels[::2] != records.labels[1::2]).any()


def test_a_record_that_leaves_moves_nobody():
    rng = np.random.default_rng(0)
    records = make_records(priors=rng.random(120).tolist())
    settings = arcane(prior_thresholds=(0.2, 0.6))
    keep = rng.random(120) < 0.6
    before, after = place(records, settings, 5), place(records.take(keep), settings, 5)
    assert np.array_equal(before.slice[keep], after.slice)
    assert np.array_equal(before.shard[keep], after.shard)


def test_likelier_leavers_are_learned_later():
    priors = np.linspace(0, 1, 120)
    placed = place(make_records(priors=priors.tolist()), arcane(3, prior_thresholds=(0.3, 0.7)), 0)
    expected = (priors > 0.3).astype(int) + (priors > 0.7)
    assert np.array_equal(placed.slice, expected)


def test_unknown_priors_count_as_zero():
    priors = [None, 0.9] * 60
    placed = place(make_records(priors=priors), arcane(2, prior_thresholds=(0.5,)), 0)
    assert np.array_equal(placed.slice, np.arange(120) % 2)


def test_another_seed_gives_other_blocks_and_the_same_shards():
    one, other = (place(make_records(), arcane(), seed) for seed in (0, 1))
    assert np.array_equal(one.shard, other.shard)
    assert not np.array_equal(one.slice, other.slice)


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ({"partition": {"method": "arcane"}}, "one-class models"),
        ({"model": {"architecture": "gaussian"}}, "do not go together"),
        (
            {
                "partition": {"method": "arcane", "shard_thresholds": [0.5], "band_shards": [1, 9]},
                "model": {"architecture": "gaussian"},
            },
            "one shard per class",
        ),
        ({"partition": {"selection": {"mode": "joint"}}}, "use method arcane"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(blocks, said):
    with pytest.raises(InputError, match=said):
        parse_settings(blocks)
