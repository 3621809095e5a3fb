"""Content keys: what they must notice, and what they must not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forgetflow.config.model import ModelSettings
from forgetflow.config.train import TrainSettings
from forgetflow.errors import InputError
from forgetflow.keys.code import reached
from forgetflow.keys.digests import set_digest
from forgetflow.models.registry import ARCHITECTURES
from forgetflow.partition.assignment import Assignment
from forgetflow.records.record_set import build_record_set, read_record_set, write_record_set
from forgetflow.training import environment
from forgetflow.training import recipe as recipe_module
from forgetflow.training.chain import chain_keys
from forgetflow.training.recipe import CLOSED_FORM, MODULES, STACKABLE

OTHER = {
    ("train", "epochs"): 4,
    ("train", "batch_size"): 5,
    ("train", "optimizer"): "adam",
    ("train", "engine"): "sequential",
    ("train", "learning_rate"): 0.11,
    ("train", "momentum"): 0.5,
    ("train", "weight_decay"): 1e-3,
    ("train", "precision"): "bfloat16",
    ("model", "architecture"): "lenet",
    ("model", "hidden"): [9],
    ("model", "normalize"): "standard",
    ("run", "seed"): 1,
}
ENGINES = ("sequential", "stacked")
UNSEEN = {
    ("train", "checkpoint_seconds"): 0.5,
    ("train", "log"): "stored",
    ("run", "workers"): 7,
    ("run", "runner"): "dask",
    ("data", "parts"): 3,
    ("partition", "aggregation"): "vote",
    ("model", "forest"): {"trees": 7},  # blocks of architectures that this one is not
    ("model", "gaussian"): {"shrinkage": 0.5},
    ("gate", "min_test_accuracy"): 0.1,
    ("unlearn", "method"): "retrain",
}


@pytest.fixture(scope="module")
def images(make_records):
    return make_records(30, shape=(1, 8, 8))


def blocks_for(architecture):
    """Return the settings that an architecture needs."""
    family = ModelSettings(architecture=architecture).family
    method = {"network": "sisa", "forest": "monolith", "one-class": "arcane"}[family]
    return {"model": {"architecture": architecture}, "partition": {"method": method}}


def keys(space, shard=0, keep=None):
    return space.chain(shard, space.everything if keep is None else keep).keys


def slices_of(space, shard=0):
    return space.slices(shard, space.everything)


def test_every_setting_of_a_constituent_is_decided_about():
    """A new field of these blocks has to be put on one of the two lists above."""
    for name, block in {"train": TrainSettings, "model": ModelSettings}.items():
        for field in block.model_fields:
            assert ((name, field) in OTHER) != ((name, field) in UNSEEN), f"{name}.{field}"


@pytest.mark.parametrize(("block", "field"), OTHER)
def test_what_changes_the_bytes_changes_every_key(images, make_space, block, field):
    base = make_space(images)
    other = make_space(images, **{block: {field: OTHER[block, field]}})
    other = replace(other, assignment=base.assignment)  # the seed also moves records
    assert not set(keys(base)) & set(keys(other))


@pytest.mark.parametrize(("block", "field"), UNSEEN)
def test_what_changes_no_bytes_changes_no_key(images, make_space, block, field):
    other = make_space(images, **{block: {field: UNSEEN[block, field]}})
    assert keys(make_space(images)) == keys(other)


@pytest.mark.parametrize(
    ("architecture", "own", "others"),
    [
        ("forest", {"forest": {"trees": 7}}, {"gaussian": {"shrinkage": 0.5}, "hidden": [9]}),
        ("gaussian", {"gaussian": {"shrinkage": 0.5}}, {"forest": {"trees": 7}, "hidden": [9]}),
        ("autoencoder", {"hidden": [9]}, {"forest": {"trees": 7}}),
    ],
)
def test_an_architecture_is_keyed_by_its_own_block_alone(
    images, make_space, architecture, own, others
):
    one_class = architecture != "forest"
    partition = {"method": "arcane" if one_class else "monolith", "slices": 1}

    def made(block, train=None):
        model = {"architecture": architecture} | block
        return keys(make_space(images, partition=partition, model=model, train=train or {}))

    assert made(others) == made({})
    assert not set(made(own)) & set(made({}))
    epochs_matter = architecture == "autoencoder"
    assert (made({}, {"epochs": 9}) != made({})) == epochs_matter


def test_shapes_of_inputs_and_outputs_change_the_key(records, make_space):
    recipe = make_space(records).recipe
    assert recipe.digest == replace(recipe).digest
    assert recipe.digest != replace(recipe, input_shape=(3, 2)).digest
    assert recipe.digest != replace(recipe, classes=4).digest


def test_code_changes_the_key(records, make_space, monkeypatch):
    before = keys(make_space(records))
    monkeypatch.setattr(recipe_module, "code_digest", lambda *roots: "other behaviour")
    assert not set(before) & set(keys(make_space(records)))


def test_the_code_of_trainer_architecture_and_engine_counts(images, make_space, monkeypatch):
    asked = []
    monkeypatch.setattr(recipe_module, "code_digest", lambda *roots: asked.append(reached(roots)))
    for architecture in ARCHITECTURES:
        for engine in ENGINES if architecture in STACKABLE else ("sequential",):
            space = make_space(images, **blocks_for(architecture), train={"engine": engine})
            _ = space.recipe.digest
            chosen = "closed_form" if architecture in CLOSED_FORM else engine
            found = {name.removeprefix("forgetflow.") for name in asked[-1]}
            assert {f"models.{architecture}", f"training.{chosen}", "training.trainer"} <= found
            assert {"records.schema", "models.build", "training.schedule"} <= found
            others = {f"models.{name}" for name in ARCHITECTURES} - {f"models.{architecture}"}
            allowed = {"models.forest", "models.gaussian"} if chosen == "closed_form" else set()
            assert not found & others - allowed
            assert ("forest.grow" in found) == (chosen == "closed_form")
    for engine, name in MODULES.items():
        _ = replace(space.recipe, engine=engine, independent=False).digest
        assert name in asked[-1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_engine_is_chosen_by_architecture(images, make_space, architecture):
    """`auto` has the keys of the engine it stands for; one that cannot do it is refused."""

    def keys_with(engine):
        blocks = blocks_for(architecture)
        return keys(make_space(images, **blocks, train={"engine": engine}))

    if architecture in STACKABLE:
        assert keys_with("auto") == keys_with("stacked") != keys_with("sequential")
    else:
        assert keys_with("auto") == keys_with("sequential")
        with pytest.raises(InputError, match=f"stacked trains .*, not {architecture}"):
            keys_with("stacked")


def test_the_numeric_environment_changes_the_key(records, make_space, monkeypatch):
    before = keys(make_space(records))
    found = environment.fingerprint(torch.device("cpu"))
    for name in found:
        monkeypatch.setattr(environment, "fingerprint", lambda _, n=name: found | {n: "other"})
        assert not set(before) & set(keys(make_space(records))), name
    monkeypatch.undo()
    assert keys(make_space(records)) == before


def test_the_shard_changes_the_key(records, make_space):
    space = make_space(records)
    chain = space.chain(0, space.everything)
    assert not set(chain.keys) & set(replace(chain, shard=1).keys)


def test_slice_boundaries_change_the_keys(records, make_space):
    space = make_space(records, partition={"shards": 1, "slices": 3})
    digest = space.recipe.digest
    parts = slices_of(space)

    moved = [list(part.digests) for part in parts]
    moved[2].append(moved[1].pop())
    names = [set_digest(np.array(part)) for part in moved]
    before, after = keys(space), chain_keys(digest, 0, names)
    assert before[0] == after[0]
    assert not set(before[1:]) & set(after)

    sets = [set_digest(part.digests) for part in parts]
    assert chain_keys(digest, 0, sets) == before
    fewer = [sets[0], set_digest(np.concatenate([parts[1].digests, parts[2].digests]))]
    assert not set(before) & set(chain_keys(digest, 0, fewer)), "R changes every slice's budget"
    nobody = set_digest(parts[0].digests[:0])
    assert not set(before) & set(chain_keys(digest, 0, [*sets, nobody]))
    assert len(set(chain_keys(digest, 0, [*sets, nobody, nobody]))) == 5, "empty slices count"


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("change", ["gone", "label", "content", "name", "subject"])
def test_every_record_changes_its_slice_and_all_later_ones(records, make_space, position, change):
    space = make_space(records)
    target = int(space.assignment.members(records, 0)[position][0])
    keep = space.everything
    if change == "gone":
        keep[target] = False
        altered = space
    else:
        columns = {
            "record_ids": list(records.record_ids),
            "subject_ids": list(records.subject_ids),
            "labels": records.labels.copy(),
            "features": records.inputs.copy(),
        }
        if change == "label":
            columns["labels"][target] += 1
            columns["labels"][target] %= 3
        elif change == "content":
            columns["features"][target, 0] = np.nextafter(records.inputs[target, 0], np.inf)
        elif change == "name":
            columns["record_ids"][target] += "x"
        else:
            columns["subject_ids"][target] += "x"
        other = build_record_set(records.schema, **columns, where="test")
        altered = replace(space, records=other)
    before, after = keys(space), keys(altered, keep=keep)
    assert before[:position] == after[:position]
    assert not set(before[position:]) & set(after[position:])
    assert keys(space, shard=1) == keys(altered, shard=1, keep=keep), "the other shard is isolated"


def test_the_order_of_rows_and_the_number_of_files_change_no_key(records, make_space, tmp_path):
    expected = keys(make_space(records))
    shuffled = records.take(np.random.default_rng(0).permutation(len(records)))
    assert keys(make_space(shuffled)) == expected
    for parts in (1, 5):
        write_record_set(shuffled, tmp_path / "train", parts)
        assert keys(make_space(read_record_set(tmp_path / "train"))) == expected


def test_records_of_other_shards_and_their_number_change_no_key(records, make_space):
    space = make_space(records)
    own = space.assignment.shard == 0
    assert keys(space, keep=own) == keys(space)
    alone = make_space(records.take(own))
    alone = replace(alone, assignment=space.assignment.take(own))
    assert keys(alone) == keys(space)
    spots = space.assignment
    more = Assignment(9, spots.slices, np.where(own, 0, spots.shard + 6), spots.slice)
    assert keys(replace(space, assignment=more)) == keys(space), "S itself is no ingredient"
