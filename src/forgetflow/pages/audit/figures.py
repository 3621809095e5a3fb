"""Figures of the audit's page as inline SVG: margins, accuracy, and cost against distance.

As in the report, colours come from the style sheet and every mark carries its number as text.
"""

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

from forgetflow.audit.context import FLOOR, ORACLE, ORIGINAL
from forgetflow.audit.klom import TABLE as MARGINS
from forgetflow.audit.performance import TABLE as ACCURACY
from forgetflow.evaluation.wording import MINUS, percent, short, significant
from forgetflow.pages.audit.columns import SETS, Place, column, set_title
from forgetflow.pages.audit.labels import Box, Point, place_labels
from forgetflow.pages.audit.view import View

FEWEST_BINS = 12
"""Bins of a histogram that are shown at least, so that few of them do not look like a block."""
LEAST_SHARE = 0.001
"""Bins at either end that hold less of every contender's margins are cut off."""


class Bins(NamedTuple):
    """Shares of one contender's margins.

    Attributes:
        edges: in nats, one more than shares.
        shares: per bin, summing to 1.
    """

    edges: list[float]
    shares: list[float]


def margin_figures(view: View) -> list[str]:
    """Return one histogram per contender: its margins of forgotten records over the oracles'."""
    found: dict[str, Bins] = {}
    for contender in view.contenders:
        rows = [r for r in view.audit.tables.get(MARGINS, ()) if r["contender"] == contender]
        if rows:
            edges = [float(row["bin_low"] or 0) for row in rows]
            edges.append(float(rows[-1]["bin_high"] or 0))
            found[contender] = Bins(edges, [float(row["share"] or 0) for row in rows])
    if ORACLE not in found:
        return []
    first, last = _shown(list(found.values()))
    top = max(max(bins.shares) for bins in found.values())
    top = ceil(top * 20) / 20
    return [_histogram(name, found, range(first, last), top) for name in found if name != ORACLE]


def _shown(found: Sequence[Bins]) -> tuple[int, int]:
    """Return the first bin to show and the one after the last."""
    count = len(found[0].shares)
    full = [i for i in range(count) if any(bins.shares[i] >= LEAST_SHARE for bins in found)]
    first, last = max(0, full[0] - 1), min(count, full[-1] + 2)
    while last - first < min(FEWEST_BINS, count):
        first, last = max(0, first - 1), min(count, last + 1)
    return first, last


def _histogram(name: str, found: dict[str, Bins], shown: range, top: float) -> str:
    left, right, ground, height = 48, 332, 186, 130
    step = (right - left) / len(shown)
    own, oracle = found[name], found[ORACLE]
    alike = sum(min(pair) for pair in zip(own.shares, oracle.shares, strict=True))
    beside = f"overlap with the oracles {percent(alike)}"
    parts = [
        f'<text class="bold" x="{left}" y="16">{escape(short(name, 36))}</text>',
        f'<text class="soft small" x="{left}" y="33">{escape(beside)}</text>',
    ]
    parts += [
        _level(ground - height * mark, (left, right), f"{100 * top * mark:g}%")
        for mark in (0.0, 0.5, 1.0)
    ]

    def steps(bins: Bins) -> str:
        path = [f"M{left} {ground}"]
        for place, index in enumerate(shown):
            y = ground - height * bins.shares[index] / top
            path.append(
                f"L{left + step * place:.1f} {y:.1f}L{left + step * (place + 1):.1f} {y:.1f}"
            )
        return "".join([*path, f"L{right} {ground}"])

    parts.append(f'<path class="fill" d="{steps(own)}Z"/>')
    if name != FLOOR and FLOOR in found:
        parts.append(f'<path class="step floor" d="{steps(found[FLOOR])}"/>')
    parts.append(f'<path class="step" d="{steps(oracle)}"/>')
    every = 5 if len(shown) > FEWEST_BINS else 2
    for place, index in enumerate(shown):
        edge = own.edges[index]
        if index and edge % every == 0:
            text = f"{edge:g}".replace("-", MINUS)
            parts.append(
                f'<text class="soft small" x="{left + step * place:.1f}" y="{ground + 16}" '
                f'text-anchor="middle">{text}</text>'
            )
    parts.append(
        f'<text class="soft small" x="{left}" y="{ground + 32}">'
        "margin of a forgotten record (nats)</text>"
    )
    label = f"Margins of forgotten records under {name} and the oracles, {beside}"
    return _svg(336, 222, label, parts)


