"""Bands of shards in params.yaml: what is refused, and in which words."""

import pytest

from forgetflow.config.partition import PartitionSettings
from forgetflow.config.settings import parse_settings
from forgetflow.errors import InputError


@pytest.mark.parametrize(
    ("partition", "words"),
    [
        ({"shard_thresholds": [0.5, 0.2], "band_shards": [3, 3, 4]}, "shard_thresholds.*ascending"),
        ({"shard_thresholds": [0.2, 0.2], "band_shards": [3, 3, 4]}, "shard_thresholds.*ascending"),
        ({"shard_thresholds": [0.2]}, r"2 band\(s\).*must have 2 number\(s\), not 0"),
        ({"shard_thresholds": [0.2], "band_shards": [10]}, r"2 band\(s\).*not 1"),
        ({"band_shards": [4, 6]}, r"0 shard_thresholds make 1 band\(s\)"),
        ({"shard_thresholds": [0.2], "band_shards": [4, 5]}, "make 9 shards: set shards to that"),
        ({"shards": 20, "band_shards": [10]}, "make 10 shards.*not to 20"),
        ({"shard_thresholds": [1.5], "band_shards": [4, 6]}, "less than or equal to 1"),
        ({"shard_thresholds": [0.5], "band_shards": [10, 0]}, "greater than or equal to 1"),
        ({"shard_thresholds": [0.5], "band_shards": [9, True]}, "valid integer"),
        ({"shard_thresholds": 0.5}, "tuple"),
    ],
)
def test_impossible_bands_are_refused(partition, words):
    with pytest.raises(InputError, match=rf"(?s)partition.*{words}"):
        parse_settings({"partition": partition})


def test_possible_bands():
    settings = PartitionSettings(shards=5, shard_thresholds=(0.1, 0.4), band_shards=(1, 1, 3))
    assert settings.layout == (5, 4)
    assert PartitionSettings(band_shards=(10,)).layout == PartitionSettings().layout
    # As params.yaml spells small numbers: YAML reads 3e-06 as text.
    read = parse_settings({"partition": {"shard_thresholds": ["3e-06"], "band_shards": [4, 6]}})
    assert read.partition.shard_thresholds == (3e-6,)


def test_bands_survive_json():
    settings = parse_settings({"partition": {"shard_thresholds": [0.5], "band_shards": [4, 6]}})
    assert parse_settings(settings.model_dump(mode="json")) == settings
