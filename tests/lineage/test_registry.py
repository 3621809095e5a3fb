"""Registration in a real MLflow: one database for all, one registered model per test."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from forgetflow.config import DataSettings, Settings
from forgetflow.errors import InputError, VerdictError
from forgetflow.keys import bytes_digest
from forgetflow.lineage.facts import DeletionFacts, GenerationFacts
from forgetflow.lineage.pyfunc import Predictor
from forgetflow.lineage.registry import register, set_state
from forgetflow.lineage.tracking import connect, experiment_of, tracking_uri
from forgetflow.lineage.tree import read_tree
from forgetflow.partition import place
from forgetflow.project import Project
from forgetflow.records.record_set import RecordSet
from forgetflow.records.sources import import_records
from forgetflow.store import Store
from forgetflow.training.chain import Recipe
from forgetflow.training.ensemble import Ensemble, ModelCard, weights_file, write_model
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Workspace

pytestmark = pytest.mark.slow

SMALL = {
    "partition": {"shards": 2, "slices": 1},
    "model": {"hidden": [8]},
    "train": {"epochs": 1},
}
BATCHES = {"b1": 12, "b2": 5, "b3": 30}


@dataclass(frozen=True)
class Models:
    """Trained generations, ready to be registered anywhere."""

    folder: Path
    cards: dict[str, ModelCard]
    records: RecordSet
    test: RecordSet


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Models:
    """original -> b1 -> b2 -> b3, weights included."""
    root = tmp_path_factory.mktemp("models")
    settings = Settings.model_validate(SMALL)
    data = import_records(DataSettings())
    schema = data.train.schema
    workspace = Workspace(
        settings,
        data.train,
        place(data.train, settings.partition, 0),
        Recipe.from_settings(settings, schema.input_shape, len(schema.class_names)),
        Store(root / "store"),
    )

    def build(generation, keep, **facts):
        members = []
        for shard in workspace.occupied(keep):
            receipt, _ = train_chain(
                workspace.store, workspace.chain(shard, keep), workspace.recipe
            )
            members.append(workspace.constituent(shard, receipt, keep))
        card = workspace.card(generation, members, keep, **facts)
        write_model(workspace.store, card, root / generation)
        return card

    keep = workspace.everything
    cards = {"original": build("original", keep)}
    parent = cards["original"]
    for batch, records in BATCHES.items():
        keep = keep.copy()
        keep[np.flatnonzero(keep)[:records]] = False
        exact = batch != "b3"
        parent = cards[batch] = build(
            batch,
            keep,
            parent=parent,
            method="sisa" if exact else "finetune",
            guarantee="exact" if exact else "approximate",
            manifest=bytes_digest(batch.encode()),
        )
    return Models(root, cards, data.train, data.test)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Project:
    """A project with the database that all tests share."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    project = new_project(tmp_path_factory.mktemp("home"), "digits")
    connect(project)
    yield project
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.fixture
def project(home, tmp_path, request) -> Project:
    """A project of its own in the shared database."""
    return new_project(tmp_path, f"model of {request.node.name}"[:80], tracking_uri(home))


def new_project(root: Path, name: str, uri: str | None = None) -> Project:
    lineage = {"model_name": name, "experiment": name, "tracking_uri": uri}
    (root / "params.yaml").write_text(yaml.safe_dump({**SMALL, "lineage": lineage}))
    return Project(root)


def facts_of(project: Project, models: Models, generation: str, **changes) -> GenerationFacts:
    card = models.cards[generation]
    folder = project.model(generation)
    if not folder.exists():
        shutil.copytree(models.folder / generation, folder)
    facts = GenerationFacts(
        card=card,
        model_folder=folder,
        metrics={"test_accuracy": 0.9 - card.forgotten / 1000},
        deletion=deletion_of(card),
        gate="failed" if generation == "b3" else "passed",
        state="published",
        cost={"seconds": 2.5},
    )
    return replace(facts, **changes)


def deletion_of(card: ModelCard) -> DeletionFacts | None:
    if card.parent is None:
        return None
    records = BATCHES.get(card.generation, 1)
    return DeletionFacts(
        card.generation, records, 2, card.manifests[-1], "2026-03-01T09:00:00Z", "2026-03-31"
    )


