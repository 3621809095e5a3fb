"""Tables of a study's page, and the numbers in them."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from forgetflow.evaluation.wording import DASH, TIMES


def data_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that scrolls sideways; all columns but the first hold numbers."""

    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = ["", *[' class="n"'] * (len(cells) - 1)]
        pairs = zip(kinds, cells, strict=True)
        return f"<tr>{''.join(f'<{tag}{k}>{escape(c)}</{tag}>' for k, c in pairs)}</tr>"

    head, body = line("th", heads), "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def facts_card(facts: Mapping[str, Any]) -> str:
    """Return settings and counts as a card of names and values."""
    pairs = [
        (name.replace("_", " "), ", ".join(f"{k} {v}" for k, v in value.items()))
        if isinstance(value, dict)
        else (name.replace("_", " "), str(value))
        for name, value in facts.items()
    ]
    body = "".join(f"<tr><td>{escape(n)}</td><td>{escape(v)}</td></tr>" for n, v in pairs)
    return (
        f'<h2>Settings and facts</h2><div class="card"><table><tbody>{body}</tbody></table></div>'
    )


def times(value: Any) -> str:
    """Return a ratio as `4.5x` or `28x`, with the sign of multiplication, or a dash."""
    if not isinstance(value, int | float):
        return DASH
    return f"{value:.2g}{TIMES}" if value < 10 else f"{value:.0f}{TIMES}"
