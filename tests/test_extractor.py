"""A model of public records becomes the extractor of a private project, from command to forgetting.

No DVC and no server: the flows call the same functions.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from forgetflow.cli import main as cli
from forgetflow.cli.doctor import examine
from forgetflow.config.project import Project
from forgetflow.errors import ForgetflowError, VerdictError
from forgetflow.files.jsonable import to_json
from forgetflow.files.parquet import read_parquet
from forgetflow.lineage.facts import GenerationFacts
from forgetflow.lineage.logged_model import _write_mlmodel
from forgetflow.lineage.pyfunc import _load_pyfunc
from forgetflow.partition.assignment import write_assignment
from forgetflow.partition.registry import place
from forgetflow.records.extractor import Extractor
from forgetflow.records.record_set import read_record_set
from forgetflow.requests.intake import add_request
from forgetflow.requests.seal import seal
from forgetflow.serving.prediction import predict_file
from forgetflow.training.card import read_card
from forgetflow.training.ensemble import Ensemble
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import Deletion, build_original, unlearn

PUBLIC = {
    "model": {"architecture": "mlp", "hidden": [24, 12]},
    "partition": {"method": "monolith"},
    "train": {"epochs": 5},
    "run": {"device": "cpu"},
}
PRIVATE = {
    "model": {"architecture": "logistic"},
    "partition": {"shards": 3, "slices": 2},
    "train": {"epochs": 2},
    "run": {"device": "cpu"},
}


@dataclass(frozen=True)
class Folder:
    """A project folder, its settings and what one does in it."""

    project: Project

    def forgetflow(self, *arguments: str, code: int = 0) -> str:
        """Run a verb in the folder; returns what it printed, or the error."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.project.root)
            done = CliRunner().invoke(cli.app, list(arguments))
        if isinstance(done.exception, ForgetflowError):
            assert code == done.exception.exit_code, done.exception
            return str(done.exception)
        assert (done.exit_code, done.exception) == (code, None), done.output
        return done.output

    def imports(self, *options: str, code: int = 0) -> str:
        return self.forgetflow("data", "import", "npz", "--path", "data.npz", *options, code=code)

    def build(self):
        project = Project(self.project.root)  # settings are read once per object
        records = read_record_set(project.train)
        placed = place(records, project.settings.partition, project.settings.run.seed)
        write_assignment(records, placed, project.partition / "assignment.parquet")
        return build_original(project)

    def forget(self, **selector: str):
        project = Project(self.project.root)
        add_request(project, selector)
        batch = seal(project).batch
        return unlearn(project, Deletion.open(project, batch), method_named("sisa"))

    def set(self, **blocks) -> None:
        path = self.project.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for name, block in blocks.items():
            params[name] = params.get(name, {}) | block
        path.write_text(yaml.safe_dump(params))


def new_folder(root: Path, params, which) -> Folder:
    """A project on some of the digits, half of the last 200 as test set."""
    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    test = np.arange(len(x) - 200, len(x), 2)
    ids = np.array([f"d{i:04d}" for i in range(len(x))])
    root.mkdir(parents=True, exist_ok=True)
    np.savez(
        root / "data.npz",
        x_train=x[which],
        y_train=labels[which],
        record_id_train=ids[which],
        x_test=x[test],
        y_test=labels[test],
        record_id_test=ids[test],
    )
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return Folder(Project(root))


@pytest.fixture(scope="module")
def public(tmp_path_factory) -> Folder:
    """A model of the first 900 digits, by people who do not mind."""
    folder = new_folder(tmp_path_factory.mktemp("public"), PUBLIC, np.arange(900))
    folder.imports()
    folder.build()
    return folder