def renamed(project: Project, models: Models, source: str, **changes) -> ModelCard:
    """Write another generation with the weights of `source` into the project."""
    card = replace(models.cards[source], **changes)
    folder = project.model(card.generation)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(models.folder / source, folder)
    (folder / "model.json").write_text(json.dumps(card.to_json()))
    return card


def tables(project: Project) -> dict[str, list[tuple]]:
    path = tracking_uri(project).removeprefix("sqlite:///")
    with sqlite3.connect(path) as database:
        names = [
            n for (n,) in database.execute("select name from sqlite_master where type='table'")
        ]
        return {name: database.execute(f"select * from [{name}]").fetchall() for name in names}


def sizes(project: Project) -> dict[str, int]:
    return {name: len(rows) for name, rows in tables(project).items()}


@pytest.fixture(scope="module")
def registered(home, models) -> Project:
    """All four generations, registered in order; tests only look at it."""
    evaluation = home.evaluation("b1")
    evaluation.mkdir(parents=True)
    (evaluation / "metrics.json").write_text("{}")
    (evaluation / "per_record.npy").write_bytes(b"no summary")
    report = home.root / "report.html"
    report.write_text("<p>report</p>")
    certificate = "c" * 64
    for number, generation in enumerate(models.cards, start=1):
        extra = {}
        if generation == "b1":
            extra = {
                "evaluation_folder": evaluation,
                "report": report,
                "certificate_sha256": certificate,
            }
        assert register(home, facts_of(home, models, generation, **extra)) == number
    return home


@pytest.fixture(scope="module")
def client(registered):
    return connect(registered)


class TestVersions:
    def test_version_n_is_generation_n(self, registered):
        tree = read_tree(registered)
        assert [(v.number, v.generation, v.parent) for v in tree.versions] == [
            (1, "original", None),
            (2, "b1", 1),
            (3, "b2", 2),
            (4, "b3", 3),
        ]
        assert {v.root for v in tree.versions} == {1}
        assert tree.by_number[4].accuracy == pytest.approx(0.9 - 47 / 1000)

    def test_tags_on_version_and_run(self, client, registered, models):
        version = client.get_model_version("digits", "2")
        card = models.cards["b1"]
        expected = {
            "lineage.generation": "b1",
            "lineage.parent": "original",
            "lineage.parent_version": "1",
            "lineage.root": "1",
            "lineage.card": facts_of(registered, models, "b1").digest,
            "deletion.batch": "b1",
            "deletion.records": "12",
            "deletion.requests": "2",
            "deletion.manifest": card.manifests[-1],
            "deletion.due_at": "2026-03-31",
            "unlearn.method": "sisa",
            "unlearn.guarantee": "exact",
            "gate": "passed",
            "state": "published",
            "weights.digest": card.digest,
            "certificate.sha256": "c" * 64,
        }
        run = client.get_run(version.run_id)
        for tags in (version.tags, run.data.tags):
            assert expected.items() <= tags.items()
        assert "certificate.sha256" not in client.get_model_version("digits", "3").tags
        params = run.data.params
        assert params["unlearn.guarantee"] == "exact"
        assert params["deletion.records"] == "12"

    def test_aliases(self, registered):
        tree = read_tree(registered)
        where = {a: tree.aliased(a).number for a in ("original", "candidate", "serving")}
        assert where == {"original": 1, "candidate": 4, "serving": 3}

    def test_descriptions_lead_to_parent_and_children(self, client):
        text = client.get_model_version("digits", "2").description
        assert "#/models/digits/versions/1?" in text
        assert "#/models/digits/versions/3?" in text
        note = client.get_run(client.get_model_version("digits", "2").run_id).data.tags
        assert "versions/2?" in note["mlflow.note.content"]
        assert "`b3`" in client.get_registered_model("digits").description


