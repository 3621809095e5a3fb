"""Metrics of one generation: rounded and named; a metric that is missing says why."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from forgetflow.cli.console import decimal, facts, percent, seconds

if TYPE_CHECKING:
    from forgetflow.evaluation.report import Entry, Summary

Show = Callable[[float], str]

MEASURED: tuple[tuple[str, str, Show], ...] = (
    ("test accuracy", "accuracy.{}.test", percent),
    ("retain accuracy", "accuracy.{}.retain", percent),
    ("forget accuracy", "accuracy.{}.forget", percent),
    ("membership attack AUC", "membership.{}.auc", decimal),
)
"""What `evaluate` prints: name, dotted path with a place for the model, how it is written."""


def generation(row: "Summary") -> str:
    """Show the report's row of one generation."""
    values = row.values
    return facts(
        [
            ("generation", f"{values['generation']} from {values['parent']}"),
            ("method", f"{values['method']} ({values['guarantee']})"),
            ("forgotten", _forgotten(row)),
            ("test accuracy", _beside(percent, row, "test_accuracy", "oracle")),
            ("forget accuracy", _beside(percent, row, "forget_accuracy", "oracle")),
            ("retrained", _retrained(row)),
            ("audit", _audit(row)),
            ("training time", _beside(seconds, row, "seconds", "full_retraining")),
            ("gate", row.missing.get("gate") or str(values["gate"])),
        ]
    )


def evaluation(entry: "Entry", against: str) -> str:
    """Show what was measured of a generation, in brackets the same of the model beside it."""
    card, measured = entry.card, entry.evaluation
    lines = [("generation", f"{card.generation}: {card.method} ({card.guarantee})")]
    alone: dict[str, list[str]] = {}
    for name, template, show in MEASURED:
        own, other = (measured.metric(template.format(m)) for m in (entry.model, against))
        if own is None:
            lines.append((name, f"none: {_why(entry, template.format(entry.model))}"))
        elif other is None:
            lines.append((name, show(own)))
            alone.setdefault(_why(entry, template.format(against)), []).append(name)
        else:
            lines.append((name, f"{show(own)} ({against} {show(other)})"))
    for why, names in alone.items():
        lines.append((against, f"no {', no '.join(names)}: {why}"))
    gate = entry.gate
    return facts([*lines, ("gate", gate.words if gate else "no gate was checked for this model")])


def _why(entry: "Entry", path: str) -> str:
    """Return why the metric at a path is missing."""
    from forgetflow.evaluation.report import explain

    reason, model = explain(entry, path), path.split(".")[1]
    if reason != "not measured":
        return reason
    if model == "oracle":
        return "no oracle was trained, evaluate.oracle is false"
    return f"not measured for the {model}"


def _number(row: "Summary", column: str) -> float | None:
    value = row.values[column]
    return value if isinstance(value, int | float) else None


def _forgotten(row: "Summary") -> str:
    here, left = _number(row, "forgotten_here"), f"{_number(row, 'records'):,.0f} left"
    if here is None:
        return f"not counted: {row.missing['forgotten_here']}; {left}"
    return f"{here:,.0f} record(s), {left}"


def _retrained(row: "Summary") -> str:
    retrained, full = (_number(row, f"records_{n}") for n in ("retrained", "full_retraining"))
    if retrained is None:
        return f"not counted: {row.missing['records_retrained']}"
    return f"{retrained:,.0f}{'' if full is None else f' of {full:,.0f}'} record passes"


def _audit(row: "Summary") -> str:
    """Return the headline of a generation's audit and where its page is, or why there is none."""
    ulira, floor = _number(row, "ulira"), _number(row, "ulira_second_oracle")
    if ulira is None:
        return row.missing["ulira"]
    beside = "guessing 0.5" if floor is None else f"second oracle {decimal(floor)}, guessing 0.5"
    page = f"audit/{row.values['generation']}/audit.html"
    return f"U-LiRA {decimal(ulira)} ({beside}); {page}"


def _beside(show: Show, row: "Summary", column: str, other: str) -> str:
    """Return a metric and, in brackets, the one it is compared with."""
    own, reference = _number(row, column), _number(row, f"{column}_{other}")
    if own is None:
        return f"none: {row.missing[column]}"
    name = other.replace("_", " ")
    if reference is None:
        return f"{show(own)} (no {name}: {row.missing[f'{column}_{other}']})"
    return f"{show(own)} ({name} {show(reference)})"
