"""The report over all generations: one row each, as JSON and CSV.

    report/report.json   {"generations": [rows], "missing": generation -> column -> reason}
    report/report.csv    the same rows

A pure function of what lies in `models/` and `evaluation/`: no clock, no host name, no result
that is not read from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgetflow.config.project import Project
from forgetflow.evaluation.evaluate import Evaluation, read_evaluation, read_gate
from forgetflow.evaluation.gate import GateVerdict
from forgetflow.files.formats import csv_bytes, json_bytes
from forgetflow.training.card import ModelCard, read_card


@dataclass(frozen=True)
class Entry:
    """What the report knows of one generation.

    Attributes:
        card: the model card.
        evaluation: its metrics; empty where it was not evaluated.
        gate: the verdict, None where no gate was checked.
    """

    card: ModelCard
    evaluation: Evaluation
    gate: GateVerdict | None

    @property
    def promises_nothing(self) -> bool:
        """Whether only metrics speak for this generation."""
        return self.card.guarantee == "approximate"

    @property
    def model(self) -> str:
        """Name of this generation's own model among the evaluated ones."""
        return "original" if self.card.parent is None else "unlearned"


@dataclass(frozen=True)
class Summary:
    """The report's row of one generation.

    Attributes:
        values: column -> value, None where missing.
        missing: column -> why.
    """

    values: Mapping[str, str | int | float | None]
    missing: Mapping[str, str]


METRICS = {
    "forgotten_here": "records.forget",
    "test_accuracy": "accuracy.{model}.test",
    "test_accuracy_oracle": "accuracy.oracle.test",
    "forget_accuracy": "accuracy.{model}.forget",
    "forget_accuracy_oracle": "accuracy.oracle.forget",
    "membership_auc": "membership.{model}.auc",
    "membership_auc_oracle": "membership.oracle.auc",
    "ulira": "audit.ulira.value",
    "ulira_second_oracle": "audit.ulira.floor",
    "records_retrained": "points.counted",
    "records_full_retraining": "points.full_retraining",
    "seconds": "cost.unlearned.seconds",
    "seconds_full_retraining": "cost.full_retraining.seconds",
}
"""Columns that are metrics, and where they stand in `metrics.json`."""


def read_entries(project: Project) -> list[Entry]:
    """Read every generation of a project, parents before children.

    Raises:
        InputError: a card or an evaluation cannot be read.
    """
    entries = []
    for path in (project.root / "models").glob("[!.]*/model.json"):
        card = read_card(path.parent)
        folder = project.evaluation(card.generation)
        known = (folder / "metrics.json").is_file()
        evaluation = read_evaluation(folder) if known else Evaluation({}, {}, {})
        entries.append(Entry(card, evaluation, read_gate(folder)))
    return sorted(entries, key=lambda one: (len(one.card.manifests), one.card.generation))


def summarise(entry: Entry) -> Summary:
    """Return the row of one generation."""
    card, gate = entry.card, entry.gate
    values: dict[str, str | int | float | None] = {
        "generation": card.generation,
        "parent": card.parent,
        "method": card.method,
        "guarantee": card.guarantee,
        "records": card.records,
        "forgotten": card.forgotten,
    }
    missing: dict[str, str] = {}
    for column, template in METRICS.items():
        path = template.format(model=entry.model)
        values[column] = entry.evaluation.metric(path)
        if values[column] is None:
            missing[column] = explain(entry, path)
    values["gate"] = gate.words if gate else None
    if gate is None:
        missing["gate"] = "no gate was checked for this model"
    return Summary(values, missing)


def explain(entry: Entry, path: str) -> str:
    """Return why the metric at `path` is missing."""
    if not entry.evaluation.metrics:
        return "this model was not evaluated"
    if entry.card.parent is None and path != "accuracy.original.test":
        return "this is the first build: nothing was forgotten"
    return entry.evaluation.reason(path) or "not measured"


def report_files(entries: Sequence[Entry]) -> dict[str, bytes]:
    """Return file name -> content of the report over these generations, without its page."""
    rows = [summarise(entry) for entry in entries]
    summary: dict[str, Any] = {
        "generations": [row.values for row in rows],
        "missing": {str(row.values["generation"]): row.missing for row in rows if row.missing},
    }
    return {
        "report.json": json_bytes(summary),
        "report.csv": csv_bytes([row.values for row in rows]),
    }