class TestRuns:
    def test_deletions_are_nested_under_the_original(self, client, registered):
        runs = {v.generation: v.run_id for v in read_tree(registered).versions}
        for batch in BATCHES:
            run = client.get_run(runs[batch])
            assert run.data.tags["mlflow.parentRunId"] == runs["original"]
            assert run.info.status == "FINISHED"

    def test_edges_join_parent_and_child(self, client, registered):
        versions = read_tree(registered).versions
        runs = [client.get_run(v.run_id) for v in versions]
        outputs = [[m.model_id for m in run.outputs.model_outputs] for run in runs]
        inputs = [[m.model_id for m in run.inputs.model_inputs] for run in runs]
        assert all(len(one) == 1 for one in outputs)
        assert inputs == [[], *outputs[:-1]]
        sources = [client.get_model_version("digits", str(v.number)).source for v in versions]
        assert sources == [f"models:/{one}" for (one,) in outputs]

    def test_data_sets_are_counts_and_digests(self, client, registered, models):
        run = client.get_run(read_tree(registered).by_number[2].run_id)
        sets = {one.dataset.name: one.dataset for one in run.inputs.dataset_inputs}
        assert set(sets) == {"retain set", "forget set"}
        assert sets["retain set"].digest == models.cards["b1"].retain_digest[:32]
        assert json.loads(sets["forget set"].profile) == {"num_rows": 12}

    def test_artifacts_are_summaries_and_the_drawn_tree(self, client, registered):
        run_id = read_tree(registered).by_number[2].run_id
        top = {one.path for one in client.list_artifacts(run_id)}
        assert top == {"evaluation", "lineage.html", "report.html"}
        inner = [one.path for one in client.list_artifacts(run_id, "evaluation")]
        assert inner == ["evaluation/metrics.json"]
        assert (registered.root / "lineage.html").is_file()

    def test_the_experiment_is_one_of_model_training(self, client, registered):
        tags = experiment_of(client, registered).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
        assert "digits" in tags["mlflow.note.content"]


class TestPrivacy:
    def test_no_record_or_subject_reaches_mlflow(self, registered, models):
        ids = {one.encode() for one in (*models.records.record_ids, *models.records.subject_ids)}
        ids |= {row.tobytes().hex().encode() for row in models.records.digests}
        looks = re.compile(rb"digit-\d+|writer-\d+|[0-9a-f]{64}")
        assert all(looks.fullmatch(one) for one in ids)
        files = [path for path in registered.root.glob("ml*/**/*") if path.is_file()]
        assert len(files) > 20
        blobs = [path.read_bytes() for path in (*files, registered.root / "lineage.html")]
        blobs += [repr(rows).encode() for rows in tables(registered).values()]
        blobs.append((registered.root / "mlflow.db").read_bytes())
        found = {hit for blob in blobs for hit in looks.findall(blob)}
        assert models.cards["b1"].digest.encode() in found  # the search does find things
        assert found.isdisjoint(ids)

    def test_nothing_is_pickled(self, registered):
        kinds = {
            p.suffix for p in (registered.root / "mlartifacts/models").rglob("*") if p.is_file()
        }
        assert kinds == {"", ".json", ".safetensors"}


class TestPredictions:
    @pytest.fixture(scope="class")
    def served(self, registered):
        import mlflow

        connect(registered)
        return mlflow.pyfunc.load_model("models:/digits@serving")

    def test_equal_those_of_the_ensemble(self, served, registered, models):
        inputs = models.test.inputs
        ensemble = Ensemble.load(registered.model("b2"))
        frame = served.predict(inputs)
        assert list(frame) == ["label", *(f"probability_{c}" for c in ensemble.card.class_names)]
        np.testing.assert_array_equal(frame.iloc[:, 1:], ensemble.probabilities(inputs))
        names = [ensemble.card.class_names[i] for i in ensemble.predict(inputs)]
        assert list(frame["label"]) == names

    def test_flat_inputs_give_the_same(self, served, models):
        import pandas as pd

        inputs = models.test.inputs[:9]
        expected = served.predict(inputs)
        flat = pd.DataFrame(inputs.reshape(9, -1))
        column = pd.DataFrame({"features": list(flat.to_numpy().tolist())})
        pd.testing.assert_frame_equal(served.predict(column), expected)
        # MLflow lets no wide frame through to a model with tensor inputs; the model takes it.
        predictor = Predictor(served.get_raw_model())
        pd.testing.assert_frame_equal(predictor.predict(flat), expected)
        pd.testing.assert_frame_equal(predictor.predict(inputs.tolist()), expected)

    def test_other_shapes_are_refused(self, served):
        from mlflow.exceptions import MlflowException

        with pytest.raises(MlflowException, match="shape"):
            served.predict(np.zeros((2, 3), np.float32))
        with pytest.raises(InputError, match=r"\(N, 1, 8, 8\) or \(N, 64\), not \(2, 3\)"):
            Predictor(served.get_raw_model()).predict(np.zeros((2, 3)))

    def test_from_the_command_line(self, registered, models, tmp_path):
        inputs = models.test.inputs[:3]
        (tmp_path / "in.json").write_text(json.dumps({"inputs": inputs.tolist()}))
        command = f"-m mlflow models predict -m models:/digits@serving --env-manager local \
            -i {tmp_path}/in.json -o {tmp_path}/out.json"
        environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri(registered)}
        subprocess.run([sys.executable, *command.split()], env=environment, check=True, timeout=200)
        rows = json.loads((tmp_path / "out.json").read_text())["predictions"]
        expected = Ensemble.load(registered.model("b2")).predict(inputs)
        assert [int(row["label"]) for row in rows] == list(expected)


