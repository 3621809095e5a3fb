"""Registration in a real MLflow: what its pages, files and models hold afterwards."""

import json
import os
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from forgetflow.config.project import Project
from forgetflow.errors import InputError
from forgetflow.lineage.pyfunc import Predictor
from forgetflow.lineage.registry import register
from forgetflow.lineage.tracking import connect, experiment_of, tracking_uri
from forgetflow.lineage.tree import as_json, read_tree
from forgetflow.training.ensemble import Ensemble

pytestmark = pytest.mark.slow


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
        assert register(home, models.facts(home, generation, **extra), as_json) == number
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
            "lineage.card": models.facts(registered, "b1").digest,
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
        for batch in ("b1", "b2", "b3"):
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


def rows_of(project: Project) -> bytes:
    """Every row of every table, as text."""
    with sqlite3.connect(tracking_uri(project).removeprefix("sqlite:///")) as database:
        return "\n".join(database.iterdump()).encode()


class TestPrivacy:
    def test_no_record_or_subject_reaches_mlflow(self, registered, models):
        ids = {one.encode() for one in (*models.records.record_ids, *models.records.subject_ids)}
        ids |= {row.tobytes().hex().encode() for row in models.records.digests}
        looks = re.compile(rb"digit-\d+|writer-\d+|[0-9a-f]{64}")
        assert all(looks.fullmatch(one) for one in ids)
        files = [path for path in registered.root.glob("ml*/**/*") if path.is_file()]
        assert len(files) > 20
        blobs = [path.read_bytes() for path in (*files, registered.root / "lineage.html")]
        blobs.append((registered.root / "mlflow.db").read_bytes())
        blobs.append(rows_of(registered))
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
