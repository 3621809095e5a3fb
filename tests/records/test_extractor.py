"""The frozen extractor: features of one record alone, a folder that is checked, refusals."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetflow.config.data import DataSettings
from forgetflow.config.model import ModelSettings
from forgetflow.config.project import Project
from forgetflow.errors import VerdictError
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import bytes_digest
from forgetflow.models.build import build
from forgetflow.records.extractor import Extractor, project_extractor, rounded
from forgetflow.records.ingest import ingest
from forgetflow.records.record_set import build_record_set, read_record_set
from forgetflow.records.schema import (
    ColumnFeatures,
    ExtractedFeatures,
    RecordSchema,
    TensorFeatures,
)
from forgetflow.records.sources.registry import import_records
from forgetflow.serving.extractor import feature_layer, write_extractor

DIGIT = TensorFeatures((1, 8, 8), "float32")
SMALL_NETWORKS = {
    "mlp": ((6,), {"hidden": [5]}, 5),
    "mlp, standardised": ((6,), {"hidden": [7, 4], "normalize": "standard"}, 4),
    "lenet": ((1, 8, 8), {}, 64),
    "allcnn": ((1, 8, 8), {}, 192),
    "wideresnet": ((3, 8, 8), {}, 64),
    "resnet9": ((1, 16, 16), {}, 128),
    "resnet18": ((1, 9, 9), {}, 512),
}


def write(folder, architecture="lenet", inputs=DIGIT, classes=10, *, members=None, **model):
    chosen = ModelSettings.model_validate({"architecture": architecture, **model})
    shape = RecordSchema((), inputs).input_shape
    weights = build(chosen, shape, classes, seed=1).state_dict()
    return write_extractor(folder, chosen, weights, inputs=inputs, classes=classes, members=members)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An untrained LeNet for the digits: as frozen as any."""
    path = tmp_path_factory.mktemp("extractor") / "lenet"
    write(path)
    return path


@pytest.fixture(scope="module")
def lenet(folder) -> Extractor:
    return Extractor.load(folder)


@pytest.fixture(scope="module")
def digits():
    return import_records(DataSettings()).train.take(np.arange(40))


@pytest.fixture(scope="module")
def whole(lenet, digits):
    return lenet.extracted(digits, "the digits")


def rows(records):
    return records.table.to_pylist()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 39), unique=True, max_size=12))
def test_a_record_is_extracted_from_itself_alone(lenet, digits, whole, chosen):
    """Whoever is there, and in whatever order: the same bytes, digests included."""
    features = lenet.features(digits.inputs[np.array(chosen, int)])
    assert features.tobytes() == whole.inputs[np.array(chosen, int)].tobytes()
    some = np.sort(np.array(chosen, int))
    assert rows(lenet.extracted(digits.take(some), "some")) == rows(whole.take(some))


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_features_are_the_input_of_the_last_linear_layer(tmp_path, name):
    """The head of the network, applied to them, gives its logits back."""
    shape, model, width = SMALL_NETWORKS[name]
    architecture = name.split(",")[0]
    write(tmp_path / "e", architecture, TensorFeatures(shape, "float32"), 3, **model)
    extractor = Extractor.load(tmp_path / "e")
    inputs = np.random.default_rng(0).random((5, *shape)).astype(np.float32)
    features = extractor.features(inputs)
    assert features.shape == (5, width) == (5, extractor.width)
    assert features.dtype == np.float32
    head = extractor.network.get_submodule(extractor.card.layer)
    with torch.inference_mode():
        expected = extractor.network(torch.from_numpy(inputs).double()).numpy()
        found = head(torch.from_numpy(features).double()).numpy()
    scale = 0.2 if architecture == "resnet9" else 1.0
    np.testing.assert_allclose(scale * found, expected, atol=2e-3)
    assert np.ptp(features, axis=0).max() > 0, "inputs make a difference"


