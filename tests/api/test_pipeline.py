"""The library: a few calls over the same functions, as its documentation shows them."""

import doctest
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import forgetflow
from forgetflow import Pipeline
from forgetflow.errors import InputError

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SMALL = {"partition": {"shards": 3, "slices": 2}, "train": {"epochs": 4}}
SAID = {
    "forget_a_person": ["promise: exact", "verdict.passed=True", "b1         1377 records"],
    "write_a_method": ["wrong_labels, approximate", "b1         accuracy on the eights"],
    "read_an_audit": ["bad_teacher", "control none: "],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A pipeline with a built original; to be copied, not changed."""
    pipeline = Pipeline.create(tmp_path_factory.mktemp("api") / "project", **SMALL)
    pipeline.build()
    return pipeline


@pytest.fixture
def pipeline(built, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(built.project.root, root)
    return Pipeline(root)


def test_the_lines_of_the_packages_text_are_true(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(forgetflow, verbose=False)
    assert found.attempted > 8
    assert found.failed == 0


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(path)])
    from forgetflow.unlearning.registry import METHODS

    before = dict(METHODS)
    try:
        runpy.run_path(str(path), run_name="example")
    finally:
        METHODS.clear()
        METHODS.update(before)
    said = capsys.readouterr().out
    assert all(line in said for line in SAID[path.stem]), said


def test_importing_the_package_loads_no_torch():
    code = "import forgetflow, sys; assert 'torch' not in sys.modules; forgetflow.Pipeline"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_deletion_is_that_of_the_flows(pipeline, built):
    """Bytes in models/ are a function of records and settings: a fresh build says the same."""
    pipeline.request(subject="writer-007")
    batch = pipeline.seal()
    assert pipeline.plan(batch).records == 5
    card = pipeline.forget(batch)
    assert pipeline.forget(batch) == card
    assert pipeline.verify(batch).passed
    assert [one.generation for one in pipeline.lineage()] == ["original", "b1"]
    assert pipeline.lineage()[1] == card
    assert pipeline.model("b1").predict(pipeline.test.inputs).shape == (len(pipeline.test),)
    assert [one.generation for one in built.lineage()] == ["original"]


def test_a_build_follows_the_settings(pipeline):
    path = pipeline.project.root / "params.yaml"
    path.write_text(path.read_text().replace("shards: 3", "shards: 5"))
    assert len(Pipeline(pipeline.project.root).build().constituents) == 5


def test_another_method_can_be_asked_for(pipeline):
    pipeline.request(label="3")
    batch = pipeline.seal()
    card = pipeline.forget(batch, method="ssd")
    assert (card.method, card.guarantee.value) == ("ssd", "approximate")
    batches = yaml.safe_load((pipeline.project.forget / "batches.yaml").read_text())
    assert batches["batches"][batch]["method"] == "ssd"


def test_an_audit_is_kept_by_member(pipeline):
    pipeline.request(where='label == "8" and record_id < "digit-0600"')
    batch = pipeline.seal()
    pipeline.forget(batch)
    first = pipeline.audit(batch, members=3)
    assert first.records["forget"] > 20
    assert first.members["sisa"] == 3
    kept = set(pipeline.project.store.rglob("*.safetensors"))
    again = pipeline.audit(batch, members=3)
    assert set(pipeline.project.store.rglob("*.safetensors")) == kept
    assert again.estimates == first.estimates


def test_any_generation_can_be_attributed(pipeline):
    pipeline.request(subject="writer-007")
    batch = pipeline.seal()
    pipeline.forget(batch)
    first, later = pipeline.attribute(), pipeline.attribute(batch)
    assert (first.summary.train_records, later.summary.train_records) == (1382, 1377)
    assert np.isfinite(later.values).all()


def test_refusals(pipeline, tmp_path):
    with pytest.raises(InputError, match="holds a project already"):
        Pipeline.create(pipeline.project.root)
    with pytest.raises(InputError, match=r"unknown key 'partition\.shads'"):
        Pipeline.create(tmp_path / "other", partition={"shads": 3})
    assert not (tmp_path / "other").exists()
    with pytest.raises(InputError, match=r"no params\.yaml"):
        Pipeline(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nothing to seal"):
        pipeline.seal()
    with pytest.raises(InputError, match="no batch 'b9'; sealed batches: none yet"):
        pipeline.forget("b9")
    pipeline.request(subject="writer-007")
    batch = pipeline.seal()
    with pytest.raises(InputError, match="fewer than evaluate"):
        pipeline.audit(batch, members=2)
    with pytest.raises(InputError, match="unknown unlearning method 'magic'"):
        pipeline.forget(batch, method="magic")
