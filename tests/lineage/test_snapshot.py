"""The kept tree is what MLflow would say, or it is not used."""

import shutil

import pytest

from forgetflow.lineage import tree as reading
from forgetflow.lineage.registry import register
from forgetflow.lineage.snapshot import read_snapshot, stamp
from forgetflow.lineage.tracking import connect
from forgetflow.lineage.tree import as_json, read_tree, tree_from

pytestmark = pytest.mark.slow


@pytest.fixture
def project(home, tmp_path, models, make_project):
    """A project with two generations in a database of its own."""
    shutil.copy(home.root / "mlflow.db", tmp_path)
    project = make_project(tmp_path, "kept")
    for generation in ("original", "b1"):
        register(project, models.facts(project, generation), as_json)
    return project


@pytest.fixture
def without_mlflow(monkeypatch):
    """Let whoever asks MLflow fail."""

    def refuse(project):
        raise AssertionError("MLflow was asked")

    monkeypatch.setattr(reading, "connect", refuse)


def test_after_a_registration_nobody_asks_mlflow(project, request):
    expected = tree_from(connect(project), project)
    request.getfixturevalue("without_mlflow")
    assert read_tree(project) == expected
    assert [v.generation for v in expected.versions] == ["original", "b1"]


def test_a_change_made_in_mlflow_is_seen(project):
    connect(project).set_registered_model_alias("kept", "favourite", "1")
    assert read_snapshot(project) is None
    assert read_tree(project).aliased("favourite").number == 1
    assert read_snapshot(project) == read_tree(project)


def test_another_model_name_is_another_tree(project, make_project):
    changed = make_project(project.root, "renamed")
    assert read_snapshot(changed) is None
    assert read_tree(changed).versions == ()


@pytest.mark.parametrize("kind", ["journal", "wal"])
def test_a_database_that_is_being_written_to_has_no_stamp(project, kind):
    assert stamp(project)
    (project.root / f"mlflow.db-{kind}").write_bytes(b"half a transaction")
    assert stamp(project) is None
    assert read_snapshot(project) is None


def test_a_tracking_server_has_no_stamp(tmp_path, make_project):
    assert stamp(make_project(tmp_path, "served", "http://127.0.0.1:1")) is None
