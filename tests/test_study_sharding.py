"""The study of sharding through Prefect and MLflow, on the real digits."""

import json
import sqlite3

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GRID = ("--shards", "1,4", "--slices", "1,3", "--requests", "1,8", "--seeds", "2", "--draws", "60")
FILES = {"sharding.csv", "points.csv", "paper.csv", "sharding.json", "sharding.html"}


@pytest.fixture(scope="module")
def studied(original, copy_project):
    """A project, and the study as it was printed the first time."""
    project = copy_project(original, "studied")
    project.change({"train.epochs": 5})
    project.observed["first"] = project.cli("study", "sharding", *GRID, "--json")
    return project


def test_the_files_are_there_and_name_nobody(studied, check_study):
    check_study(studied, "sharding", FILES)


def test_full_retraining_is_a_cell_and_gains_nothing(studied):
    found = json.loads(studied.observed["first"])
    assert [(c["shards"], c["slices"]) for c in found["cells"]] == [(1, 1), (1, 3), (4, 1), (4, 3)]
    assert all(cell["accuracy_mean"] > 0.6 for cell in found["cells"])
    alone = [p for p in found["points"] if (p["shards"], p["slices"]) == (1, 1)]
    assert all(point["speedup"] == 1 for point in alone)
    assert found["check"]["within"] >= found["check"]["compared"] - 3


def test_the_second_time_everything_comes_from_cache(studied, latest_tasks):
    again = studied.cli("study", "sharding", *GRID, "--json")
    assert again == studied.observed["first"]
    states = latest_tasks("study sharding")
    cells = {name: state for name, state in states.items() if not name.startswith("log")}
    assert len(cells) == 8
    assert set(cells.values()) == {"Cached"}
    with sqlite3.connect(studied.root / "mlflow.db") as database:
        kinds = [r[0] for r in database.execute("select value from tags where key = 'kind'")]
    assert kinds.count("study") == 1, "the same study is one run"
    assert list((studied.root / "mlartifacts").rglob("sharding.html"))


def test_other_requests_train_nothing_again(studied, latest_tasks):
    other = ["3,9" if one == "1,8" else one for one in GRID]
    assert "Page: studies/sharding/sharding.html" in studied.cli("study", "sharding", *other)
    states = latest_tasks("study sharding")
    assert {s for name, s in states.items() if name.startswith("build")} == {"Cached"}
    assert {s for name, s in states.items() if name.startswith("count")} == {"Completed"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shards", "9999"], "subjects of the training set"),
        (["--shards", "two"], "whole numbers"),
        (["--requests", "1000"], "is the most"),
        (["--seeds", "0"], "--seeds must be"),
    ],
)
def test_bad_input_is_one_sentence(studied, arguments, said):
    done = studied.run_cli("study", "sharding", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
