"""Settings and facts as blocks of names and values, so that two results can be compared."""

from collections.abc import Mapping
from typing import Any

Block = tuple[str, list[tuple[str, str]]]
"""Title, and pairs of name and value."""


def blocks(facts: Mapping[str, Any]) -> list[Block]:
    """Return what stands alone in one block, and a block for every mapping."""
    alone = {name: value for name, value in facts.items() if not isinstance(value, Mapping)}
    inner = [block(str(n), value) for n, value in facts.items() if isinstance(value, Mapping)]
    return ([block("facts", alone)] if alone else []) + inner


def block(title: str, values: Mapping[str, Any]) -> Block:
    """Return a block; a mapping among the values gives a pair per entry, under both names."""
    return _capital(title.replace("_", " ")), _pairs(values)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = value.items() if isinstance(value, Mapping) else ()
        flat |= {f"{name}: {key}": one for key, one in inner} or {name: value}
    return [(name.replace("_", " "), _plain(value)) for name, value in flat.items()]


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, int | float):
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"
    return "none" if value is None else str(value)
