"""The study of forests: deletions against the library, rows against arithmetic, and refusals."""

import csv
import json
from typing import Any

import numpy as np
import pytest

from forgetflow.config.model import ForestSettings
from forgetflow.config.settings import Settings
from forgetflow.errors import InputError, VerdictError
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.forest import Forest
from forgetflow.models.forest import settings_of
from forgetflow.records.record_set import RecordSet, build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.studies.forest import FOREST, ForestStudy, require_equal, rows_of
from forgetflow.studies.forest_grid import ForestGrid
from forgetflow.studies.forest_measure import (
    Deletion,
    Measured,
    cuts_of,
    measure_forest,
    measure_reference,
)
from forgetflow.studies.protocol import StudyData

SETTINGS = ForestSettings(trees=10, max_depth=8, low=-3.0, high=4.0, candidates=20)
ASKED = ForestGrid(
    (3, 0, 3), seeds=2, singles=5, rounds=2, candidates=30, batches=(20, 10), subjects=1
)


def make_records(count: int) -> RecordSet:
    rng = np.random.default_rng(count)
    labels = np.arange(count) % 3
    return build_record_set(
        RecordSchema(("a", "b", "c"), TensorFeatures((2, 3), "float32")),
        record_ids=[f"record-{i:04d}" for i in range(count)],
        subject_ids=[f"person-{i // 4:04d}" for i in range(count)],
        labels=labels,
        features=(rng.normal(size=(count, 2, 3)) + labels[:, None, None]).astype(np.float32),
        where="test",
    )


RECORDS, TEST = make_records(200), make_records(60)


def data_of(run_seed: int = 7, tests: RecordSet = TEST, **changes: Any) -> StudyData:
    forest = SETTINGS.model_copy(update=changes)
    chosen = Settings.model_validate({"run": {"seed": run_seed, "device": "cpu"}})
    chosen = chosen.model_copy(update={"model": chosen.model.model_copy(update={"forest": forest})})
    return StudyData(chosen, RECORDS, tests)


DATA = data_of()


def measured(random_depth: int, number: int, data: StudyData = DATA) -> Measured:
    return from_json(Measured, measure_forest(data, ASKED, random_depth, number))


@pytest.fixture(scope="module")
def forests() -> list[Measured]:
    return [measured(*cell) for cell in ASKED.cells]


def study_of(forests: list[Measured], tested: int = 60) -> ForestStudy:
    references = [{"accuracy": 0.75, "fit_seconds": 2.0}, {"accuracy": 0.85, "fit_seconds": 4.0}]
    facts = {"records": len(RECORDS), "test_records": tested}
    return ForestStudy.of(ASKED, facts, *rows_of(ASKED, forests[::-1], references))


def test_every_deletion_that_was_asked_for_is_made(forests: list[Measured]) -> None:
    assert [(t.random_depth, t.number) for t in forests] == [(0, 0), (0, 1), (3, 0), (3, 1)]
    for one in forests:
        kinds = [(d.kind, d.records) for d in one.deletions]
        assert kinds[:9] == [("single", 1)] * 5 + [("worst", 1)] * 2 + [
            ("batch", 10),
            ("batch", 20),
        ]
        ((kind, records),) = kinds[9:]
        assert kind == "subject"
        assert 1 <= records <= 4
        left = len(RECORDS) - np.cumsum([d.records for d in one.deletions])
        assert [d.refit_rows for d in one.deletions] == (10 * left).tolist()
        assert one.equal


def test_what_is_measured_is_the_library_on_the_records(forests: list[Measured]) -> None:
    chosen = settings_of(SETTINGS.model_copy(update={"random_depth": 3}), 8)
    inputs = RECORDS.inputs.reshape(200, 6)
    forest = Forest.fit(
        RECORDS.digests, inputs, RECORDS.labels, grid=cuts_of(DATA), classes=3, settings=chosen
    )
    found = forests[-1]
    right = forest.predict(TEST.inputs.reshape(60, 6)) == TEST.labels
    assert found.accuracy == right.mean()
    assert found.nodes == len(forest.state()["feature"])
    prices = {forest.price(RECORDS.digests[[row]]).rows_regrown for row in range(200)}
    assert found.deletions[0].rows in prices


def test_the_adversary_finds_what_is_costlier_than_its_candidates(forests: list[Measured]) -> None:
    for one in forests:
        for deletion in one.deletions:
            if deletion.kind == "worst":
                assert deletion.candidates is not None
                assert deletion.rows > deletion.candidates
            else:
                assert deletion.candidates is None


def test_the_same_seed_makes_the_same_deletions(forests: list[Measured]) -> None:
    again = measured(0, 1)
    other = measured(0, 1, data_of(9))

    def rows(one: Measured) -> list[int]:
        return [deletion.rows for deletion in one.deletions]

    assert rows(again) == rows(forests[1]) != rows(other)
    assert from_json(Measured, json.loads(json.dumps(to_json(again)))) == again


