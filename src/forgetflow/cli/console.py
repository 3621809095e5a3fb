"""How the command line speaks: text for people, `--json` for scripts, one sentence for errors."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import typer

from forgetflow.pages import numbers

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
"""The option that every verb with a result has."""

"""What stands for a number of a study that is not there; its page says why."""


def emit(value: Any, as_json: bool, text: Callable[[], str]) -> None:
    """Print `value` as JSON, or the text made of it."""
    out = json.dumps(value, indent=2, ensure_ascii=False, default=str) if as_json else text()
    sys.stdout.write(out.rstrip("\n") + "\n")


def note(message: str) -> None:
    """Tell people something that is no result: on stderr, so that pipes stay clean."""
    if message:
        sys.stderr.write(message + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return left-aligned columns; cells of what is missing say why."""
    cells = [list(columns)] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def facts(pairs: Iterable[tuple[str, str | int]]) -> str:
    """Return `name  value` lines with aligned values; what is missing says why."""
    listed = list(pairs)
    width = max(len(name) for name, _ in listed)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in listed)


def percent(fraction: float) -> str:
    """Return a fraction as a percentage with one decimal."""
    return f"{100 * fraction:.1f} %"


def decimal(value: float) -> str:
    """Return a number such as an AUC with three decimals."""
    return f"{value:.3f}"


def seconds(value: float) -> str:
    """Return a duration as people say it, as the pages do."""
    return numbers.seconds(value).replace(numbers.NBSP, " ")