@pytest.fixture(scope="module")
def extractor(public, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "extractor"
    told = json.loads(public.forgetflow("extractor", "original", "--output", str(path), "--json"))
    assert told["features"] == 12
    assert told["learned_from"] == 900
    assert told["input_shape"] == [1, 8, 8]
    assert told["digest"] == Extractor.load(path).card.digest
    return path


@pytest.fixture(scope="module")
def built(extractor, tmp_path_factory) -> Folder:
    """A model of 300 other digits on that extractor; to be copied, not changed."""
    root = tmp_path_factory.mktemp("private")
    folder = new_folder(root, PRIVATE, np.arange(900, 1200))
    folder.imports("--extractor", str(extractor))
    folder.build()
    return folder


@pytest.fixture
def private(built, tmp_path) -> Folder:
    shutil.copytree(built.project.root, tmp_path / "private")
    return Folder(Project(tmp_path / "private"))


def weights(folder: Folder, generation: str) -> dict[str, bytes]:
    found = folder.project.model(generation).glob("*.safetensors")
    return {path.name: path.read_bytes() for path in found}


def test_params_remember_folder_and_digest(built, extractor):
    text = (built.project.root / "params.yaml").read_text()
    assert yaml.safe_load(text)["data"]["extractor"] == str(extractor)
    assert f"extractor_digest: {Extractor.load(extractor).card.digest}\n" in text


def test_importing_again_needs_no_option_and_changes_nothing(private):
    parts = sorted(private.project.train.iterdir())
    before = [path.read_bytes() for path in parts]
    private.imports()
    assert [path.read_bytes() for path in parts] == before


def test_the_card_of_the_model_names_the_extractor(built, extractor):
    features = to_json(read_card(built.project.model("original")).features)
    assert features["kind"] == "extracted"
    assert features["extractor"] == Extractor.load(extractor).card.digest
    assert features["raw"] == {"kind": "tensor", "shape": [1, 8, 8], "dtype": "float32"}
    Ensemble.load(built.project.model("original"))


def test_forgetting_leaves_the_bytes_of_an_import_without_the_record(private, extractor, tmp_path):
    """The whole way: source, extractor, placement, training."""
    original = weights(private, "original")
    private.forget(record="d0950")
    child = private.forget(record="d1011")
    left = np.array([i for i in range(900, 1200) if i not in (950, 1011)])
    other = new_folder(tmp_path / "other", PRIVATE, left)
    other.imports("--extractor", str(extractor))
    scratch = other.build()
    assert weights(private, "b2") == weights(other, "original") != original
    assert child.digest == scratch.digest
    assert child.retain_digest == scratch.retain_digest


def test_another_extractor_means_other_keys(private, public, tmp_path):
    before = read_card(private.project.model("original"))
    public.set(train={"epochs": 1})
    try:
        public.build()
        public.forgetflow("extractor", "original", "--output", str(tmp_path / "e"))
    finally:
        public.set(train=PUBLIC["train"])
        public.build()
    private.imports("--extractor", str(tmp_path / "e"))
    after = private.build()
    keys = [{c.key for c in card.constituents} for card in (before, after)]
    assert not keys[0] & keys[1]
    assert before.features.extractor != after.features.extractor


def test_raw_inputs_and_features_are_predicted_alike(private, extractor):
    root = private.project.root
    raw = np.load(root / "data.npz")["x_test"]
    np.save(root / "raw.npy", raw)
    np.save(root / "flat.npy", raw.reshape(len(raw), -1))
    np.save(root / "features.npy", Extractor.load(extractor).features(raw))
    project = Project(root)
    found = predict_file(project, root / "features.npy", "original")
    assert predict_file(project, root / "raw.npy", "original") == found
    assert predict_file(project, root / "flat.npy", "original") == found
    records = read_record_set(project.test)
    expected = Ensemble.load(project.model("original")).predict(records.inputs)
    names = records.schema.class_names
    by_id = dict(zip(records.record_ids, [names[i] for i in expected], strict=True))
    ids = np.load(root / "data.npz")["record_id_test"]
    assert [row["label"] for row in found] == [by_id[one] for one in ids]


def test_tables_are_predicted_alike(private):
    """Parquet parts of records, extracted or not, and a column per value."""
    root, project = private.project.root, Project(private.project.root)
    raw = np.load(root / "data.npz")["x_test"]
    part = project.test / "part-0000.parquet"
    found = predict_file(project, part, "original")
    expected = Ensemble.load(project.model("original")).predict(
        read_record_set(project.test).schema.inputs(read_parquet(part))
    )
    assert [int(row["label"]) for row in found] == expected.tolist()
    header = ",".join(f"p{i}" for i in range(64))
    np.savetxt(root / "raw.csv", raw.reshape(len(raw), 64), "%.9g", ",", header=header, comments="")
    np.save(root / "raw.npy", raw)
    assert predict_file(project, root / "raw.csv", "original") == predict_file(
        project, root / "raw.npy", "original"
    )


def test_inputs_of_neither_shape_are_refused(private):
    path = private.project.root / "odd.npy"
    np.save(path, np.zeros((2, 5), np.float32))
    with pytest.raises(ForgetflowError, match=r"\(5,\).*takes \(12,\), or raw inputs \(1, 8, 8\)"):
        predict_file(Project(private.project.root), path, "original")


def test_raw_inputs_need_the_models_own_extractor(private):
    path = private.project.root / "raw.npy"
    np.save(path, np.zeros((2, 1, 8, 8), np.float32))
    private.set(data={"extractor": None, "extractor_digest": None})
    with pytest.raises(ForgetflowError, match=r"raw\.npy holds raw inputs, but data\.extractor"):
        predict_file(Project(private.project.root), path, "original")
    np.save(path, np.zeros((2, 12), np.float32))
    assert len(predict_file(Project(private.project.root), path, "original")) == 2


def test_the_model_in_mlflow_takes_features_and_says_whose(private, public, extractor, tmp_path):
    def metadata(folder):
        place = folder.project.model("original")
        facts = GenerationFacts(card=read_card(place), model_folder=place, metrics={})
        _write_mlmodel(tmp_path / "MLmodel", facts, "run", "model")
        return yaml.safe_load((tmp_path / "MLmodel").read_text())["metadata"]

    frozen = Extractor.load(extractor)
    assert metadata(private)["extractor"] == frozen.card.digest
    assert "extractor" not in metadata(public)
    raw = np.load(private.project.root / "data.npz")["x_test"]
    np.save(private.project.root / "raw.npy", raw)
    found = _load_pyfunc(str(private.project.model("original"))).predict(frozen.features(raw))
    expected = predict_file(
        Project(private.project.root), private.project.root / "raw.npy", "original"
    )
    assert found["label"].tolist() == [row["label"] for row in expected]


def extractor_finding(folder: Folder):
    found = [f for f in examine(Project(folder.project.root)) if f.check == "extractor"]
    return found[0] if found else None


def test_the_doctor_looks_at_the_extractor(private, public, extractor, tmp_path):
    assert extractor_finding(public) is None
    assert extractor_finding(private).level == "ok"
    copy = tmp_path / "copy"
    shutil.copytree(extractor, copy)
    private.set(data={"extractor": str(copy)})
    assert extractor_finding(private).level == "ok"
    (copy / "model.safetensors").write_bytes(b"")
    assert extractor_finding(private).level == "error"
    private.set(data={"extractor": None, "extractor_digest": None})
    finding = extractor_finding(private)
    assert (finding.level, finding.advice) == ("error", "dvc repro")


def test_its_own_records_are_refused(public, extractor):
    """The mistake that would make every deletion inexact."""
    before = (public.project.root / "params.yaml").read_bytes()
    message = public.imports("--extractor", str(extractor), code=2)
    assert "learned from 900 of these records" in message
    assert (public.project.root / "params.yaml").read_bytes() == before


def test_forgotten_records_do_not_count_as_learned_from(public, tmp_path):
    copy = Folder(Project(tmp_path / "copy"))
    shutil.copytree(public.project.root, copy.project.root)
    copy.forget(record="d0003")
    told = json.loads(copy.forgetflow("extractor", "b1", "--output", "e", "--json"))
    assert told["learned_from"] == 899


def test_what_cannot_be_an_extractor(public, private, tmp_path):
    out = str(tmp_path / "e")
    assert "ensemble of 3 constituents" in private.forgetflow(
        "extractor", "original", "--output", out, code=2
    )
    assert "no model 'b7'" in public.forgetflow("extractor", "b7", "--output", out, code=2)
    private.set(partition={"method": "monolith"})
    private.build()
    assert "features of an extractor already" in private.forgetflow(
        "extractor", "original", "--output", out, code=2
    )
    copy = Folder(Project(tmp_path / "copy"))
    shutil.copytree(public.project.root, copy.project.root)
    copy.set(model={"architecture": "logistic"})
    copy.build()
    assert "no hidden layer" in copy.forgetflow("extractor", "original", "--output", out, code=2)
    copy.set(model={"architecture": "forest"})
    copy.build()
    assert "a forest has no layer" in copy.forgetflow(
        "extractor", "original", "--output", out, code=2
    )
    assert not Path(out).exists()


def test_altered_weights_or_records_are_not_exported(public, tmp_path):
    copy = Folder(Project(tmp_path / "copy"))
    shutil.copytree(public.project.root, copy.project.root)
    path = copy.project.model("original") / "shard-000.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    assert "altered" in copy.forgetflow(
        "extractor", "original", "--output", "e", code=VerdictError.exit_code
    )
    path.write_bytes(good)
    for part in list(copy.project.train.iterdir())[:1]:
        part.unlink()
    assert "no longer holds the records" in copy.forgetflow(
        "extractor", "original", "--output", "e", code=2
    )