def test_a_forest_that_remembers_fails_the_study(
    forests: list[Measured], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Forest.delete

    def forgetful(self: Forest, digests: Any) -> Any:
        change = honest(self, digests)
        if change.records == 20:  # keeps one of them
            at = int(np.flatnonzero((RECORDS.digests == digests[0]).all(axis=1))[0])
            self.add(digests[:1], RECORDS.inputs[[at]].reshape(1, 6), RECORDS.labels[[at]])
        return change

    monkeypatch.setattr(Forest, "delete", forgetful)
    broken = measured(3, 1)
    assert not broken.equal
    study = study_of([*forests[:3], broken])
    assert to_json(study.check) == {"compared": 4, "equal": 3}
    with pytest.raises(VerdictError, match="1 of 4 forests are not byte-equal"):
        require_equal(study)
    require_equal(study_of(forests))


def test_rows_of_the_study_are_means_and_ratios() -> None:
    costs = {(0, 0): [10, 30], (0, 1): [20, 60], (3, 0): [0, 0], (3, 1): [0, 0]}
    forests = [
        Measured(
            random_depth=cell[0],
            number=cell[1],
            accuracy=0.8,
            fit_seconds=1.0,
            refit_seconds=0.9,
            nodes=5,
            megabytes=1.0,
            deletions=tuple(Deletion("single", 1, rows, 1, rows / 1000, 1200) for rows in found),
            equal=True,
        )
        for cell, found in costs.items()
    ]
    study = study_of(forests)
    row = study.depth(0)
    assert row["difference"] == pytest.approx(0.0)
    assert row["difference_sd"] == pytest.approx(np.std([0.05, -0.05], ddof=1))
    assert row["fit_ratio"] == pytest.approx(1 / 3)
    cost = study.deletion(0, "single")
    assert (cost["rows"], cost["rows_median"], cost["rows_most"]) == (30, 25, 60)
    assert cost["speedup_rows"] == pytest.approx(1200 / 30)
    assert cost["speedup_rows_median"] == pytest.approx(1200 / 25)
    assert cost["speedup_seconds"] == pytest.approx(0.9 / 0.03)
    assert study.deletion(3, "single")["speedup_rows"] is None, "nothing was grown again"
    assert {row["kind"] for row in study.deletions} == {"single"}


def test_too_few_test_records_are_said_in_words(forests: list[Measured]) -> None:
    assert "60 test records are too few" in str(study_of(forests).caution)
    assert study_of(forests, tested=10_000).caution is None


def test_the_reference_has_the_size_of_the_forest() -> None:
    data = data_of(0)
    found = measure_reference(data, ASKED, 0)
    assert found["accuracy"] > 0.8
    assert measure_reference(data, ASKED, 0)["accuracy"] == found["accuracy"]
    stump = data_of(0, max_depth=1, trees=1, features=100, share=0.5)
    accuracy = measure_reference(stump, ASKED, 0)["accuracy"]
    assert accuracy < 0.7, "one split parts two of three classes"


def test_every_forest_and_every_reference_is_a_trial() -> None:
    found = [(trial.measure, dict(trial.arguments)) for trial in FOREST.trials(DATA, ASKED)]
    assert [one for measure, one in found if measure == "forest"] == [
        {"random_depth": depth, "number": number} for depth, number in ASKED.cells
    ]
    assert [one for measure, one in found if measure == "reference"] == [
        {"number": number} for number in range(ASKED.seeds)
    ]


def test_files_hold_the_study(forests: list[Measured]) -> None:
    study = study_of(forests)
    files = {name: content.decode() for name, content in FOREST.files(study).items()}
    assert set(files) == {"forest.csv", "deletions.csv", "forest.json"}
    assert from_json(ForestStudy, json.loads(files["forest.json"])) == study
    rows = list(csv.DictReader(files["deletions.csv"].splitlines()))
    assert [r["kind"] for r in rows] == ["single", "worst", "batch", "batch", "subject"] * 2
    assert [r["records"] for r in rows if r["kind"] == "batch"] == ["10", "20"] * 2
    for text in files.values():
        assert "person-" not in text
        assert "record-0" not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depths": ()}, "--depths needs"),
        ({"depths": (-1,)}, "--depths needs"),
        ({"batches": (1,)}, "--batches takes"),
        ({"seeds": 0}, "--seeds must be"),
        ({"candidates": 0}, "--candidates must be"),
        ({"subjects": -1}, "--subjects must be"),
        ({"depths": (9,)}, "more than the 8 layers"),
        ({"subjects": 50}, "not fewer than the 50 subjects"),
        ({"singles": 90}, "at least half"),
    ],
)
def test_what_cannot_be_studied_is_refused(change: dict[str, Any], words: str) -> None:
    values = vars(ASKED) | change
    with pytest.raises(InputError, match=words):
        ForestGrid(**values).check(DATA)


def test_a_project_without_splits_or_test_records_is_refused() -> None:
    with pytest.raises(InputError, match="leaves no splits"):
        ASKED.check(data_of(max_depth=0))
    with pytest.raises(InputError, match="no test records"):
        ASKED.check(data_of(tests=TEST.take(np.arange(0))))
    ASKED.check(DATA)
    assert from_json(ForestGrid, json.loads(json.dumps(to_json(ASKED)))) == ASKED