def accuracy_figures(view: View) -> list[str]:
    """Return one panel per set: accuracy and interval per contender over the oracles' band."""
    rows = [row for row in view.audit.tables.get(ACCURACY, ()) if row["accuracy"] is not None]
    if not rows:
        return []
    bounds = [row[key] for row in rows for key in ("accuracy", "low", "high")]
    ends = [float(bound) for bound in bounds if bound is not None]
    low, high = max(0.0, min(ends)), min(1.0, max(ends))
    low, high = max(0.0, floor(20 * low - 0.2) / 20), min(1.0, ceil(20 * high + 0.2) / 20)
    sets = {str(row["set"]) for row in rows}
    return [_accuracy_panel(view, name, (low, high)) for name in SETS if name in sets]


def _accuracy_panel(view: View, name: str, axis: tuple[float, float]) -> str:
    left, length, line, top = 112, 126, 30, 52
    place = Place("performance", name, "accuracy")
    bottom = top + line * len(view.contenders) - 8

    def at(value: float) -> float:
        return left + length * (min(max(value, axis[0]), axis[1]) - axis[0]) / (axis[1] - axis[0])

    parts = [f'<text class="bold" x="0" y="16">{escape(set_title(name))}</text>']
    band = view.band(place)
    oracle = view.value(ORACLE, place)
    if band is None and oracle is not None:
        band = oracle, oracle
    if band is not None:
        wide = max(3.0, at(band[1]) - at(band[0]))
        start = (at(band[0]) + at(band[1]) - wide) / 2
        parts.append(
            f'<rect class="band" x="{start:.1f}" y="{top - 14}" width="{wide:.1f}" '
            f'height="{bottom - top + 14}"/>'
        )
    for value, anchor in ((axis[0], "start"), (axis[1], "end")):
        x = at(value)
        parts.append(
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 14}" y2="{bottom}"/>'
            f'<text class="soft small" x="{x:.1f}" y="{top - 19}" text-anchor="{anchor}">'
            f"{100 * value:.0f}%</text>"
        )
    for number, contender in enumerate(view.contenders):
        y = top + line * number
        kind = {ORACLE: "dot oracle", FLOOR: "dot floor"}.get(contender, "dot")
        parts.append(f'<text class="small" x="0" y="{y + 4}">{escape(short(contender, 18))}</text>')
        figure = view.figure(contender, place)
        if figure is None or figure.value is None:
            parts.append(f'<text class="soft small" x="{left}" y="{y + 4}">not measured</text>')
            continue
        parts.append(f'<line class="axis" x1="{left}" x2="{left + length}" y1="{y}" y2="{y}"/>')
        if figure.low is not None and figure.high is not None:
            parts.append(
                f'<line class="whisker" x1="{at(figure.low):.1f}" x2="{at(figure.high):.1f}" '
                f'y1="{y}" y2="{y}"/>'
            )
        gap = view.value(contender, place._replace(statistic="gap"))
        beside = (
            f" {column(place._replace(statistic='gap')).unit.bare(gap)}" if gap is not None else ""
        )
        parts.append(
            f'<circle class="{kind}" cx="{at(figure.value):.1f}" cy="{y}" r="4.5"/>'
            f'<text x="{left + length + 10}" y="{y + 4}">'
            f'<tspan class="bold">{percent(figure.value)}</tspan>'
            f'<tspan class="soft small">{beside}</tspan></text>'
        )
    return _svg(356, bottom + 8, f"Accuracy on {set_title(name).lower()}", parts)


def cost_figures(view: View) -> list[str]:
    """Return distance to the oracles over cost: margins if they can be had, and predictions."""
    places = dict.fromkeys([view.distance, Place("divergence", "forget", "js")])
    return [figure for place in places if (figure := _cost_figure(view, place))]