class TestAgain:
    def test_the_same_card_creates_nothing(self, project, models):
        for generation in ("original", "b1"):
            register(project, facts_of(project, models, generation))
        before = sizes(project)
        assert register(project, facts_of(project, models, "original")) == 1
        assert register(project, facts_of(project, models, "b1")) == 2
        assert sizes(project) == before

    def test_what_may_change_is_brought_up_to_date(self, project, models):
        register(project, facts_of(project, models, "original", gate="failed"))
        assert read_tree(project).aliased("serving") is None
        changed = facts_of(
            project,
            models,
            "original",
            metrics={"test_accuracy": 0.97},
            certificate_sha256="f" * 64,
        )
        assert register(project, changed) == 1
        (version,) = read_tree(project).versions
        assert (version.gate, version.accuracy) == ("passed", 0.97)
        assert version.certificate == "f" * 64
        assert version.metrics["gate_passed"] == 1.0
        assert version.aliases == ("candidate", "original", "serving")

    def test_a_state_can_be_set_alone(self, project, models):
        register(project, facts_of(project, models, "original"))
        register(project, facts_of(project, models, "b1"))
        assert set_state(project, "b1", "erased", certificate_sha256="a" * 64) == 2
        version = read_tree(project).by_number[2]
        assert (version.state, version.certificate) == ("erased", "a" * 64)
        client = connect(project)
        found = client.get_model_version(project.settings.lineage.model_name, "2")
        assert "**State** erased" in found.description
        assert client.get_run(version.run_id).data.tags["state"] == "erased"
        with pytest.raises(InputError, match="'b9' is not registered"):
            set_state(project, "b9", "erased")


BEFORE = (
    "log_batch",
    "log_model_artifact",
    "log_inputs",
    "log_artifact",
    "set_terminated",
    "create_model_version",
    "set_model_version_tag",
    "set_logged_model_tags",
    "update_model_version",
    "set_registered_model_alias",
)
AFTER = (
    "create_run",
    "create_logged_model",
    "log_model_artifact",
    "finalize_logged_model",
    "log_inputs",
    "log_outputs",
    "create_model_version",
)


class Killed(BaseException):
    """What the tests below die of."""


class TestKilled:
    @pytest.mark.parametrize("step", [*BEFORE, *(f"after {step}" for step in AFTER)])
    def test_the_next_call_completes_without_doubles(self, project, models, monkeypatch, step):
        from mlflow import MlflowClient

        register(project, facts_of(project, models, "original"))
        call = step.removeprefix("after ")
        real = getattr(MlflowClient, call)

        def dies(*arguments, **named):
            if call != step:
                real(*arguments, **named)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, call, dies)
            with pytest.raises(Killed):
                register(project, facts_of(project, models, "b1"))
        assert register(project, facts_of(project, models, "b1")) == 2

        client = connect(project)
        experiment = experiment_of(client, project).experiment_id
        tree = read_tree(project)
        assert [v.generation for v in tree.versions] == ["original", "b1"]
        assert len(client.search_runs([experiment])) == 2
        assert len(client.search_logged_models([experiment])) == 2
        run = client.get_run(tree.by_number[2].run_id)
        assert run.info.status == "FINISHED"
        assert len(run.inputs.dataset_inputs) == 2
        assert len(run.inputs.model_inputs) == len(run.outputs.model_outputs) == 1
        assert tree.aliased("serving").number == tree.aliased("candidate").number == 2
        name = project.settings.lineage.model_name
        assert "versions/2?" in client.get_model_version(name, "1").description
        (model,) = run.outputs.model_outputs
        found = client.get_logged_model(model.model_id)
        assert found.status == "READY"
        assert len(client.list_logged_model_artifacts(model.model_id, "model")) == 3


