"""Settings and facts on the audit's page: records, models, settings, environment."""

from collections.abc import Mapping
from html import escape
from typing import Any

from forgetflow.evaluation.audit.page_view import View
from forgetflow.evaluation.audit.relearn import SETTINGS_TABLE


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
