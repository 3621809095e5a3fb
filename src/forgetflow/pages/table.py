"""Tables as data: cells with what stands below them, and footnotes for numbers that are missing."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

ROOMY = 12
"""Columns up to which a table of text need not be dense."""


class Cell(NamedTuple):
    """One cell.

    Attributes:
        text: the number or the words.
        below: smaller lines under it.
        missing: why there is no number: a dash and a footnote stand for it.
        note: what must be known of the number, as a footnote.
        side: where it lies to what retrained models reach; marked if above or below.
        badge: kind of a badge around the text: passed, failed, skipped, none.
        link: address that the text leads to.
        soft: whether it is no number but a remark.
    """

    text: str = ""
    below: tuple[str, ...] = ()
    missing: str = ""
    note: str = ""
    side: Literal["above", "below", "within"] | None = None
    badge: str = ""
    link: str = ""
    soft: bool = False


class Head(NamedTuple):
    """Head of a column.

    Attributes:
        title: a few words.
        below: a smaller line.
        note: a footnote on all its numbers.
        words: whether the column holds words, not numbers.
    """

    title: str
    below: str = ""
    note: str = ""
    words: bool = False


class Line(NamedTuple):
    """One row, and the class that sets it off from others."""

    cells: Sequence[Cell | str]
    kind: str = ""


@dataclass
class Notes:
    """Footnotes below one or several tables: equal ones share a number."""

    reasons: list[str] = field(default_factory=list)

    def number(self, reason: str) -> int:
        """Return the number of a footnote, from 1."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1


class Table(NamedTuple):
    """One table; the first column names what a row is about.

    Attributes:
        heads: one per column.
        lines: the rows.
        notes: where its footnotes are gathered.
        groups: title and number of columns of heads above the heads.
        kind: classes that say how it is laid out.
    """

    heads: Sequence[Head | str]
    lines: Sequence[Line]
    notes: Notes
    groups: Sequence[tuple[str, int]] = ()
    kind: str = ""


Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]
"""Title, and what is written of a row."""


def of(name: str, write: Callable[[Any], str] = str) -> Callable[[Row], str]:
    """Return a column's writer of one value."""
    return lambda row: write(row[name])


def with_spread(name: str, write: Callable[[Any, Any], str]) -> Callable[[Row], str]:
    """Return a column's writer of a mean and its standard deviation, `<name>_sd`."""
    return lambda row: write(row[name], row[f"{name}_sd"])


def of_rows(
    rows: Iterable[Row],
    columns: Sequence[Column],
    words: Collection[str] = (),
    groups: Sequence[tuple[str, int]] = (),
) -> Table:
    """Return a table of rows as studies keep them.

    Args:
        rows: one line each.
        columns: what is shown of them.
        words: titles of columns that hold words.
        groups: see `Table`.
    """
    return Table(
        [Head(title, words=title in words) for title, _ in columns],
        [Line([write(row) for _, write in columns]) for row in rows],
        Notes(),
        groups,
        "dense" if len(columns) > ROOMY else "",
    )
