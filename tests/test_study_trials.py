"""Laws of every study: trials that can be tasks, a key for each, grids that survive their JSON."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flows.study import PAGES, key_of
from forgetflow.cli.study_tables import TEXTS
from forgetflow.config.settings import Settings
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.studies.arcane_grid import ArcaneGrid
from forgetflow.studies.forest_grid import ForestGrid
from forgetflow.studies.protocol import StudyData
from forgetflow.studies.registry import STUDIES
from forgetflow.studies.sharding_grid import ShardingGrid

GRIDS: dict[str, Any] = {
    "sharding": ShardingGrid((2,), (1,), (1,), 1, 30),
    "forest": ForestGrid((0, 2), 1, 1, 1, 5, (), 0),
    "arcane": ArcaneGrid(("gaussian",), (0.5,), (1,), (1,), 1, 30, (3,), None),
}
RNG = np.random.default_rng(0)


def records(count: int) -> Any:
    return build_record_set(
        RecordSchema(("a", "b"), TensorFeatures((4,), "float32")),
        record_ids=[f"record-{count}-{i}" for i in range(count)],
        subject_ids=[f"person-{i // 2}" for i in range(count)],
        labels=np.arange(count) % 2,
        features=RNG.random((count, 4)).astype(np.float32),
        where="test",
    )


SETTINGS = Settings.model_validate({"run": {"device": "cpu"}})
DATA = StudyData(SETTINGS, records(40), records(20))


def keys(name: str, data: StudyData = DATA) -> list[str]:
    study = STUDIES[name]
    return [key_of(study, trial) for trial in study.trials(data, GRIDS[name])]


def test_every_study_has_a_grid_here_a_page_and_a_text() -> None:
    assert STUDIES.keys() == GRIDS.keys() == PAGES.keys() == TEXTS.keys()


@pytest.mark.parametrize("name", STUDIES)
def test_trials_are_tasks(name: str) -> None:
    study, grid = STUDIES[name], GRIDS[name]
    grid.check(DATA)
    trials = study.trials(DATA, grid)
    assert {trial.measure for trial in trials} == study.measures.keys()
    for trial in trials:
        assert json.loads(json.dumps(trial.arguments)) == trial.arguments
    assert len({trial.title for trial in trials}) == len(trials)
    assert from_json(study.grid, json.loads(json.dumps(to_json(grid)))) == grid


@pytest.mark.parametrize("name", STUDIES)
def test_keys_tell_trials_and_records_apart(name: str) -> None:
    found = keys(name)
    assert found == keys(name)
    assert len(set(found)) == len(found)
    fewer = replace(DATA, records=DATA.records.take(np.arange(38)))
    assert not set(found) & set(keys(name, fewer))