def _cost_figure(view: View, place: Place) -> str:
    shares = {name: cost.get("of_retrain") for name, cost in view.audit.costs.items()}
    drawn: list[tuple[str, float, float]] = []
    for name in view.contenders:
        share, value = shares.get(name), view.value(name, place)
        if name != ORIGINAL and share is not None and value is not None:
            drawn.append((name, share, value))
    if not drawn:
        return ""
    left, right, top, ground = 52, 388, 64, 286
    widest = max(1.0, *(share for _, share, _ in drawn)) * 1.06
    scale = _Scale.over([value for _, _, value in drawn], ground, top)

    def across(share: float) -> float:
        return left + (right - left) * share / widest

    title = column(place).title
    kind = ", logarithmic axis" if scale.logarithmic else ""
    parts = [
        f'<text class="bold" x="0" y="16">{escape(title)}</text>'
        f'<text class="soft small" x="0" y="33">to the oracles, on forgotten records{kind}</text>',
        *(_level(scale.at(tick), (left, right), f"{tick:g}") for tick in scale.ticks),
        f'<text class="soft small" x="{left}" y="{ground + 36}">samples trained on, as a share of '
        "an oracle's</text>",
    ]
    parts += [
        f'<text class="soft small" x="{across(quarter / 4):.1f}" y="{ground + 18}" '
        f'text-anchor="middle">{25 * quarter}%</text>'
        for quarter in range(int(widest * 4) + 1)
    ]
    taken: list[Box] = []
    floor_value = view.value(FLOOR, place)
    if floor_value is not None:
        y = scale.at(floor_value)
        taken += [(left, y - 1, right, y + 1), (right, y - 8, right + 42, y + 8)]
        parts.append(
            f'<line class="floorline" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="floortext small" x="{right + 6}" y="{y + 4:.1f}">floor</text>'
        )
    points = []
    for name, share, value in drawn:
        x, y = across(share), scale.at(value)
        figure = view.figure(name, place)
        if figure and figure.low is not None and figure.high is not None:
            lower, upper = scale.at(figure.low), scale.at(figure.high)
            taken.append((x - 1, upper, x + 1, lower))
            parts.append(
                f'<line class="thin" x1="{x:.1f}" x2="{x:.1f}" y1="{lower:.1f}" y2="{upper:.1f}"/>'
            )
        dot = "dot floor" if name == FLOOR else "dot"
        parts.append(f'<circle class="{dot}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        points.append(Point(x, y, f"{short(name, 24)} {significant(value)}"))
    box = (left, top - 18, right + 42, ground - 2)
    parts += [label.svg() for label in place_labels(points, box, taken)]
    return _svg(432, ground + 44, f"{title} against cost", parts)


def _level(y: float, ends: tuple[float, float], text: str) -> str:
    """Return a horizontal line and what it stands for."""
    return (
        f'<line class="axis" x1="{ends[0]:g}" x2="{ends[1]:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="soft small" x="{ends[0] - 8:g}" y="{y + 4:.1f}" text-anchor="end">'
        f"{escape(text)}</text>"
    )


class _Scale(NamedTuple):
    """A vertical axis, logarithmic where values differ by more than a factor of ten.

    Attributes:
        low, high: values at both ends; logarithms where `logarithmic`.
        bottom, top: their places.
        logarithmic: kind of the axis.
        ticks: values to mark.
    """

    low: float
    high: float
    bottom: float
    top: float
    logarithmic: bool
    ticks: list[float]

    @classmethod
    def over(cls, values: Sequence[float], bottom: float, top: float) -> "_Scale":
        """Return the axis that holds all values."""
        least, most = min(values), max(values)
        if least > 0 and most / least > 10:
            first, last = floor(log10(least / 1.5)), ceil(log10(most * 1.5))
            ticks = [float(f"1e{power}") for power in range(first, last + 1)]
            return cls(first, last, bottom, top, True, ticks)
        high = _round_up(max(most, 0.0) * 1.1)
        return cls(0.0, high, bottom, top, False, [high * part / 4 for part in range(5)])

    def at(self, value: float) -> float:
        """Return where a value stands; beyond the axis, at its end."""
        if self.logarithmic:
            value = log10(value) if value > 0 else self.low
        part = (value - self.low) / (self.high - self.low)
        return self.bottom + (self.top - self.bottom) * min(max(part, 0.0), 1.0)


def _round_up(value: float) -> float:
    """Return the next 1, 2, 4, 6 or 8 times a power of ten; 1 for 0."""
    if value <= 0:
        return 1.0
    size = 10.0 ** floor(log10(value))
    return next(size * step for step in (1, 2, 4, 6, 8, 10) if size * step >= value)


def _svg(width: int, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
