from types import UnionType
from typing import Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from forgetflow.config.base import Block
from forgetflow.config.settings import Settings, load_settings, parse_settings
from forgetflow.errors import InputError

FOREST = {"partition": {"method": "monolith"}, "model": {"architecture": "forest"}}
ARCANE = {"partition": {"method": "arcane"}, "model": {"architecture": "gaussian"}}


def test_defaults_load(tmp_path):
    (tmp_path / "params.yaml").write_text("partition: {shards: 20}\ntrain: {learning_rate: 1e-3}\n")
    settings = load_settings(tmp_path / "params.yaml")
    assert settings.partition.shards == 20
    assert settings.train.learning_rate == 0.001  # YAML reads 1e-3 as text
    assert settings.partition.slices == Settings().partition.slices
    assert parse_settings({}) == Settings()


def test_settings_survive_json():
    settings = parse_settings({"data": {"source": "csv", "categorical": ["a"], "classes": ["x"]}})
    assert parse_settings(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("raw", "path", "allowed"),
    [
        ({"partitions": {}}, "'partitions'", "partition, privacy, run, train"),
        ({"partition": {"shard": 3}}, "'partition.shard'", "shards, slices"),
        ({"unlearn": {"finetune": {"epoch": 3}}}, "'unlearn.finetune.epoch'", "epochs, learning_"),
    ],
)
def test_unknown_key_names_its_path_and_what_is_allowed(raw, path, allowed):
    with pytest.raises(InputError) as caught:
        parse_settings(raw, where="my.yaml")
    message = str(caught.value)
    assert message.startswith(f"my.yaml: unknown key {path}; allowed here: ")
    assert allowed in message


@pytest.mark.parametrize(
    ("block", "key", "value"),
    [
        ("partition", "shards", "ten"),
        ("partition", "shards", True),
        ("partition", "shards", 2.5),
        ("partition", "shards", 0),
        ("partition", "shards", None),
        ("partition", "method", "sosa"),
        ("partition", "prior_thresholds", 0.5),
        ("data", "test_fraction", 1.5),
        ("data", "test_fraction", float("nan")),
        ("data", "path", 3),
        ("data", "classes", "ab"),
        ("train", "learning_rate", 0),
        ("train", "learning_rate", float("inf")),
        ("train", "epochs", "many"),
        ("train", "momentum", 1.0),
        ("run", "seed", -1),
        ("run", "seed", 2**63),
        ("run", "seed", False),
        ("run", "device", "gpu"),
        ("run", "prefect_port", 70000),
        ("gate", "min_test_accuracy", -0.1),
        ("lineage", "model_name", ""),
    ],
)
def test_wrong_value_names_its_path_and_itself(block, key, value):
    with pytest.raises(InputError) as caught:
        parse_settings({block: {key: value}})
    assert f"{block}.{key}: " in str(caught.value)
    assert f"(given: {value!r})" in str(caught.value)


def test_wrong_choice_lists_the_allowed_ones():
    with pytest.raises(InputError, match=r"'monolith'.*'sisa'"):
        parse_settings({"partition": {"method": "sosa"}})


@pytest.mark.parametrize("raw", [{"partition": None}, {"partition": []}, {"train": 3}])
def test_block_must_be_a_mapping(raw):
    with pytest.raises(InputError, match=next(iter(raw))):
        parse_settings(raw)


def test_every_mistake_is_told_at_once():
    with pytest.raises(InputError) as caught:
        parse_settings({"partition": {"shards": 0}, "train": {"batch_size": 0}, "extra": 1})
    for word in ("partition.shards", "train.batch_size", "'extra'"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"partition": {"prior_thresholds": [0.5, 0.2]}}, "ascending"),
        ({"partition": {"prior_thresholds": [0.2, 0.2]}}, "ascending"),
        ({"partition": {"prior_thresholds": [0.1, 0.2], "slices": 2}}, "3 bands"),
        ({"data": {"classes": ["a", "b", "a"]}}, "none twice"),
        ({"data": {"classes": []}}, "at least one"),
        ({"data": {"source": "idx", "subject_id": "writer"}}, "subject_id names a column"),
        ({"data": {"source": "npz", "categorical": ["a"]}}, "categorical names a column"),
        ({"model": {"architecture": "forest"}}, "set partition.slices to 1"),
        (FOREST | {"model": {"architecture": "forest", "normalize": "standard"}}, "use none with"),
        (FOREST | {"attribution": {"method": "grad_dot"}}, "use auto or none"),
        (FOREST | {"model": {"architecture": "forest", "forest": {"low": 1.0}}}, "low must be"),
        ({"partition": {"method": "arcane"}}, "arcane needs one-class models"),
        ({"model": {"architecture": "gaussian"}}, "only arcane can use them"),
        (FOREST | {"partition": {"method": "arcane"}}, "arcane needs one-class models"),
        (ARCANE | {"attribution": {"method": "grad_dot"}}, "use auto or none"),
        (ARCANE | {"model": {"architecture": "gaussian", "normalize": "standard"}}, "use none"),
        (ARCANE | {"partition": {"method": "arcane", "band_shards": [10]}}, "one shard per class"),
        ({"partition": {"selection": {"mode": "joint"}}}, "use method arcane"),
        ({"partition": {"method": "arcane", "selection": {"frozen": True}}}, "for mode joint"),
    ],
)
def test_impossible_combinations(raw, words):
    with pytest.raises(InputError, match=words):
        parse_settings(raw)


