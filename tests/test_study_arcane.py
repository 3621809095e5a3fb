"""The study of ARCANE through Prefect and MLflow, on the real digits."""

import json
import sqlite3

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GRID = (
    "--shares", "0.5", "--blocks", "1,3", "--requests", "1,8", "--seeds", "1", "--draws", "30",
    "--hidden", "16",
)  # fmt: skip
FILES = {"models.csv", "deletions.csv", "orders.csv", "arcane.json", "arcane.html"}
TASKS = 3 + 2 * 4 + 4 + 2
"""Networks, heads times selections, counted selections, SISA and orders."""


@pytest.fixture(scope="module")
def studied(original, copy_project):
    """A project of SISA shards, and the study as it was printed the first time."""
    project = copy_project(original, "arcane")
    project.change({"train.epochs": 5})
    project.observed["first"] = project.cli("study", "arcane", *GRID, "--json")
    return project


def test_the_files_are_there_and_name_nobody(studied, check_study):
    check_study(studied, "arcane", FILES)


def test_all_contenders_are_measured(studied):
    found = json.loads(studied.observed["first"])
    assert {row["model"] for row in found["models"]} == {"joint", "sisa", "gaussian", "autoencoder"}
    assert {row["selection"] for row in found["models"]} == {"all", "joint", "threshold", "random"}
    best = [r["accuracy"] for r in found["models"] if (r["model"], r["share"]) == ("gaussian", 1)]
    assert min(best) > 0.95
    assert found["facts"]["classes"] == 10


def test_the_second_time_everything_comes_from_cache(studied, latest_tasks):
    assert studied.cli("study", "arcane", *GRID, "--json") == studied.observed["first"]
    states = latest_tasks("study arcane")
    cells = {name: state for name, state in states.items() if not name.startswith("log")}
    assert len(cells) == TASKS
    assert set(cells.values()) == {"Cached"}
    with sqlite3.connect(studied.root / "mlflow.db") as database:
        kinds = [r[0] for r in database.execute("select value from tags where key = 'kind'")]
    assert kinds.count("study") == 1, "the same study is one run"
    assert list((studied.root / "mlartifacts").rglob("arcane.html"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--heads", "svdd"], "--heads takes"),
        (["--shares", "half"], "takes numbers"),
        (["--blocks", "9999"], "smallest class"),
        (["--requests", "1000"], "is the most"),
    ],
)
def test_bad_input_is_one_sentence(studied, arguments, said):
    done = studied.run_cli("study", "arcane", *arguments)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