def test_bits_do_not_depend_on_the_threads_of_the_caller(lenet, digits, whole):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert lenet.features(digits.inputs).tobytes() == whole.inputs.tobytes()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_other_processors_import_the_same_bytes(folder, whole):
    """Other instruction sets differ in the last bits of most values; rounding takes them away."""
    code = (
        "import sys; from pathlib import Path; import numpy as np; "
        "from forgetflow.config.data import DataSettings; "
        "from forgetflow.records.extractor import Extractor; "
        "from forgetflow.records.sources.registry import import_records; "
        "records = import_records(DataSettings()).train.take(np.arange(40)); "
        "print(Extractor.load(Path(sys.argv[1])).extracted(records, 'digits').digest)"
    )
    plain = {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, **plain},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == whole.digest


def test_rounding_keeps_twelve_bits_and_no_sign_of_zero():
    values = np.array([1 + 2**-11, 1 + 2**-13, -3.0, 0.1, 1e-12, -1e-12, 0.0, 2.0**40 + 1])
    found = rounded(values)
    assert found.dtype == np.float32
    assert found[:3].tolist() == [1 + 2**-11, 1.0, -3.0]
    assert found[3] == np.round(0.1 * 2**15) / 2**15
    assert found[4:7].tobytes() == np.zeros(3, np.float32).tobytes()
    assert found[7] == 2.0**40
    relative = np.random.default_rng(0).normal(size=1000)
    assert np.abs(rounded(relative) / relative - 1).max() <= 2.0**-12
    np.testing.assert_array_equal(rounded(rounded(relative).astype(np.float64)), rounded(relative))


def test_records_keep_all_but_their_features(digits, whole, lenet):
    assert whole.schema.features == ExtractedFeatures(
        (64,), "float32", lenet.card.digest, digits.schema.features
    )
    for name in ("record_id", "subject_id", "label", "deletion_prior"):
        assert whole.table[name].equals(digits.table[name])
    assert not (whole.digests == digits.digests).all(axis=1).any()
    assert RecordSchema.from_arrow(whole.table.schema) == whole.schema
    assert from_json(RecordSchema, json.loads(json.dumps(to_json(whole.schema)))) == whole.schema


def test_another_extractor_makes_other_records(tmp_path, digits, whole):
    """Also where its features happen to be the same."""
    other = ExtractedFeatures((64,), "float32", "0" * 64, digits.schema.features)
    renamed = replace(whole, schema=RecordSchema(whole.schema.class_names, other))
    assert (renamed.schema.digests(whole.table) != whole.digests).any(axis=1).all()


def test_priors_survive(lenet, digits):
    priors = [None, 0.25, 1.0]
    known = build_record_set(
        digits.schema,
        record_ids=["a", "b", "c"],
        subject_ids=["s", "s", "t"],
        labels=[1, 2, 3],
        features=digits.inputs[:3],
        priors=priors,
        where="test",
    )
    assert lenet.extracted(known, "test").table["deletion_prior"].to_pylist() == priors


def test_a_folder_reads_back_and_writing_it_again_changes_nothing(tmp_path, folder):
    card = write(tmp_path / "again")
    assert card == Extractor.load(folder).card
    before = {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()}
    assert before == {p.name: p.read_bytes() for p in folder.iterdir()}
    assert write(tmp_path / "again") == card
    assert {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()} == before


def test_foreign_folders_are_left_alone(tmp_path, refused):
    (tmp_path / "thesis.tex").write_text("years of work")
    with refused("not empty"):
        write(tmp_path)
    write(tmp_path / "e")
    with refused("not empty"):
        write(tmp_path / "e", "mlp")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    "model", [{"architecture": "logistic"}, {"architecture": "forest"}, {"hidden": []}], ids=str
)
def test_a_network_without_hidden_layer_has_no_features(tmp_path, refused, model):
    with refused("no hidden layer"):
        write(tmp_path / "e", **{"architecture": "mlp", **model})
    assert not (tmp_path / "e").exists()