class TestRebuilt:
    def test_a_new_original_waits_for_its_deletions_before_it_serves(self, project, models):
        for generation in ("original", "b1"):
            register(project, facts_of(project, models, generation))
        old = {g: project.model(g).rename(project.root / f"old-{g}") for g in ("original", "b1")}

        card = renamed(project, models, "original", recipe="other settings")
        again = facts_of(project, models, "original", card=card)
        assert register(project, again) == 3
        tree = read_tree(project)
        assert tree.by_number[3].supersedes == 1
        assert tree.current_root == tree.aliased("original").number == 3
        assert tree.aliased("candidate").number == 3
        assert tree.aliased("serving").number == 2

        card = renamed(project, models, "b1", recipe="other settings")
        assert register(project, facts_of(project, models, "b1", card=card)) == 4
        tree = read_tree(project)
        assert (tree.by_number[4].parent, tree.by_number[4].root) == (3, 3)
        assert tree.aliased("serving").number == 4

        # back to the settings from before: their versions are found, and current again
        for generation, folder in old.items():
            shutil.rmtree(project.model(generation))
            folder.rename(project.model(generation))
            register(project, facts_of(project, models, generation))
        tree = read_tree(project)
        assert len(tree.versions) == 4
        assert {a: tree.aliased(a).number for a in ("original", "candidate", "serving")} == {
            "original": 1,
            "candidate": 2,
            "serving": 2,
        }
        assert set_state(project, "b1", "erased") == 2

    def test_two_methods_on_one_parent_are_siblings(self, project, models):
        register(project, facts_of(project, models, "original"))
        register(project, facts_of(project, models, "b1"))
        card = renamed(project, models, "b1", generation="b1-finetune", method="finetune")
        other = replace(
            facts_of(project, models, "b1", gate="failed"),
            card=card,
            model_folder=project.model("b1-finetune"),
        )
        assert register(project, other) == 3
        tree = read_tree(project)
        assert [v.generation for v in tree.children(tree.by_number[1])] == ["b1", "b1-finetune"]
        assert tree.aliased("serving").number == 2


class TestRefusals:
    def test_altered_weights(self, project, models):
        facts = facts_of(project, models, "original")
        path = facts.model_folder / weights_file(0)
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(VerdictError, match="altered"):
            register(project, facts)
        assert read_tree(project).versions == ()

    def test_another_model_in_the_folder(self, project, models):
        facts = facts_of(project, models, "original")
        with pytest.raises(VerdictError, match="another model"):
            register(project, replace(facts, card=replace(facts.card, recipe="x")))

    def test_a_child_before_its_parent(self, project, models):
        with pytest.raises(InputError, match="register 'original' first"):
            register(project, facts_of(project, models, "b1"))
        facts_of(project, models, "original")
        with pytest.raises(InputError, match="register 'original' first"):
            register(project, facts_of(project, models, "b1"))

    def test_a_deleted_experiment(self, project):
        client = connect(project)
        client.delete_experiment(experiment_of(client, project).experiment_id)
        with pytest.raises(InputError, match="mlflow experiments restore"):
            connect(project)

    def test_a_deleted_run(self, project, models):
        register(project, facts_of(project, models, "original"))
        connect(project).delete_run(read_tree(project).versions[0].run_id)
        with pytest.raises(InputError, match="MLflow refused"):
            register(project, facts_of(project, models, "original"))


def test_two_first_uses_do_not_race(tmp_path):
    new_project(tmp_path, "race")
    code = (
        "from pathlib import Path; from forgetflow.project import Project;"
        "from forgetflow.lineage.tracking import connect, experiment_of;"
        f"project = Project(Path({str(tmp_path)!r}));"
        "print(experiment_of(connect(project), project).experiment_id)"
    )
    start = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(start, **pipes) for _ in range(2)]
    results = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert results == [("1\n", "")] * 2
