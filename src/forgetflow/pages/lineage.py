"""The lineage page: the family tree of models, drawn by hand, and a table of all versions.

Cards are HTML at fixed places over one SVG with the lines, so that names of any length are cut
with an ellipsis and everything can be selected and searched.

    row 0      ● original
               │  batch b1: 12 records ...
    row 1      ●───────────┐
    row 2      ● (newest)  ● (sibling)
"""

from dataclasses import dataclass
from typing import Any

from forgetflow.lineage.story import ALIASES, GUARANTEES, LIMIT
from forgetflow.lineage.tree import day
from forgetflow.lineage.version import LineageTree, Version
from forgetflow.pages.numbers import DASH, NBSP, amount, count, percent, pp
from forgetflow.pages.render import render

WIDTH, HEIGHT = 444, 120
"""Size of a card, px."""

GAP_X, GAP_Y = 28, 58
"""Space between columns, and between rows for the label of the batch, px."""

MARKS = {"passed": "✓", "failed": "✕", "not checked": DASH}
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


def lineage_page(tree: LineageTree) -> str:
    """Return the page of a tree."""
    return render(
        "lineage",
        tree=tree,
        serving=tree.aliased("serving"),
        tiles=_tiles(tree),
        families=[_family(tree, top) for top in tree.tops],
        versions=[_facts(tree, version) for version in reversed(tree.versions)],
        size=(WIDTH, HEIGHT),
        guarantees=GUARANTEES,
        limit=LIMIT,
        aliases=ALIASES,
    )


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


def _tiles(tree: LineageTree) -> list[tuple[str, str]]:
    """Return big numbers and what they are."""
    if not tree.versions:
        return []
    candidate = tree.aliased("candidate") or tree.versions[-1]
    batches = [version.deletion for version in tree.path(candidate) if version.deletion]
    serving = tree.aliased("serving")
    return [
        (amount(len(tree.versions)), "versions"),
        (f"v{serving.number}" if serving else "none", "being served"),
        (f"v{candidate.number}", "newest"),
        (amount(len(batches)), "batches up to the newest"),
        (amount(sum(batch.requests for batch in batches)), "deletion requests"),
        (amount(candidate.forgotten), "records forgotten"),
    ]


def _family(tree: LineageTree, top: Version) -> dict[str, Any]:
    """Return the drawing of one original and everything that came from it."""
    where = places(tree, top)
    heir = next((v for v in tree.versions if v.supersedes == top.number), None)
    note = ""
    if heir is not None:
        note = f"Superseded by v{heir.number}, a rebuilt original."
    elif top.parent is not None:
        note = f"v{top.parent} is no longer registered."
    return {
        "note": note,
        "width": max(place.x for place in where.values()) + WIDTH,
        "height": max(place.y for place in where.values()) + HEIGHT,
        "lines": [
            _line(where[parent], place)
            for number, place in where.items()
            if (parent := tree.by_number[number].parent) in where and parent is not None
        ],
        "cards": [
            _facts(tree, tree.by_number[number]) | {"place": place}
            for number, place in where.items()
        ],
    }


def _facts(tree: LineageTree, version: Version) -> dict[str, Any]:
    """Return what cards and rows say of a version."""
    deletion, parent = version.deletion, tree.parent(version)
    change = ""
    if version.accuracy is not None and parent is not None and parent.accuracy is not None:
        change = f"{pp(version.accuracy - parent.accuracy)}{NBSP}pp"
    batch = ""
    if deletion is not None:
        batch = f"{count(deletion.records, 'record')} in {count(deletion.requests, 'request')}"
    return {
        "version": version,
        "guarantee": _class(version.guarantee),
        "gate": f"{MARKS.get(version.gate, '')} {version.gate}",
        "gate_class": _class(version.gate),
        "state": version.state.replace("_", " "),
        "accuracy": percent(version.accuracy),
        "change": change,
        "batch": batch,
        "sealed": day(deletion.sealed_at) if deletion else "",
        "due": day(deletion.due_at) if deletion else "",
        "digests": [
            (name, digest)
            for name, digest in (
                ("weights", version.weights),
                ("manifest", deletion.manifest if deletion else None),
                ("certificate", version.certificate),
            )
            if digest
        ],
    }


def _line(above: Place, place: Place) -> str:
    """Return the path from a card down to a card of its children."""
    x0, y0 = above.x + WIDTH // 2, above.y + HEIGHT
    x1, y1 = place.x + WIDTH // 2, place.y
    if x0 == x1:
        return f"M{x0} {y0}V{y1}"
    return f"M{x0} {y0}v1q0 6 6 6H{x1 - 6}q6 0 6 6V{y1}"


def _class(text: str) -> str:
    """Return the letters of a word that anybody may have chosen."""
    return "".join(c for c in text if c.isalnum())
