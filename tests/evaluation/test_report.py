import csv
import json

import numpy as np
import pytest

from forgetflow.config.gate import GateSettings
from forgetflow.config.project import Project
from forgetflow.evaluation.evaluate import Evaluation, evaluate, with_extra, write_evaluation
from forgetflow.evaluation.gate import check_gate
from forgetflow.evaluation.report import Entry, read_entries, report_files, summarise
from forgetflow.files.jsonable import to_json


@pytest.fixture
def deletion(attacked, make_card):
    """Return a maker of entries of a generation that forgot 20 records."""

    def make(batch="b1", **changes):
        unseen = np.linspace(0.05, 0.6, 20)
        context = attacked(
            unlearned=(unseen, unseen), parent=(unseen / 20, unseen), oracle=(unseen * 1.01, unseen)
        )
        extra = {"points": {"counted": 1500, "full_retraining": 6000.0}}
        evaluation = with_extra(evaluate(context), extra)
        facts = {"parent": "original", "method": "sisa", "forgotten": 20, "manifests": ("0",)}
        card = make_card(batch, **(facts | changes))
        gate = check_gate(evaluation.metrics, GateSettings(), card.guarantee, 20)
        return Entry(card, evaluation, gate)

    return make


@pytest.fixture
def original(make_card, attacked):
    context = attacked(original=(np.full(20, 0.1), np.full(20, 0.1)))
    alone = type(context)(context.models, {"test": context.sets["test"]}, context.settings)
    evaluation = evaluate(alone)
    gate = check_gate(evaluation.metrics, GateSettings(), "exact", 0, evaluation.reasons)
    return Entry(make_card(), evaluation, gate)


def test_a_row_holds_what_was_measured(deletion) -> None:
    values = summarise(deletion()).values
    assert values["generation"] == "b1"
    assert (values["method"], values["guarantee"]) == ("sisa", "exact")
    assert values["forget_accuracy"] == deletion().evaluation.metric("accuracy.unlearned.forget")
    assert values["membership_auc_oracle"] == deletion().evaluation.metric("membership.oracle.auc")
    assert (values["records_retrained"], values["records_full_retraining"]) == (1500, 6000.0)
    assert values["seconds"] is None
    assert summarise(deletion()).missing["seconds"] == "not measured"


def test_a_project_is_read_parents_first_and_written_the_same_twice(
    tmp_path, original, deletion
) -> None:
    project = Project(tmp_path)
    first, second = deletion("z-first"), deletion("a-second", manifests=("0", "1"))
    for entry in (second, original, first):
        folder = project.model(entry.card.generation)
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(json.dumps(to_json(entry.card)))
        if entry is not second:
            write_evaluation(
                entry.evaluation, project.evaluation(entry.card.generation), gate=entry.gate
            )
    entries = read_entries(project)
    assert [one.card.generation for one in entries] == ["original", "z-first", "a-second"]
    assert entries[1] == first
    assert entries[2].evaluation == Evaluation({})

    files = report_files(entries)
    assert sorted(files) == ["report.csv", "report.json"]
    assert report_files(read_entries(project)) == files

    report = json.loads(files["report.json"])
    assert [row["generation"] for row in report["generations"]] == [
        "original",
        "z-first",
        "a-second",
    ]
    assert report["missing"]["a-second"]["test_accuracy"] == "this model was not evaluated"
    rows = list(csv.DictReader(files["report.csv"].decode().splitlines()))
    assert float(rows[1]["records_retrained"]) == 1500
    assert rows[2]["gate"] == ""
