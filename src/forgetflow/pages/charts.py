"""The kinds of charts on pages: bars, histograms, intervals, lines, dots, agreement.

Every mark that matters carries its number or its name as text: nothing is told by colour alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from forgetflow.pages.axes import (
    Dot,
    apart,
    log_ticks,
    mark_dot,
    name_dots,
    spread_out,
    ticks_of,
    write_beside,
)
from forgetflow.pages.numbers import DASH, short
from forgetflow.pages.svg import (
    FILL,
    FLOOR,
    GREEN,
    INK,
    MODEL,
    ORACLE,
    RED,
    SMALL,
    SOFT,
    TRACK,
    VIOLET,
    Frame,
    draw,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pairs = Sequence[tuple[float, float]]
Writer = Callable[[float], str]

SERIES = ((MODEL, "o"), (ORACLE, "s"), (GREEN, "^"), (VIOLET, "D"), (SOFT, "v"), (RED, "P"))
"""Colour and mark of lines, in order; more lines repeat them."""

DASHES = (0, (4, 3))


class Chart(NamedTuple):
    """A chart and what stands above it.

    Attributes:
        title: what is shown.
        beside: a smaller second line.
        svg: the drawing; empty where there is nothing to draw.
    """

    title: str
    beside: str
    svg: str


class Bar(NamedTuple):
    """One bar of `bars`.

    Attributes:
        name: on its left.
        share: its length, 1 for the whole; None where it is missing.
        text, beside: on its right.
        target: what to compare the share with.
        missing: why there is no share.
    """

    name: str
    share: float | None
    text: str = ""
    beside: str = ""
    target: float | None = None
    missing: str = ""


def bars(title: str, rows: Sequence[Bar]) -> Chart:
    """Return horizontal bars over the track of the whole, each with its number as text."""
    whole = max([1.0, *(row.share for row in rows if row.share is not None)])

    def paint(axes: "Axes") -> None:
        axes.set(xlim=(0, whole), ylim=(len(rows) - 0.5, -0.5), xticks=[])
        axes.set_yticks(range(len(rows)), [short(row.name, 16) for row in rows])
        axes.grid(visible=False)
        axes.tick_params(axis="y", labelcolor=INK)
        for y, row in enumerate(rows):
            if row.share is None:
                text = f"{DASH} {short(row.missing, 56)}"
                axes.text(0, y, text, color=SOFT, size=SMALL, va="center")
                continue
            axes.barh([y, y], [1, row.share], 0.36, color=[TRACK, MODEL])
            if row.target is not None:
                axes.plot([row.target] * 2, [y - 0.3, y + 0.3], color=ORACLE, linewidth=3)
            write_beside(
                axes, (whole, y), row.text, (10, -4 if not row.beside else 1), weight="bold"
            )
            write_beside(axes, (whole, y), row.beside, (10, -12), color=SOFT, size=SMALL)

    return _chart(title, "", Frame(500, 40 * len(rows) + 8, 112, 128, 0, 8), paint)


def histogram(
    title: str,
    beside: str,
    shares: Sequence[float],
    outlines: Mapping[str, Sequence[float]],
    *,
    top: float,
    marks: Mapping[int, str],
    x_name: str,
) -> Chart:
    """Return shares of bins as a filled shape under the outlines of others.

    Args:
        title: whose shares.
        beside: second line of the title.
        shares: one per bin; bins are drawn equally wide.
        outlines: colour -> shares of the same bins; those of the floor are dashed.
        top: largest share of the vertical axis.
        marks: edge, counted from the left -> what is written under it.
        x_name: what the bins are of.
    """

    def paint(axes: "Axes") -> None:
        axes.set(xlim=(0, len(shares)), ylim=(0, top), xlabel=x_name)
        axes.set_yticks([0, top / 2, top], [f"{100 * y:g}\u00a0%" for y in (0, top / 2, top)])
        axes.set_xticks(list(marks), list(marks.values()))
        edges = range(len(shares) + 1)
        axes.stairs(shares, edges, fill=True, color=FILL)
        axes.stairs(shares, edges, color=MODEL, linewidth=1)
        for colour, others in outlines.items():
            style: dict[str, Any] = {"linestyle": DASHES} if colour == FLOOR else {"linewidth": 2.5}
            axes.stairs(others, edges, color=colour, **style)

    return _chart(title, beside, Frame(336, 190, 44, 8, 8, 42), paint)


def intervals(
    title: str, rows: Sequence[Dot], band: tuple[float, float] | None, axis: tuple[float, float]
) -> Chart:
    """Return a dot with its interval per row, over a band that all are to be compared with."""

    def paint(axes: "Axes") -> None:
        axes.set(xlim=axis, ylim=(len(rows) - 0.5, -0.5))
        axes.set_xticks(axis, [f"{100 * end:.0f}\u00a0%" for end in axis])
        axes.xaxis.tick_top()
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_yticks(range(len(rows)), [short(row.name, 16) for row in rows])
        if band is not None:
            middle, half = sum(band) / 2, max(band[1] - band[0], (axis[1] - axis[0]) / 40) / 2
            axes.axvspan(middle - half, middle + half, color=ORACLE, alpha=0.18, linewidth=0)
        for y, row in enumerate(rows):
            if row.value is None:
                write_beside(axes, (axis[1], y), "not measured", (10, -4), color=SOFT, size=SMALL)
                continue
            if row.ends is not None:
                ends = [min(max(end, axis[0]), axis[1]) for end in row.ends]
                axes.plot(ends, [y, y], color=row.colour, linewidth=3, alpha=0.55)
            mark_dot(axes, row, (min(max(row.value, axis[0]), axis[1]), y))
            write_beside(axes, (axis[1], y), row.text, (10, -4), weight="bold")
            write_beside(axes, (axis[1], y), row.beside, (64, -4), color=SOFT, size=SMALL)

    return _chart(title, "", Frame(356, 28 * len(rows) + 26, 112, 106, 22, 4), paint)


def series(
    rows: Iterable[Mapping[str, Any]], name: Callable[[Mapping[str, Any]], str], x: str, y: str
) -> dict[str, list[tuple[float, float]]]:
    """Return the lines that rows make: the name of a row's line -> its (x, y), for `lines`."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row[y]:
            found.setdefault(name(row), []).append((row[x], row[y]))
    return found


