"""Settings and facts on the audit's page: records, models, settings, environment."""

from collections.abc import Mapping
from html import escape
from typing import Any

from forgetflow.audit.relearn import SETTINGS_TABLE
from forgetflow.pages.audit.view import View


def facts_card(view: View) -> str:
    """Return what a reader needs to compare this audit with another one."""
    audit = view.audit
    blocks: list[tuple[str, Mapping[str, Any]]] = [
        ("Records", audit.records),
        ("Models", {n: audit.members[n] for n in view.contenders if n in audit.members}),
        *(("Relearning", dict(row)) for row in audit.tables.get(SETTINGS_TABLE, ())[:1]),
    ]
    loose = {name: value for name, value in audit.facts.items() if not isinstance(value, Mapping)}
    blocks += [("Facts", loose)] if loose else []
    blocks += [(str(n), value) for n, value in audit.facts.items() if isinstance(value, Mapping)]
    cards = "".join(
        f"<div><h4>{escape(title)}</h4><table><tbody>{_pairs(values)}</tbody></table></div>"
        for title, values in blocks
    )
    return (
        '<h2>Settings and facts</h2><p class="hint">Figures of two audits compare only where '
        f'these agree.</p><div class="card"><div class="facts">{cards}</div></div>'
    )


COSTS = (
    ("Computing|seconds", "seconds"),
    ("Record|passes", "samples"),
    ("Passes over|retain set", "passes"),
    ("Optimizer|steps", "steps"),
    ("Model|bytes", "bytes"),
    ("Prepared|record passes", "prepared_samples"),
    ("Prepared|bytes", "prepared_bytes"),
    ("Tuning|seconds", "tuning_seconds"),
)
"""Column title in two lines, and the name in `Audit.costs`."""


def cost_card(view: View) -> str:
    """Return what a member of each contender costs, with what it presupposes and tuning."""
    costs = view.audit.costs
    shown = [name for name in view.contenders if name in costs]
    if not shown:
        return ""
    head = "".join(f"<th>{escape(t).replace('|', '<br>')}</th>" for t, _ in COSTS)
    rows = "".join(
        f"<tr><td>{escape(name)}</td>"
        + "".join(f"<td>{escape(_plain(_rounded(costs[name].get(key))))}</td>" for _, key in COSTS)
        + "</tr>"
        for name in shown
    )
    return (
        '<h2>Cost</h2><p class="hint">Mean of one member. Prepared is what must exist before: the '
        "training of the model to start from, and the checkpoints kept for it. Settings were "
        "given, not searched for, so nothing was spent on tuning; where you search, add it.</p>"
        f'<div class="card scroll"><table><thead><tr><th>Contender</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _rounded(value: float | None) -> float | None:
    if value is None:
        return None
    return float(f"{value:.3g}") if abs(value) < 1000 else round(value)


def _pairs(values: Mapping[str, Any]) -> str:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}: {inner}": one for inner, one in value.items()}
        else:
            flat[name] = value
    return "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(_plain(value))}</td></tr>"
        for name, value in flat.items()
    )


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, int | float):
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"
    return str(value)
