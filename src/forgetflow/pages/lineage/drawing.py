"""The drawn family tree: where every version's card lies, and the lines between them.

Cards are HTML at fixed positions over one SVG with the lines, so that names of any length are
cut with an ellipsis and everything can be selected and searched.

    row 0      ● original
               │  batch b1: 12 records ...
    row 1      ●───────────┐
    row 2      ● (newest)  ● (sibling)
"""

from dataclasses import dataclass
from html import escape

from forgetflow.lineage.tree import count, day
from forgetflow.lineage.version import LineageTree, Version

WIDTH, HEIGHT = 444, 120
"""Size of a card, px."""

GAP_X, GAP_Y = 28, 58
"""Space between columns, and between rows for the label of the batch, px."""

MARKS = {"passed": "✓", "failed": "✕", "not checked": "–"}  # noqa: RUF001  signs, not letters
"""What a gate looks like beside its name."""


@dataclass(frozen=True)
class Place:
    """Column and row of a version, counted from the upper left."""

    column: int
    row: int

    @property
    def x(self) -> int:
        """Left edge, px."""
        return self.column * (WIDTH + GAP_X)

    @property
    def y(self) -> int:
        """Upper edge, px."""
        return self.row * (HEIGHT + GAP_Y)


def places(tree: LineageTree, top: Version) -> dict[int, Place]:
    """Return the place of `top` and all its descendants, by version number.

    The newest child stays in its parent's column; its siblings open new ones on the right.
    """
    found: dict[int, Place] = {}
    columns = 1
    pending = [(top, 0, 0)]
    while pending:
        version, column, row = pending.pop()
        found[version.number] = Place(column, row)
        children = tree.children(version)
        pending += [(child, columns + i, row + 1) for i, child in enumerate(children[:-1])]
        columns += max(len(children) - 1, 0)
        pending += [(child, column, row + 1) for child in children[-1:]]
    return found


def family(tree: LineageTree, top: Version) -> str:
    """Return the drawing of one original and everything that came from it, as HTML."""
    where = places(tree, top)
    width = max(place.x for place in where.values()) + WIDTH
    height = max(place.y for place in where.values()) + HEIGHT
    lines, labels, cards = [], [], []
    for number, place in where.items():
        version = tree.by_number[number]
        above = where.get(version.parent) if version.parent is not None else None
        if above is not None:
            lines.append(f'<path d="{_line(above, place)}"/>')
            labels.append(_label(version, place))
        cards.append(_card(tree, version, place))
    return (
        f'<div class="family" style="width:{width}px;height:{height}px">'
        f'<svg width="{width}" height="{height}" aria-hidden="true">{"".join(lines)}</svg>'
        f"{''.join(labels)}{''.join(cards)}</div>"
    )


def badge(guarantee: str) -> str:
    """Return the coloured name of a guarantee."""
    return f'<span class="badge {_class(guarantee)}">{escape(guarantee)}</span>'


def gate(version: Version) -> str:
    """Return the verdict of the gate with its mark."""
    mark = MARKS.get(version.gate, "")
    return f'<span class="gate {_class(version.gate)}">{mark} {escape(version.gate)}</span>'


def aliases(version: Version) -> str:
    """Return the aliases that point at a version."""
    return "".join(
        f'<span class="alias {_class(alias)}">{escape(alias)}</span>' for alias in version.aliases
    )


def state(version: Version) -> str:
    """Return how far the deletion has come, in words."""
    return escape(version.state.replace("_", " "))


def accuracy(tree: LineageTree, version: Version) -> str:
    """Return the test accuracy with its change against the parent, in percentage points."""
    if version.accuracy is None:
        return "–"  # noqa: RUF001
    text = f"{100 * version.accuracy:.1f} %"
    parent = tree.parent(version)
    if parent is None or parent.accuracy is None:
        return text
    change = 100 * (version.accuracy - parent.accuracy)
    signed = f"{change:+.1f}".replace("-", "−")  # noqa: RUF001  a minus sign
    return f"{text} <small>{signed} pp</small>"


def _line(above: Place, place: Place) -> str:
    x0, y0 = above.x + WIDTH // 2, above.y + HEIGHT
    x1, y1 = place.x + WIDTH // 2, place.y
    if x0 == x1:
        return f"M{x0} {y0}V{y1}"
    return f"M{x0} {y0}v1q0 6 6 6H{x1 - 6}q6 0 6 6V{y1}"


def _label(version: Version, place: Place) -> str:
    deletion = version.deletion
    if deletion is None:
        return ""
    return (
        f'<div class="edge" style="left:{place.x + WIDTH // 2 + 12}px;top:{place.y - 44}px">'
        f"batch <b>{escape(deletion.batch)}</b><br>{count(deletion.records, 'record')} in "
        f"{count(deletion.requests, 'request')}, {escape(day(deletion.sealed_at))}</div>"
    )


def _card(tree: LineageTree, version: Version, place: Place) -> str:
    deletion = version.deletion
    forgets = f"{deletion.records:,}" if deletion else "–"  # noqa: RUF001
    serving = " serving" if "serving" in version.aliases else ""
    return (
        f'<article class="card {_class(version.guarantee)}{serving}" id="v{version.number}"'
        f' style="left:{place.x}px;top:{place.y}px;width:{WIDTH}px;height:{HEIGHT}px">'
        f'<header><span class="number">v{version.number}</span>'
        f'<h3 title="{escape(version.generation)}">{escape(version.generation)}</h3>'
        f"{aliases(version)}</header>"
        f"<p>{badge(version.guarantee)}<span>{escape(version.method)}</span>"
        f"<span>gate {gate(version)}</span>"
        f'<span class="state">{state(version)}</span></p>'
        f"<dl><div><dt>Forgotten</dt><dd>{forgets}</dd></div>"
        f"<div><dt>Records left</dt><dd>{version.records:,}</dd></div>"
        f"<div><dt>Test accuracy</dt><dd>{accuracy(tree, version)}</dd></div></dl></article>"
    )


def _class(text: str) -> str:
    return "".join(c for c in text if c.isalnum())
