"""Marks, names and ticks on the axes of a chart."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any, NamedTuple

from forgetflow.pages.svg import CARD, MODEL, SMALL, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HAIR = 1.02
"""An axis may end this much short of a value: 0.99 needs no axis down to 0.1."""


class Dot(NamedTuple):
    """One dot of `intervals` or `dots`.

    Attributes:
        name: what it stands for.
        value: its place on the axis of values; None where it was not measured.
        ends: of its interval.
        text, beside: what is written at it; nothing of it if empty.
        colour: one of `svg`'s.
        hollow: whether it is a ring.
        x: its place on the other axis of `dots`.
    """

    name: str
    value: float | None
    ends: tuple[float, float] | None = None
    text: str = ""
    beside: str = ""
    colour: str = MODEL
    hollow: bool = False
    x: float = 0.0


def write_beside(
    axes: "Axes", at: tuple[float, float], text: str, away: tuple[float, float], **style: Any
) -> None:
    """Write so many px right of and above a place."""
    if text:
        axes.annotate(text, at, away, textcoords="offset points", annotation_clip=False, **style)


def mark_dot(axes: "Axes", row: Dot, at: tuple[float, float]) -> None:
    """Draw a dot or a ring."""
    face = CARD if row.hollow else row.colour
    axes.plot(*at, "o", color=row.colour, markersize=8, markeredgewidth=2, markerfacecolor=face)


def ticks_of(low: float, high: float) -> list[float]:
    """Return round values that hold both ends."""
    from matplotlib.ticker import MaxNLocator

    low, high = (low, high) if high - low > 1e-9 else (low - 0.005, high + 0.005)
    ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 times powers of ten that hold both ends; powers alone over many decades."""
    first, last = floor(log10(low * HAIR)), ceil(log10(high / HAIR))
    steps = (1,) if last - first > 2 else (1, 2, 5)
    found = [float(f"{s}e{p}") for p in range(first, last + 1) for s in steps]
    start = max((i for i, tick in enumerate(found) if tick <= low * HAIR), default=0)
    stop = next((i for i, tick in enumerate(found) if tick >= high / HAIR), len(found) - 1)
    return found[start : max(stop, start + 1) + 1]


def spread_out(values: Sequence[float]) -> bool:
    """Return whether values need a logarithmic axis: more than a factor of ten lies between."""
    return min(values) > 0 and max(values) / min(values) > 10


def name_dots(axes: "Axes", rows: Sequence[Dot]) -> None:
    """Write names in a column beside the dots of either half, with a line to each."""
    rows = [row for row in rows if row.text]
    places = [axes.transData.transform((row.x, row.value or 0.0)) for row in rows]
    middle = (axes.bbox.x0 + axes.bbox.x1) / 2
    columns = (
        ("left", max((x for x, _ in places if x <= middle), default=0) + 14, 0),
        ("right", min((x for x, _ in places if x > middle), default=0) - 14, 1),
    )
    levels = apart([y for _, y in places], 15, (axes.bbox.y0 + 6, axes.bbox.y1))
    for row, (x, y), level in zip(rows, places, levels, strict=True):
        align, column, side = columns[int(x > middle)]
        style: dict[str, Any] = {"ha": align, "va": "center", "size": SMALL}
        line = {"arrowstyle": "-", "color": SOFT, "relpos": (side, 0.5), "shrinkA": 1, "shrinkB": 5}
        write_beside(            axes, (x, y), row.text, (column - x, level - y),
            xycoords="figure pixels", arrowprops=line, **style,
        )  # fmt: skip


def apart(places: Sequence[float], gap: float, ends: tuple[float, float]) -> list[float]:
    """Return places moved until `gap` lies between neighbours, between both ends if they fit."""
    moved, (least, most) = list(places), ends
    order = sorted(range(len(places)), key=lambda n: places[n])
    for number in order:
        moved[number] = max(moved[number], least)
        least = moved[number] + gap
    for number in reversed(order):
        moved[number] = min(moved[number], most)
        most = moved[number] - gap
    return moved
