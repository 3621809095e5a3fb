"""Audits and studies through DVC, Prefect and MLflow, on the real digits."""

import json
import signal
import sqlite3
import time

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SETTINGS = {
    "evaluate.audit": {
        "members": 6,
        "relearn": {"max_steps": 20, "members": 2},
        "inversion": {"steps": 5, "starts": 1, "members": 1},
    },
    "gate.min_test_accuracy": 0.5,
    "gate.max_test_accuracy_drop": None,  # a whole class goes
}


def read(project, *path):
    return json.loads(project.root.joinpath(*path).read_text())


def figures(audit):
    """Return the figures of an audit without what depends on the clock."""
    return {k: audit[k] for k in ("figures", "controls", "members", "records", "tables")}


def member_files(project):
    """Return path -> time of change of every member of a pool."""
    found = {}
    for path in (project.root / "store" / "objects").rglob("*.json"):
        if json.loads(path.read_text())["kind"] == "member":
            found[path.name] = path.stat().st_mtime_ns
    return found


@pytest.fixture(scope="module")
def built(original, copy_project):
    """A project with its original model and audits of its deletions; to be copied, not changed."""
    project = copy_project(original, "built")
    project.change(SETTINGS)
    project.build("train")
    return project


@pytest.fixture(scope="module")
def audited(built, copy_project):
    """A project in which one class was forgotten and its deletion audited."""
    project = copy_project(built, "audited")
    project.cli("request", "add", "--label", "3")
    project.cli("forget")
    return project


def test_every_deletion_is_audited(audited):
    audit = read(audited, "audit", "b1", "audit.json")
    assert set(audit["members"]) == {
        "oracle", "second oracle", "sisa", "original", "none", "finetune", "ascent",
    }  # fmt: skip
    assert set(audit["members"].values()) == {6}
    page = (audited.root / "audit" / "b1" / "audit.html").read_text()
    assert "second oracle" in page
    assert [c["contender"] for c in audit["controls"]][:2] == ["second oracle", "none"]


def test_a_forgotten_class_separates_the_contenders(audited):
    """Doing nothing knows the class, retraining does not: the sharpest case there is."""
    found = {
        f["contender"]: f["value"]
        for f in read(audited, "audit", "b1", "audit.json")["figures"]
        if (f["measure"], f["set"], f["statistic"]) == ("performance", "forget", "accuracy")
    }
    assert found["oracle"] == found["second oracle"] == found["sisa"] == 0.0
    assert found["none"] > 0.6
    assert found["original"] == found["none"]


def test_the_headline_reaches_metrics_gate_and_mlflow(audited):
    metrics = read(audited, "evaluation", "b1", "metrics.json")
    assert metrics["audit"]["members"] == 6
    assert metrics["audit"]["misbehaving"] == 0
    gate = {
        c["name"]: c["outcome"] for c in read(audited, "evaluation", "b1", "gate.json")["checks"]
    }
    assert gate["controls"] == "passed"
    assert gate["max_ulira_accuracy"] == "passed"
    with sqlite3.connect(audited.root / "mlflow.db") as database:
        logged = {row[0] for row in database.execute("select key from metrics")}
    assert "audit.ulira.value" in logged
    assert list((audited.root / "mlartifacts").rglob("audit/audit.html"))


def test_dvc_has_nothing_left_to_do(audited):
    assert "up to date" in audited.dvc("status")
    before = member_files(audited)
    assert len(before) == 6 * 6, "oracle, second oracle, original (also none), three methods"
    assert "Running stage" not in audited.dvc("repro")
    audited.cli("evaluate", "b1")
    assert member_files(audited) == before


def test_no_audit_file_names_a_record(audited):
    for path in (audited.root / "audit").rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert "writer-" not in text, path.name
            assert "digit-" not in text, path.name


def test_a_study_shares_pools_and_comes_from_cache_the_second_time(audited, latest_tasks):
    arguments = ("study", "methods", "--label", "8", "--records", "60", "--members", "4")
    first = json.loads(audited.cli(*arguments, "--compare", "sisa,retrain", "--json"))
    assert {"sisa", "retrain"} <= set(first["members"])
    before = member_files(audited)
    again = json.loads(audited.cli(*arguments, "--compare", "sisa,retrain", "--json"))
    assert again == first
    assert member_files(audited) == before
    assert latest_tasks("study methods")["audit"] == "Cached"
    assert (audited.root / "studies" / "methods" / "audit.html").is_file()
    more = json.loads(audited.cli(*arguments[:-1], "5", "--compare", "sisa", "--json"))
    assert set(more["members"].values()) == {5}
    grown = set(member_files(audited)) - set(before)
    assert len(grown) == 6, "one member more per pool, not five"
    with sqlite3.connect(audited.root / "mlflow.db") as database:
        kinds = [r[0] for r in database.execute("select value from tags where key = 'kind'")]
    assert kinds.count("study") == 2


def test_a_study_that_was_killed_goes_on(built, copy_project):
    project, fresh = (copy_project(built, name) for name in ("killed", "not-killed"))
    arguments = ("study", "methods", "--records", "60", "--members", "4", "--json")
    process = project.start(*arguments)
    deadline = time.monotonic() + 240
    while len(member_files(project)) < 2:
        assert process.running(), "it ended before it could be killed"
        assert time.monotonic() < deadline, "no member was made in time"
        time.sleep(0.01)
    process.send(signal.SIGKILL)
    process.wait()
    left = member_files(project)
    assert 2 <= len(left) < 4 * 6
    found = json.loads(project.cli(*arguments))
    assert {name: left[name] for name in left} == {
        name: when for name, when in member_files(project).items() if name in left
    }, "members that were there are not made again"
    assert figures(json.loads(fresh.cli(*arguments))) == figures(found)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--label", "11"], "no such class"),
        (["--batch", "b9"], "no batch 'b9'"),
        ([], "say what to forget"),
        (["--batch", "b1", "--label", "3"], "leave out"),
        (["--records", "99999"], "ask for fewer"),
        (["--label", "3", "--compare", "magic"], "unknown unlearning method"),
    ],
)
def test_bad_input_is_one_sentence(audited, arguments, said):
    done = audited.run_cli("study", "methods", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