def test_families_follow_from_the_architecture():
    forest, arcane = parse_settings(FOREST), parse_settings(ARCANE)
    assert (forest.model.family, forest.aggregation) == ("forest", "mean")
    assert (arcane.model.family, arcane.aggregation) == ("one-class", "scores")
    assert forest.attribution_method == arcane.attribution_method == "none"
    assert parse_settings({}).attribution_method == "grad_dot"
    sharded = {**FOREST, "partition": {"shards": 3, "slices": 1, "aggregation": "vote"}}
    assert parse_settings(sharded).aggregation == "vote"
    assert "hidden" not in forest.model.relevant()
    assert arcane.model.relevant()["gaussian"]["shrinkage"] == 0.1


def test_combinations_that_are_possible():
    parse_settings({"partition": {"prior_thresholds": [0.1, 0.2], "slices": 3}})
    parse_settings({"partition": {"method": "monolith", "prior_thresholds": [0.1], "slices": 1}})
    parse_settings({"data": {"source": "csv", "subject_id": "writer", "categorical": ["a"]}})


def test_monolith_is_one_shard_of_one_slice():
    assert parse_settings({"partition": {"method": "monolith", "shards": 7}}).partition.layout == (
        1,
        1,
    )
    assert parse_settings({"partition": {"shards": 7, "slices": 3}}).partition.layout == (7, 3)


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().run.seed = 3


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text", "3"])
def test_file_must_be_a_mapping(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match="must be a mapping of blocks"):
        load_settings(tmp_path / "params.yaml")


@pytest.mark.parametrize("data", [b"a: [", b"a: b: c", b"\tx: 1"])
def test_file_must_be_yaml(tmp_path, data):
    (tmp_path / "params.yaml").write_bytes(data)
    with pytest.raises(InputError, match="not valid YAML") as caught:
        load_settings(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_file_must_be_readable_text(tmp_path):
    with pytest.raises(InputError, match="not found"):
        load_settings(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match="cannot be read as text"):
        load_settings(tmp_path / "params.yaml")
    with pytest.raises(InputError, match="cannot be read as text"):
        load_settings(tmp_path)


def _blocks(block: type[BaseModel]):
    yield block
    for field in block.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _blocks(field.annotation)


FIELDS = [
    pytest.param(field, id=f"{block.__name__}.{name}")
    for block in _blocks(Settings)
    for name, field in block.model_fields.items()
]


def _is_numeric(annotation) -> bool:
    if get_origin(annotation) in (Union, UnionType, tuple) or hasattr(annotation, "__metadata__"):
        return any(_is_numeric(one) for one in get_args(annotation))
    return annotation in (int, float)


@pytest.mark.parametrize("field", FIELDS)
def test_every_number_says_what_it_counts(field):
    if _is_numeric(field.annotation):
        assert field.description, "a number needs a description with its unit"
        assert field.description.endswith(".")


def test_numbers_are_recognised():
    numeric = [p.id for p in FIELDS if _is_numeric(p.values[0].annotation)]
    for name in ("DataSettings.test_fraction", "PartitionSettings.prior_thresholds",
                 "ModelSettings.hidden", "GateSettings.max_membership_gap"):  # fmt: skip
        assert name in numeric


@pytest.mark.parametrize("block", _blocks(Settings))
def test_every_block_is_closed_and_explained(block):
    assert issubclass(block, Block)
    assert block.__doc__
    assert block.model_config["extra"] == "forbid"
