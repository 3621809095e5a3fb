"""Run every measure, and keep the result as plain files that DVC can show and diff.

    evaluation/<generation>/metrics.json    nested numbers, nothing else
    evaluation/<generation>/reasons.json    why a metric is missing, by its dotted path
    evaluation/<generation>/gate.json       the gate's verdict
    evaluation/<generation>/*.csv           tables for plots

Everything is an aggregate; no file holds an id, a feature or the loss of one record.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgetflow.errors import InputError
from forgetflow.evaluation.context import EvaluationContext
from forgetflow.evaluation.gate import GateVerdict
from forgetflow.evaluation.metrics import metric, part, reason_for
from forgetflow.evaluation.registry import MEASURES
from forgetflow.files.atomic import write_folder
from forgetflow.files.formats import Row, csv_bytes, json_bytes, read_csv
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.code import code_digest, module_of

TEXTS = frozenset({"model", "set", "class"})
"""Columns of tables that are names; all others are numbers."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one generation.

    Attributes:
        metrics: nested mappings of numbers: measure -> model -> numbers. Missing ones are
            left out.
        reasons: dotted path -> why the metrics at or below it are missing.
        tables: file name -> rows.
    """

    metrics: Mapping[str, Any]
    reasons: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    def metric(self, path: str) -> float | int | None:
        """Return the number at a dotted path such as `accuracy.unlearned.test`, or None."""
        return metric(self.metrics, path)

    def reason(self, path: str) -> str | None:
        """Return why the metric at a dotted path is missing: the closest reason above it."""
        return reason_for(self.reasons, path)


def code() -> str:
    """Return the digest of the code that decides an evaluation."""
    return code_digest(__name__, *map(module_of, MEASURES.values()))


def evaluate(context: EvaluationContext) -> Evaluation:
    """Return the metrics and tables of all registered measures."""
    raw: dict[str, Any] = {"records": {name: context.size(name) for name in context.set_names}}
    tables: dict[str, Sequence[Row]] = {}
    for name, measure in MEASURES.items():
        raw[name] = measure.measure(context)
        tables |= measure.tables(context)
    metrics, reasons = part(raw)
    return Evaluation(metrics, reasons, tables)


def with_extra(evaluation: Evaluation, extra: Mapping[str, Any]) -> Evaluation:
    """Return the evaluation with further metrics, e.g. `points` and `cost`.

    Raises:
        ValueError: `extra` names a measure again, or holds something else than numbers.
    """
    metrics, reasons = part(extra)
    again = set(extra) & set(evaluation.metrics)
    if again:
        raise ValueError(f"measured already: {', '.join(sorted(again))}")
    return Evaluation(
        {**evaluation.metrics, **metrics}, {**evaluation.reasons, **reasons}, evaluation.tables
    )


def write_evaluation(
    evaluation: Evaluation,
    folder: Path,
    extra: Mapping[str, Any] | None = None,
    gate: GateVerdict | None = None,
) -> None:
    """Write the evaluation of a generation, replacing the whole folder, completely or not at all.

    Args:
        evaluation: from `evaluate`.
        folder: `Project.evaluation(generation)`.
        extra: further metrics, in the form that measures return.
        gate: the verdict, from `check_gate`.
    """
    whole = with_extra(evaluation, extra or {})
    files = {"metrics.json": json_bytes(whole.metrics), "reasons.json": json_bytes(whole.reasons)}
    if gate:
        files["gate.json"] = json_bytes(to_json(gate))
    files |= {name: csv_bytes(rows) for name, rows in whole.tables.items() if rows}
    write_folder(folder, files.items())


def read_evaluation(folder: Path) -> Evaluation:
    """Read what `write_evaluation` wrote; numbers of tables come back as numbers.

    Raises:
        InputError: there is no evaluation in `folder`, or it cannot be read.
    """
    try:
        metrics = json.loads((folder / "metrics.json").read_bytes())
        reasons = json.loads((folder / "reasons.json").read_bytes())
    except FileNotFoundError:
        raise InputError(f"no evaluation at {folder}: run `dvc repro` first") from None
    except json.JSONDecodeError:
        raise InputError(f"{folder} holds damaged metrics: run `dvc repro` again") from None
    tables = {path.name: read_csv(path, TEXTS) for path in sorted(folder.glob("*.csv"))}
    return Evaluation(metrics, reasons, tables)


def read_gate(folder: Path) -> GateVerdict | None:
    """Read the verdict in an evaluation folder; None where no gate was checked.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / "gate.json"
    try:
        return from_json(GateVerdict, json.loads(path.read_bytes())) if path.is_file() else None
    except ValueError:
        raise InputError(f"{path} is damaged: run `dvc repro` to write it again") from None