def lines(
    title: str,
    beside: str,
    drawn: Mapping[str, Pairs],
    *,
    x_name: str,
    write: Writer,
    logarithmic: bool = False,
    x_logarithmic: bool = True,
    base: float | None = None,
) -> Chart:
    """Return lines over x, each with its name at its end.

    Args:
        title: what y is.
        beside: second line of the title.
        drawn: name -> (x, y), with x > 0 where it is spaced by its logarithm.
        x_name: what x is.
        write: writes a value of y.
        logarithmic: space y by its logarithm.
        x_logarithmic: space x by its logarithm.
        base: value of y to mark by a dashed line.
    """
    drawn = {name: sorted(pairs) for name, pairs in drawn.items() if pairs}
    xs = sorted({x for pairs in drawn.values() for x, _ in pairs})
    ys = [y for pairs in drawn.values() for _, y in pairs] + ([] if base is None else [base])

    def paint(axes: "Axes") -> None:
        ticks = (log_ticks if logarithmic else ticks_of)(min(ys), max(ys))
        axes.set(xlabel=x_name, xscale="log" if x_logarithmic else "linear")
        axes.set(yscale="log" if logarithmic else "linear", ylim=(ticks[0], ticks[-1]))
        if base is not None:
            axes.axhline(base, color=SOFT, linestyle=DASHES, linewidth=1.2)
        for number, pairs in enumerate(drawn.values()):
            colour, mark = SERIES[number % len(SERIES)]
            axes.plot(*zip(*pairs, strict=True), color=colour, marker=mark)
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
        axes.set_yticks(ticks, [write(tick) for tick in ticks])
        axes.minorticks_off()
        ends = [axes.transData.transform(pairs[-1])[1] for pairs in drawn.values()]
        places = apart(ends, 14, (axes.bbox.y0, axes.bbox.y1))
        for number, (name, y) in enumerate(zip(drawn, places, strict=True)):
            style: dict[str, Any] = {"color": SERIES[number % len(SERIES)][0], "size": SMALL}
            write_beside(axes, (axes.bbox.x1, y), name, (8, -4), xycoords="figure pixels", **style)

    room = 20 + 6.2 * max((len(name) for name in drawn), default=0)
    frame = Frame(340, 206, 54, room, 8, 42)
    return _chart(title, beside, frame, paint) if drawn else Chart(title, beside, "")


