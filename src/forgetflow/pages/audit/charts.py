"""Charts of the audit's page: margins, accuracy, and cost against distance."""

from collections.abc import Sequence
from math import ceil, floor
from typing import NamedTuple

from forgetflow.audit.context import FLOOR, ORACLE, ORIGINAL
from forgetflow.audit.klom import TABLE as MARGINS
from forgetflow.audit.performance import TABLE as ACCURACY
from forgetflow.audit.protocol import Estimate
from forgetflow.pages import svg
from forgetflow.pages.audit.columns import SETS, Place, column, set_title
from forgetflow.pages.audit.view import View
from forgetflow.pages.axes import Dot
from forgetflow.pages.charts import Chart, dots, histogram, intervals
from forgetflow.pages.numbers import MINUS, percent, short, significant

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


def margin_charts(view: View) -> list[Chart]:
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
    shown = _shown(list(found.values()))
    top = ceil(max(max(bins.shares) for bins in found.values()) * 20) / 20
    return [_margins(name, found, shown, top) for name in found if name != ORACLE]


def _shown(found: Sequence[Bins]) -> slice:
    """Return the bins to show."""
    count = len(found[0].shares)
    full = [i for i in range(count) if any(bins.shares[i] >= LEAST_SHARE for bins in found)]
    first, last = max(0, full[0] - 1), min(count, full[-1] + 2)
    while last - first < min(FEWEST_BINS, count):
        first, last = max(0, first - 1), min(count, last + 1)
    return slice(first, last)


def _margins(name: str, found: dict[str, Bins], shown: slice, top: float) -> Chart:
    own, oracle = found[name], found[ORACLE]
    alike = sum(min(pair) for pair in zip(own.shares, oracle.shares, strict=True))
    outlines = {svg.FLOOR: found[FLOOR].shares[shown]} if name != FLOOR and FLOOR in found else {}
    every = 5 if shown.stop - shown.start > FEWEST_BINS else 2
    edges = enumerate(own.edges[shown])  # the first edge of all is where margins are cut
    marks = {i: f"{e:g}".replace("-", MINUS) for i, e in edges if e % every == 0}
    if shown.start == 0:
        marks.pop(0, None)
    return histogram(
        name,
        f"overlap with the oracles {percent(alike)}",
        own.shares[shown],
        outlines | {svg.ORACLE: oracle.shares[shown]},
        top=top,
        marks=marks,
        x_name="margin of a forgotten record (nats)",
    )


def accuracy_charts(view: View) -> list[Chart]:
    """Return one chart per set: accuracy and interval per contender over the oracles' band."""
    rows = [row for row in view.audit.tables.get(ACCURACY, ()) if row["accuracy"] is not None]
    if not rows:
        return []
    bounds = [row[key] for row in rows for key in ("accuracy", "low", "high")]
    ends = [float(bound) for bound in bounds if bound is not None]
    low, high = max(0.0, min(ends)), min(1.0, max(ends))
    axis = max(0.0, floor(20 * low - 0.2) / 20), min(1.0, ceil(20 * high + 0.2) / 20)
    sets = {str(row["set"]) for row in rows}
    return [_accuracy(view, name, axis) for name in SETS if name in sets]


def _accuracy(view: View, name: str, axis: tuple[float, float]) -> Chart:
    place = Place("performance", name, "accuracy")
    gaps = place._replace(statistic="gap")
    oracle = view.value(ORACLE, place)
    band = view.band(place) or (None if oracle is None else (oracle, oracle))
    rows = []
    for contender in view.contenders:
        estimate, gap = view.estimate(contender, place), view.value(contender, gaps)
        dot = _dot(contender, estimate)._replace(
            text=percent(estimate.value if estimate else None),
            beside="" if gap is None else column(gaps).unit.bare(gap),
        )
        rows.append(dot)
    return intervals(set_title(name), rows, band, axis)


def cost_charts(view: View) -> list[Chart]:
    """Return distance to the oracles over cost: margins if they can be had, and predictions."""
    places = dict.fromkeys([view.distance, Place("divergence", "forget", "js")])
    shares = {name: cost.get("of_retrain") for name, cost in view.audit.costs.items()}
    charts = []
    for place in places:
        rows = []
        for name in view.contenders:
            share, value = shares.get(name), view.value(name, place)
            if name != ORIGINAL and share is not None and value is not None:
                text = "" if name == FLOOR else f"{short(name, 24)} {significant(value)}"
                rows.append(_dot(name, view.estimate(name, place))._replace(x=share, text=text))
        if rows:
            charts.append(
                dots(
                    column(place).title,
                    "to the oracles, on forgotten records",
                    rows,
                    x_name="samples trained on, as a share of an oracle's",
                    level=view.value(FLOOR, place),
                    level_name=f"floor {significant(view.value(FLOOR, place))}",
                )
            )
    return charts


def _dot(contender: str, estimate: Estimate | None) -> Dot:
    value, ends = (None, None) if estimate is None else (estimate.value, None)
    if estimate is not None and estimate.low is not None and estimate.high is not None:
        ends = estimate.low, estimate.high
    colour = svg.ORACLE if contender in (ORACLE, FLOOR) else svg.MODEL
    return Dot(contender, value, ends, colour=colour, hollow=contender == FLOOR)
