"""The study of forests through Prefect and MLflow, on the real digits."""

import json
import os
import sqlite3
from dataclasses import replace

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ASKED = (
    *("--depths", "0,3", "--seeds", "2", "--singles", "10", "--rounds", "1", "--candidates", "50"),
    *("--batches", "20", "--subjects", "1"),
)
FILES = {"forest.csv", "deletions.csv", "forest.json", "forest.html"}


@pytest.fixture(scope="module")
def studied(new_project):
    """A project with imported records and nothing else, and the study as it was first printed."""
    project = new_project("studied-forest", {"model.forest": {"trees": 20, "max_depth": 12}})
    project.cli("data", "import", "digits")
    project.observed["first"] = project.cli("study", "forest", *ASKED, "--json")
    return project


def test_the_files_are_there_and_name_nobody(studied, check_study):
    check_study(studied, "forest", FILES)


def test_deletions_are_exact_and_cheaper_than_a_refit(studied):
    found = json.loads(studied.observed["first"])
    assert found["check"] == {"compared": 4, "equal": 4}
    assert found["facts"]["forest"]["trees"] == 20
    assert [row["random_depth"] for row in found["depths"]] == [0, 3]
    for row in found["depths"]:
        assert row["accuracy"] > 0.9
        assert abs(row["difference"]) < 0.05
    rows = {(r["random_depth"], r["kind"]): r for r in found["deletions"]}
    assert len(rows) == 8
    for depth in (0, 3):
        one, worst = rows[depth, "single"], rows[depth, "worst"]
        assert one["speedup_rows"] > worst["speedup_rows"] > 1
        assert worst["rows"] > worst["candidates_rows"]


def test_the_second_time_everything_comes_from_cache(studied, latest_tasks):
    again = studied.cli("study", "forest", *ASKED, "--json")
    assert again == studied.observed["first"]
    states = latest_tasks("study forest")
    cells = {name: state for name, state in states.items() if not name.startswith("log")}
    assert len(cells) == 6
    assert set(cells.values()) == {"Cached"}
    with sqlite3.connect(studied.root / "mlflow.db") as database:
        kinds = [r[0] for r in database.execute("select value from tags where key = 'kind'")]
    assert kinds.count("study") == 1, "the same study is one run"
    assert list((studied.root / "mlartifacts").rglob("forest.html"))


def test_more_depths_measure_only_what_is_new(studied, latest_tasks):
    more = ["0,1,3" if one == "0,3" else one for one in ASKED]
    said = studied.cli("study", "forest", *more)
    assert "6 of 6 forests are byte-equal" in said
    assert "Page: studies/forest/forest.html" in said
    states = latest_tasks("study forest")
    new = {name for name, state in states.items() if state == "Completed" and "forest" in name}
    assert new == {f"forest 1 random layers, seed {number}" for number in range(2)}
    assert {s for name, s in states.items() if name.startswith("scikit-learn")} == {"Cached"}


FORGETFUL = """
from functools import wraps

from forgetflow.studies import forest_measure

honest = forest_measure.measure_forest


@wraps(honest)
def measure_forest(*given, random_depth, number):
    found = honest(*given, random_depth=random_depth, number=number)
    return found | {"equal": random_depth == 0}


forest_measure.measure_forest = measure_forest
"""


def test_a_forest_that_is_not_the_refit_fails_the_command_after_writing(studied, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(FORGETFUL)
    paths = [str(tmp_path), *filter(None, [studied.environment.get("PYTHONPATH")])]
    environment = studied.environment | {"PYTHONPATH": os.pathsep.join(paths)}
    other = ["11" if one == "10" else one for one in ASKED]  # nothing of it is cached
    done = replace(studied, environment=environment).run("forgetflow", "study", "forest", *other)
    assert done.returncode == 3
    assert "2 of 4 forests are not byte-equal" in done.stderr
    found = json.loads((studied.root / "studies" / "forest" / "forest.json").read_text())
    assert found["check"] == {"compared": 4, "equal": 2}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--depths", "13"], "layers of model.forest.max_depth"),
        (["--depths", "two"], "whole numbers"),
        (["--singles", "800"], "at least half"),
        (["--subjects", "9999"], "subjects of the training set"),
    ],
)
def test_bad_input_is_one_sentence(studied, arguments, said):
    done = studied.run_cli("study", "forest", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