def test_weights_of_another_network_are_refused(tmp_path, refused):
    chosen = ModelSettings.model_validate({"hidden": [5]})
    weights = build(chosen, (1, 8, 8), 9, seed=1).state_dict()
    with refused("do not fit together"):
        write_extractor(tmp_path / "e", chosen, weights, inputs=DIGIT, classes=10)
    assert not (tmp_path / "e").exists()


def test_feature_layer_is_the_last_linear_one():
    nn = torch.nn
    assert feature_layer(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))) == "2"
    assert feature_layer(nn.Sequential(nn.Conv2d(1, 2, 1))) is None


@pytest.mark.parametrize("name", ["model.safetensors", "members"])
@pytest.mark.parametrize("damage", [lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[:-1]])
def test_altered_files_are_found_out(tmp_path, digits, name, damage):
    write(tmp_path / "e", members=digits.digests)
    path = tmp_path / "e" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(VerdictError, match="altered"):
        Extractor.load(tmp_path / "e")
    path.unlink()
    with pytest.raises(VerdictError, match="missing"):
        Extractor.load(tmp_path / "e")


@pytest.mark.parametrize(
    "change",
    [
        {"layer": "0.0"},
        {"layer": "nowhere"},
        {"layer": 3},
        {"classes": 9},
        {"classes": "ten"},
        {"model": {"architecture": "forest"}},
        {"model": {"architecture": "autoencoder"}},
        {"model": {"architecture": "os.system"}},
        {"model": {"unknown": 1}},
        {"inputs": {"kind": "tensor", "shape": [1, 12, 12], "dtype": "float32"}},
        {"inputs": {"kind": "tensor", "shape": [1, 2, 2], "dtype": "float32"}},
        {"inputs": {"kind": "strange"}},
        {"inputs": None},
        {"format": 2},
        {"more": 1},
    ],
    ids=str,
)
def test_a_card_that_makes_no_sense_is_bad_input(tmp_path, refused, change):
    write(tmp_path / "e")
    path = tmp_path / "e" / "extractor.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with refused(tmp_path / "e", "export"):
        Extractor.load(tmp_path / "e")


def test_no_extractor_says_how_to_make_one(tmp_path, refused):
    with refused("forgetflow extractor MODEL --output FOLDER"):
        Extractor.load(tmp_path)


