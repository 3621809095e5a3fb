"""Approximate methods through commands, DVC, Prefect, audits, the report and MLflow, in a project.

One class is forgotten, then another, each by another method.
"""

import json
import sqlite3

import pytest

from tests.tasks import task_states

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SETTINGS = {
    "evaluate.audit": {
        "members": 4,
        "relearn": {"max_steps": 10, "members": 1},
        "inversion": {"steps": 2, "starts": 1, "members": 1},
    },
    "unlearn.ssd": {"selection": 5.0},
    "gate.min_test_accuracy": 0.1,
    "gate.max_test_accuracy_drop": None,  # a whole class goes
    "gate.max_membership_gap": None,
    "gate.max_ulira_accuracy": None,
    "gate.controls": False,  # so few members prove nothing
}
FORGOTTEN = {"b1": ("bad_teacher", "3"), "b2": ("ssd", "8")}


def read(project, *path):
    return json.loads(project.root.joinpath(*path).read_text())


def weights(project, batch):
    folder = project.root / "models" / batch
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


@pytest.fixture(scope="module")
def project(original, copy_project, prefect_home):
    """A copy in which two classes were asked for, sealed, planned and forgotten."""
    made = copy_project(original, "forgotten")
    made.change(SETTINGS)
    made.build("train")
    for batch, (method, label) in FORGOTTEN.items():
        made.cli("request", "add", "--label", label)
        sealed = json.loads(made.cli("seal", "--method", method, "--json"))
        assert sealed["batch"] == batch
        made.observed[f"plan {batch}"] = json.loads(made.cli("plan", batch, "--json"))
        made.cli("forget", batch)
        made.observed[f"tasks {batch}"] = task_states(prefect_home, made, batch)
    return made


@pytest.fixture(params=FORGOTTEN)
def batch(request):
    return request.param


def test_the_plan_names_method_and_promise(project, batch):
    plan = project.observed[f"plan {batch}"]
    assert plan["method"] == FORGOTTEN[batch][0]
    assert plan["guarantee"] == "approximate"
    assert plan["records"] > 100


def test_the_card_says_so_and_the_class_is_no_longer_known(project, batch):
    card = read(project, "models", batch, "model.json")
    assert card["method"] == FORGOTTEN[batch][0]
    accuracy = read(project, "evaluation", batch, "metrics.json")["accuracy"]
    assert accuracy["unlearned"]["forget"] < accuracy["parent"]["forget"] - 0.3
    assert accuracy["unlearned"]["test"] > 0.4


def test_dvc_has_nothing_left_to_do(project):
    assert "up to date" in project.dvc("status")
    assert "Running stage" not in project.dvc("repro")


def test_every_task_is_cached_in_a_second_run(project, prefect_home, batch):
    assert set(project.observed[f"tasks {batch}"]) == {"Completed"}
    before = weights(project, batch)
    project.cli("forget", batch)
    # One per shard: what SSD prepares is not asked for again.
    assert task_states(prefect_home, project, batch) == ["Cached"] * 4
    assert weights(project, batch) == before


def test_its_pool_is_judged_beside_the_oracles(project, batch):
    audit = read(project, "audit", batch, "audit.json")
    method, _ = FORGOTTEN[batch]
    assert {"oracle", "second oracle", "original", "none", method} <= set(audit["members"])
    assert set(audit["members"].values()) == {4}
    measured = {
        f["measure"]
        for f in audit["figures"]
        if f["contender"] == method and f["value"] is not None
    }
    assert {"performance", "klom", "ulira"} <= measured
    assert method in (project.root / "audit" / batch / "audit.html").read_text()


def test_the_report_shows_both(project):
    page = (project.root / "report" / "report.html").read_text()
    for batch, (method, _) in FORGOTTEN.items():
        assert batch in page
        assert method in page


def test_lineage_and_mlflow_know_who_came_from_whom_and_how(project):
    tree = json.loads(project.cli("lineage", "show", "--format", "json"))
    assert [(v["generation"], v["method"], v["guarantee"]) for v in tree["versions"]] == [
        ("original", "build", "exact"),
        *((batch, method, "approximate") for batch, (method, _) in FORGOTTEN.items()),
    ]
    assert [v["parent"] for v in tree["versions"]] == [None, 1, 2]
    with sqlite3.connect(project.root / "mlflow.db") as database:
        query = "select version, value from model_version_tags where key = 'unlearn.method'"
        assert dict(database.execute(query)) == {1: "build", 2: "bad_teacher", 3: "ssd"}
