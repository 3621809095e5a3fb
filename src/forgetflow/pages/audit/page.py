"""The audit as a page.

columns.py   title, unit and kind of every estimate
view.py      who stands in which row, and how an estimate stands to the floor
tables.py    the estimates at a glance, every estimate of every measure, cost
charts.py    margins, accuracy, cost against distance
"""

from collections.abc import Sequence
from typing import Any

from forgetflow.audit.audit import Audit
from forgetflow.audit.memorisation import TABLE as TERCILES
from forgetflow.audit.registry import AUDITS
from forgetflow.audit.relearn import SETTINGS_TABLE
from forgetflow.pages.audit.charts import accuracy_charts, cost_charts, margin_charts
from forgetflow.pages.audit.columns import column
from forgetflow.pages.audit.tables import (
    confusion_table,
    cost_table,
    glance_places,
    glance_table,
    measure_tables,
)
from forgetflow.pages.audit.view import View
from forgetflow.pages.facts import Block, block, blocks
from forgetflow.pages.numbers import amount, count, decimal, percent
from forgetflow.pages.render import render
from forgetflow.pages.table import Notes

TONES = {"behaves": "", "misbehaves": "failed", "no power": "skipped"}
"""How an outcome of a control is coloured."""


def audit_page(audit: Audit) -> str:
    """Return the page of one audit; those of unknown measures go by their own name."""
    view = View(audit)
    names = dict.fromkeys([*AUDITS, *(estimate.measure for estimate in audit.estimates)])
    said = [control.sentence for control in audit.controls if control.outcome == "no power"]
    return render(
        "audit",
        audit=audit,
        lead=_lead(view),
        powerless=_capital("; ".join(said)),
        verdicts=[*_methods(view), *_controls(audit)],
        glance=glance_table(view),
        margins=margin_charts(view),
        accuracy=accuracy_charts(view),
        distance=cost_charts(view),
        sections=[_section(view, name) for name in names if view.places(name)],
        cost=cost_table(view),
        facts=_facts(view),
    )


def _lead(view: View) -> str:
    records, (fewest, most) = view.audit.records, view.members
    models = count(most, "model") if fewest == most else f"{fewest} to {most} models"
    methods = view.methods
    if methods:
        verb = "Does" if len(methods) == 1 else "Do"
        question = f"{verb} {_listed(methods)} forget as if the model had been retrained?"
    else:
        question = "Only controls were run: no method is under audit."
    return (
        f"{question} {count(records['forget'], 'record')} forgotten, "
        f"{amount(records['retain'])} kept, {amount(records['test'])} to test on; {models} per "
        f"contender, compared with as many retrained without the forgotten records, and with a "
        "second such pool that shows what seeds alone do."
    )


def _methods(view: View) -> list[tuple[str, str, str, str]]:
    """Return badge and sentence per method; none while a control misbehaves."""
    methods = [] if view.audit.misbehaving else view.methods
    return [_verdict(view, method) for method in methods]


def _controls(audit: Audit) -> list[tuple[str, str, str, str]]:
    return [
        (TONES[one.outcome], one.outcome, one.contender, f"{one.sentence}.")
        for one in audit.controls
    ]


def _verdict(view: View, method: str) -> tuple[str, str, str, str]:
    places = glance_places(view)
    sides = {place: side for place in places if (side := view.side(method, place)) is not None}
    apart = {place: side for place, side in sides.items() if side != "within"}
    cost = view.audit.costs.get(method, {}).get("of_retrain")
    ending = f" It trained on {percent(cost)} of an oracle's samples." if cost is not None else ""
    if not sides:
        return "", "not judged", method, f"its estimates have no intervals to judge by.{ending}"
    if apart:
        parts = (
            f"{places[place].words} {column(place).unit(view.value(method, place) or 0)} ({side})"
            for place, side in apart.items()
        )
        sentence = f"apart from retrained models in {len(apart)} of {len(sides)} main estimates: "
        return "skipped", "differs", method, f"{sentence}{', '.join(parts)}.{ending}"
    sentence = f"cannot be told from retraining by any of {len(sides)} main estimates"
    if view.audit.powerless:
        sentence += ", but neither can doing nothing"
    return "", "no difference", method, f"{sentence}.{ending}"


def _section(view: View, name: str) -> dict[str, Any]:
    """Return everything about one measure."""
    measure, notes = AUDITS.get(name), Notes()
    return {
        "name": name,
        "title": measure.title if measure else name,
        "reading": measure.reading if measure else "",
        "tables": measure_tables(view, name, notes),
        "notes": notes,
        "terciles": _terciles(view) if name == "memorisation" else "",
        "confusion": confusion_table(view) if name == "confusion" else None,
    }


def _terciles(view: View) -> str:
    return ", ".join(
        f"{row['tercile']}: {amount(row['records'])} at {decimal(row['memorisation'])}"
        for row in view.audit.tables.get(TERCILES, ())
    )


def _facts(view: View) -> list[Block]:
    """Return what a reader needs to compare this audit with another one."""
    audit = view.audit
    members = {name: audit.members[name] for name in view.contenders if name in audit.members}
    relearning = audit.tables.get(SETTINGS_TABLE, ())[:1]
    return [
        block("records", audit.records),
        block("models", members),
        *(block("relearning", row) for row in relearning),
        *blocks(audit.facts),
    ]


def _listed(names: Sequence[str]) -> str:
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