def test_weights_are_no_pickle(folder):
    data = (folder / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    shapes = [value["shape"] for name, value in header.items() if name != "__metadata__"]
    assert sum(map(prod, shapes)) == sum(
        p.numel() for p in build(ModelSettings(architecture="lenet"), (1, 8, 8), 10, 0).parameters()
    )


def test_bytes_and_floats_of_one_shape_are_taken(lenet):
    assert lenet.describe(TensorFeatures((1, 8, 8), "uint8"), "here").raw.dtype == "uint8"


@pytest.mark.parametrize(
    "raw",
    [
        TensorFeatures((64,), "float32"),
        ColumnFeatures(("a",), (), 4),
        ExtractedFeatures((1, 8, 8), "float32", "a" * 64, DIGIT),
    ],
)
def test_records_it_does_not_take_are_refused(lenet, refused, raw):
    with refused("the digits", "inputs of shape (1, 8, 8)", "data.extractor"):
        lenet.describe(raw, "the digits")


def test_columns_must_be_the_same_ones(tmp_path, refused):
    """Input 3 of the network is one column and no other."""
    columns = ColumnFeatures(("age", "height"), ("town",), 4)
    write(tmp_path / "e", "mlp", columns, 2, hidden=[5])
    extractor = Extractor.load(tmp_path / "e")
    assert extractor.describe(columns, "t").shape == (5,)
    for other in (
        replace(columns, numeric=("height", "age")),
        replace(columns, categorical=("job",)),
        replace(columns, hash_buckets=8),
    ):
        with refused("the columns age, height, town with 4 hash buckets"):
            extractor.describe(other, "t")


def test_an_extractor_that_knows_a_record_is_refused(tmp_path, digits, refused):
    """Its deletion would not be exact, whatever the heads do."""
    write(tmp_path / "e", members=digits.take(np.array([7, 9])).digests)
    extractor = Extractor.load(tmp_path / "e")
    assert len(extractor.extracted(digits.take(np.arange(7)), "some")) == 7
    with refused("all: the extractor has learned from 2 of these records"):
        extractor.extracted(digits, "all")


def test_values_that_overflow_are_refused(tmp_path, digits, refused):
    wild = build_record_set(
        digits.schema,
        record_ids=["a", "b"],
        subject_ids=["a", "b"],
        labels=[0, 0],
        features=np.stack([digits.inputs[0], np.full((1, 8, 8), 3e38, np.float32)]),
        where="wild",
    )
    write(tmp_path / "e", "mlp", hidden=[4])
    with refused("wild: the extractor makes NaN or infinite features of 1 record"):
        Extractor.load(tmp_path / "e").extracted(wild, "wild")


def project(root: Path, extractor: str | None, digest: str | None) -> Project:
    data = {"source": "digits", "extractor": extractor, "extractor_digest": digest}
    (root / "params.yaml").write_text(json.dumps({"data": data}))
    return Project(root)


def test_ingest_writes_features(tmp_path, folder, lenet):
    made = project(tmp_path, str(folder), lenet.card.digest)
    counts = ingest(made)
    assert counts["train"]["input_shape"] == counts["test"]["input_shape"] == [64]
    imported = import_records(DataSettings())
    for side, raw in ((made.train, imported.train), (made.test, imported.test)):
        records = read_record_set(side)
        records.check_digests()
        assert records.record_ids == raw.record_ids
        assert records.inputs[:5].tobytes() == lenet.features(raw.inputs[:5]).tobytes()


def test_another_extractor_in_the_folder_is_noticed(tmp_path, lenet, refused):
    write(tmp_path / "extractor", "mlp")
    made = project(tmp_path, "extractor", lenet.card.digest)
    with refused("another extractor", "data.extractor_digest", "data import SOURCE"):
        ingest(made)
    with refused("another extractor"):
        project_extractor(made)
    assert not made.train.exists()


def test_no_extractor_is_named(tmp_path, refused):
    with refused("names no extractor"):
        project_extractor(project(tmp_path, None, None))


@pytest.mark.parametrize(
    "data", [{"extractor": "folder"}, {"extractor_digest": "a" * 64}, {"extractor_digest": "short"}]
)
def test_folder_and_digest_go_together(data):
    with pytest.raises(ValueError, match="extractor"):
        DataSettings.model_validate(data)


def test_an_extractor_of_extracted_features_is_no_kind():
    inner = {"kind": "extracted", "shape": [3], "dtype": "float32", "extractor": "a" * 64}
    tensor = {"kind": "tensor", "shape": [3], "dtype": "float32"}
    whole = {"class_names": ["a"], "features": {**inner, "raw": tensor}, "version": 1}
    assert from_json(RecordSchema, whole).features.raw == TensorFeatures((3,), "float32")
    for wrong in ({**inner, "raw": whole["features"]}, {**tensor, "kind": "other"}, inner):
        with pytest.raises(ValueError, match="RecordSchema"):
            from_json(RecordSchema, {**whole, "features": wrong})


def test_the_digest_covers_the_weights(tmp_path, lenet):
    chosen = ModelSettings(architecture="lenet")
    weights = build(chosen, (1, 8, 8), 10, seed=2).state_dict()
    other = write_extractor(tmp_path / "e", chosen, weights, inputs=DIGIT, classes=10)
    assert replace(other, weights=lenet.card.weights) == lenet.card
    assert other.digest != lenet.card.digest
    assert other.weights == bytes_digest((tmp_path / "e" / "model.safetensors").read_bytes())