def dots(
    title: str,
    beside: str,
    rows: Sequence[Dot],
    *,
    x_name: str,
    level: float | None,
    level_name: str,
) -> Chart:
    """Return dots with their intervals and names, over x as a share, the whole on the right.

    Args:
        title: what the values are.
        beside: second line of the title.
        rows: what to draw; all have a value.
        x_name: what x is.
        level: value to mark by a dashed line.
        level_name: what that line is.
    """
    known = [row.value for row in rows if row.value is not None]
    widest = max([1.0, *(row.x for row in rows)]) * 1.04
    log = spread_out(known)

    def paint(axes: "Axes") -> None:
        ticks = log_ticks(min(known), max(known)) if log else ticks_of(0.0, max(known))
        axes.set(xlim=(-0.03, widest), xlabel=x_name, yscale="log" if log else "linear")
        axes.set(ylim=(ticks[0] / 1.3 if log else 0, ticks[-1] * (1.3 if log else 1)))
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        quarters = range(int(widest * 4) + 1)
        axes.set_xticks([q / 4 for q in quarters], [f"{25 * q}\u00a0%" for q in quarters])
        axes.minorticks_off()
        if level is not None:
            axes.axhline(level, color=ORACLE, linestyle=(0, (6, 4)), linewidth=1.8)
            write_beside(axes, (widest, level), level_name, (6, -4), color=ORACLE, size=SMALL)
        low, high = axes.get_ylim()
        for row in rows:
            if row.ends is not None:
                ends = [min(max(end, low), high) for end in row.ends]
                axes.plot([row.x] * 2, ends, color=MODEL, linewidth=1.5, alpha=0.55)
            mark_dot(axes, row, (row.x, row.value or low))
        name_dots(axes, rows)

    frame = Frame(440, 300, 52, 92, 8, 42)
    return _chart(title, f"{beside}{', logarithmic axis' if log else ''}", frame, paint)


def agreement(
    title: str, beside: str, inside: Pairs, outside: Pairs, *, x_name: str, write: Writer
) -> Chart:
    """Return dots against the diagonal, both axes logarithmic; those outside are marked."""
    groups = [[pair for pair in pairs if min(pair) > 0] for pairs in (inside, outside)]
    values = [value for pairs in groups for pair in pairs for value in pair]

    def paint(axes: "Axes") -> None:
        ticks = log_ticks(min(values), max(values))
        ends = ticks[0], ticks[-1]
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel=x_name)
        axes.set_xticks(ticks, [write(tick) for tick in ticks])
        axes.set_yticks(ticks, [write(tick) for tick in ticks])
        axes.minorticks_off()
        axes.plot(ends, ends, color=SOFT, linestyle=DASHES, linewidth=1.2)
        for pairs, colour, mark in zip(groups, (MODEL, RED), "oX", strict=True):
            xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
            axes.plot(xs, ys, mark, color=colour, alpha=0.7, markeredgewidth=0, markersize=7)

    frame = Frame(440, 340, 58, 24, 8, 42)
    return _chart(title, beside, frame, paint) if values else Chart(title, beside, "")


def _chart(title: str, beside: str, frame: Frame, paint: Callable[["Axes"], None]) -> Chart:
    return Chart(title, beside, draw(", ".join(filter(None, (title, beside))), frame, paint))
