"""Registering again, after a kill, after a change; and what is refused."""

import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from forgetflow.config.project import Project
from forgetflow.errors import InputError, VerdictError
from forgetflow.lineage import registry
from forgetflow.lineage.facts import GenerationFacts
from forgetflow.lineage.registry import set_state
from forgetflow.lineage.tracking import connect, experiment_of, tracking_uri
from forgetflow.lineage.tree import as_json, read_tree
from forgetflow.training.card import weights_file

pytestmark = pytest.mark.slow


def register(project: Project, facts: GenerationFacts) -> int:
    """Register with the tree's JSON in place of a page."""
    return registry.register(project, facts, as_json)


def sizes(project: Project) -> dict[str, int]:
    """Number of rows of every table."""
    with sqlite3.connect(tracking_uri(project).removeprefix("sqlite:///")) as database:
        names = [
            n for (n,) in database.execute("select name from sqlite_master where type='table'")
        ]
        count = "select count(*) from [{}]"
        return {name: database.execute(count.format(name)).fetchone()[0] for name in names}


class TestAgain:
    def test_the_same_card_creates_nothing(self, project, models):
        for generation in ("original", "b1"):
            register(project, models.facts(project, generation))
        before = sizes(project)
        assert register(project, models.facts(project, "original")) == 1
        assert register(project, models.facts(project, "b1")) == 2
        assert sizes(project) == before

    def test_what_may_change_is_brought_up_to_date(self, project, models):
        register(project, models.facts(project, "original", gate="failed"))
        assert read_tree(project).aliased("serving") is None
        changed = models.facts(
            project,
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
        register(project, models.facts(project, "original"))
        register(project, models.facts(project, "b1"))
        assert set_state(project, "b1", "erased", as_json, certificate_sha256="a" * 64) == 2
        version = read_tree(project).by_number[2]
        assert (version.state, version.certificate) == ("erased", "a" * 64)
        client = connect(project)
        found = client.get_model_version(project.settings.lineage.model_name, "2")
        assert "**State** erased" in found.description
        assert client.get_run(version.run_id).data.tags["state"] == "erased"
        with pytest.raises(InputError, match="'b9' is not registered"):
            set_state(project, "b9", "erased", as_json)


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

        register(project, models.facts(project, "original"))
        call = step.removeprefix("after ")
        real = getattr(MlflowClient, call)

        def dies(*arguments, **named):
            if call != step:
                real(*arguments, **named)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, call, dies)
            with pytest.raises(Killed):
                register(project, models.facts(project, "b1"))
        assert register(project, models.facts(project, "b1")) == 2

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
            register(project, models.facts(project, generation))
        old = {g: project.model(g).rename(project.root / f"old-{g}") for g in ("original", "b1")}

        card = models.renamed(project, "original", recipe="other settings")
        again = models.facts(project, "original", card=card)
        assert register(project, again) == 3
        tree = read_tree(project)
        assert tree.by_number[3].supersedes == 1
        assert tree.current_root == tree.aliased("original").number == 3
        assert tree.aliased("candidate").number == 3
        assert tree.aliased("serving").number == 2

        card = models.renamed(project, "b1", recipe="other settings")
        assert register(project, models.facts(project, "b1", card=card)) == 4
        tree = read_tree(project)
        assert (tree.by_number[4].parent, tree.by_number[4].root) == (3, 3)
        assert tree.aliased("serving").number == 4

        # back to the settings from before: their versions are found, and current again
        for generation, folder in old.items():
            shutil.rmtree(project.model(generation))
            folder.rename(project.model(generation))
            register(project, models.facts(project, generation))
        tree = read_tree(project)
        assert len(tree.versions) == 4
        assert {a: tree.aliased(a).number for a in ("original", "candidate", "serving")} == {
            "original": 1,
            "candidate": 2,
            "serving": 2,
        }
        assert set_state(project, "b1", "erased", as_json) == 2

    def test_two_methods_on_one_parent_are_siblings(self, project, models):
        register(project, models.facts(project, "original"))
        register(project, models.facts(project, "b1"))
        card = models.renamed(project, "b1", generation="b1-finetune", method="finetune")
        other = replace(
            models.facts(project, "b1", gate="failed"),
            card=card,
            model_folder=project.model("b1-finetune"),
        )
        assert register(project, other) == 3
        tree = read_tree(project)
        assert [v.generation for v in tree.children(tree.by_number[1])] == ["b1", "b1-finetune"]
        assert tree.aliased("serving").number == 2


class TestRefusals:
    def test_altered_weights(self, project, models):
        facts = models.facts(project, "original")
        path = facts.model_folder / weights_file(0)
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(VerdictError, match="altered"):
            register(project, facts)
        assert read_tree(project).versions == ()

    def test_another_model_in_the_folder(self, project, models):
        facts = models.facts(project, "original")
        with pytest.raises(VerdictError, match="another model"):
            register(project, replace(facts, card=replace(facts.card, recipe="x")))

    def test_a_child_before_its_parent(self, project, models):
        with pytest.raises(InputError, match="'original', which is not registered"):
            register(project, models.facts(project, "b1"))
        models.facts(project, "original")
        with pytest.raises(InputError, match="'original', which is not registered"):
            register(project, models.facts(project, "b1"))

    def test_a_deleted_experiment(self, project):
        client = connect(project)
        client.delete_experiment(experiment_of(client, project).experiment_id)
        with pytest.raises(InputError, match="mlflow experiments restore"):
            connect(project)

    def test_a_deleted_run(self, project, models):
        register(project, models.facts(project, "original"))
        connect(project).delete_run(read_tree(project).versions[0].run_id)
        with pytest.raises(InputError, match="MLflow refused"):
            register(project, models.facts(project, "original"))


def test_two_first_uses_do_not_race(tmp_path):
    (tmp_path / "params.yaml").write_text("lineage: {model_name: race}")
    code = (
        "from pathlib import Path; from forgetflow.config.project import Project;"
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
