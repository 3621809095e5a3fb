"""Write the tables of docs/settings.md from the settings themselves: part of `make docs`.

The code in `forgetflow.config` is the one source of names, defaults, allowed values and units. The
page keeps what is written around its tables by hand.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from forgetflow.config.settings import Settings
from forgetflow.unlearning.registry import METHODS

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
BOUNDS = (
    ("minimum", "from {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "to {}"),
    ("exclusiveMaximum", "below {}"),
)
KINDS = {"string": "text", "integer": "whole number", "number": "number"}


def main() -> int:
    """Write the page; says whether anything changed."""
    before = PAGE.read_text()
    after = with_tables(before)
    PAGE.write_text(after)
    sys.stdout.write(f"docs/settings.md: {'as it was' if after == before else 'written'}\n")
    return 0


def with_tables(page: str) -> str:
    """Return the page with the tables of today's settings between its two marks.

    Raises:
        ValueError: a mark is missing.
    """
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    return head + BEGIN + tables() + END + tail


def tables() -> str:
    """Return a heading and a table for every block of `params.yaml`, and for those inside it."""
    return "".join(_block(path, block, own) for path, block, own in blocks(Settings()))


def blocks(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, BaseModel, int]]:
    """Yield path, values and depth (from 1) of every block, outer ones first."""
    for name in type(settings).model_fields:
        inner = getattr(settings, name)
        if isinstance(inner, BaseModel):
            path = f"{prefix}{name}"
            yield path, inner, path.count(".") + 1
            yield from blocks(inner, f"{path}.")


def _block(path: str, block: BaseModel, depth: int) -> str:
    schema = type(block).model_json_schema()["properties"]
    values = block.model_dump(mode="json")
    rows = [
        f"| `{name}` | `{_yaml(values[name])}` | {_allowed(f'{path}.{name}', schema[name])} "
        f"| {_meaning(field)} |\n"
        for name, field in type(block).model_fields.items()
        if not isinstance(getattr(block, name), BaseModel)
    ]
    about = inspect.cleandoc(type(block).__doc__ or "").partition("\n\n")[0]
    head = "| setting | default | values | meaning |\n|---|---|---|---|\n"
    table = f"\n{head}{''.join(rows)}" if rows else ""
    return f"\n{'#' * (depth + 1)} {path}\n\n{about}\n{table}"


def _yaml(value: Any) -> str:
    """Return a default as it is written in params.yaml."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else f"{value}"


def _allowed(path: str, schema: dict[str, Any]) -> str:
    """Say which values a setting takes."""
    if path == "unlearn.method":  # settings lie below the room that knows the methods
        return ", ".join(f"`{name}`" for name in METHODS)
    if options := schema.get("anyOf"):
        return ", or ".join(
            "`null`" if option.get("type") == "null" else _allowed(path, option)
            for option in options
        )
    if choices := schema.get("enum"):
        return ", ".join(f"`{choice}`" for choice in choices)
    if schema["type"] == "boolean":
        return "`true`, `false`"
    if schema["type"] == "array":
        return f"list: {_allowed(path, schema['items'])}"
    bounds = [words.format(_number(schema[key])) for key, words in BOUNDS if key in schema]
    return " ".join([KINDS[schema["type"]], *bounds])


def _number(bound: float) -> str:
    return "2^63" if bound == 2**63 else f"{bound:g}"


def _meaning(field: FieldInfo) -> str:
    return re.sub(r"([|<])", r"\\\1", field.description or "").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
