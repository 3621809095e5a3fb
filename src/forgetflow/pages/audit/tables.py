"""Tables of the audit's page: the estimates at a glance, every estimate of every measure, cost."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from forgetflow.audit.context import FLOOR, ORACLE
from forgetflow.pages.audit.columns import PP, RANGES, SETS, STEPS, Place, column, set_title
from forgetflow.pages.audit.view import View
from forgetflow.pages.numbers import DASH, TIMES, amount, percent, seconds, signed, significant
from forgetflow.pages.table import Cell, Head, Line, Notes, Table

WIDEST = 8
"""Columns up to which all sets of a measure share one table."""
INLINE = 4
"""Columns up to which an interval stands beside its value, not below."""
FEW = 2
"""Columns up to which a table need not fill the page."""

STEPS_PLACE = Place("relearn", "forget", "steps")
INDEX_PLACE = Place("relearn", "forget", "anamnesis_index")

MARGINS = {
    "p95": ("KLoM, p95 (nats)", "KLoM"),
    "gaussian_p95": ("Gaussian KL, p95 (nats)", "Gaussian KL"),
    "ks_p95": ("Kolmogorov-Smirnov, p95", "Kolmogorov-Smirnov distance"),
}
"""Statistic of margins -> its column, and how a sentence calls it."""

COSTS = {
    "Computing seconds": "seconds",
    "Record passes": "samples",
    "Passes over retain set": "passes",
    "Optimizer steps": "steps",
    "Model bytes": "bytes",
    "Prepared record passes": "prepared_samples",
    "Prepared bytes": "prepared_bytes",
    "Tuning seconds": "tuning_seconds",
}
"""Column title -> name in `Audit.costs`."""


class Glance(NamedTuple):
    """How one of the main estimates is called: above its column, and in a sentence."""

    title: str
    words: str


def glance_places(view: View) -> dict[Place, Glance]:
    """Return the estimates that are shown at a glance."""
    title, words = MARGINS[view.margins.statistic]
    return {
        Place("performance", "test", "accuracy"): Glance("Test accuracy", "test accuracy"),
        Place("performance", "forget", "accuracy"): Glance(
            "Accuracy on forgotten records", "accuracy on forgotten records"
        ),
        Place("ulira", "forget", "accuracy"): Glance("U-LiRA accuracy", "U-LiRA"),
        view.margins: Glance(f"Margins: {title}", f"{words} of margins"),
        Place("divergence", "forget", "js"): Glance("Predictions: JS (bits)", "JS of predictions"),
        INDEX_PLACE: Glance("Relearning: anamnesis index", "anamnesis index"),
    }


def glance_table(view: View) -> Table:
    """Return the table of the main estimates, one row per contender."""
    places = glance_places(view)
    heads = [
        Head("Contender"),
        *(Head(shown.title, note=_shared_note(view, p)) for p, shown in places.items()),
        Head("Cost: share of an oracle's samples"),
    ]
    lines = []
    for contender in view.contenders:
        cells = [_glance_cell(view, contender, place) for place in places]
        cells.append(_cost_cell(view, contender))
        lines.append(_line(view, contender, cells, view.role(contender)))
    return Table(heads, lines, Notes(), kind="named audit stack")


def measure_tables(view: View, measure: str, notes: Notes) -> list[tuple[str, Table]]:
    """Return all estimates of one measure: titles, empty above a table of several sets."""
    places = view.places(measure)
    ordered = [*SETS, *(place.set for place in places)]
    groups = {name: [p for p in places if p.set == name] for name in dict.fromkeys(ordered)}
    groups = {name: found for name, found in groups.items() if found}
    if len(places) <= WIDEST and len(groups) > 1:
        return [("", _table(view, groups, notes))]
    return [(set_title(n), _table(view, {n: found}, notes)) for n, found in groups.items()]


def confusion_table(view: View) -> Table | None:
    """Return, per contender, the confusion of test classes that differs most from the oracle's."""
    shares = {
        (str(row["contender"]), str(row["true"]), str(row["predicted"])): float(row["share"])
        for row in view.audit.tables.get("confusion.csv", ())
        if row["share"] is not None and row["true"] != row["predicted"]
    }
    lines = []
    for contender in view.contenders[:-1]:
        gaps = {
            (true, predicted): share - shares.get((ORACLE, true, predicted), 0.0)
            for (who, true, predicted), share in shares.items()
            if who == contender
        }
        if gaps:
            true, predicted = max(gaps, key=lambda pair: abs(gaps[pair]))
            share, gap = shares[contender, true, predicted], gaps[true, predicted]
            cells = [f"{true} taken for {predicted}", percent(share), percent(share - gap), PP(gap)]
            lines.append(_line(view, contender, list(map(Cell, cells))))
    heads = [Head("Contender"), Head("Classes", words=True)]
    heads += map(Head, ("share of the class", "oracle", "difference"))
    return Table(heads, lines, Notes(), kind="named audit") if lines else None


def cost_table(view: View) -> Table | None:
    """Return what a member of each contender costs, with what it presupposes and tuning."""
    costs = view.audit.costs
    lines = [
        Line([Cell(name), *(Cell(_rounded(costs[name], key)) for key in COSTS.values())])
        for name in view.contenders
        if name in costs
    ]
    heads = list(map(Head, ("Contender", *COSTS)))
    return Table(heads, lines, Notes(), kind="named") if lines else None


def _rounded(cost: Mapping[str, float], key: str) -> str:
    value = cost.get(key)
    if value is None:
        return DASH
    return f"{float(f'{value:.3g}'):g}" if abs(value) < 1000 else amount(value)


def _glance_cell(view: View, contender: str, place: Place) -> Cell:
    if contender == ORACLE and place == INDEX_PLACE:
        place = STEPS_PLACE
    cell = _cell(view, contender, place)
    beside = "" if cell.missing or cell.soft else _beside(view, contender, place)
    return cell._replace(below=(*cell.below, beside)) if beside else cell


def _beside(view: View, contender: str, place: Place) -> str:
    """Return how an estimate stands to the floor or the oracle, in words."""
    if contender == ORACLE:
        return "steps, reference" if place == STEPS_PLACE else "reference"
    steps, oracle = view.value(contender, STEPS_PLACE), view.value(ORACLE, STEPS_PLACE)
    if place == INDEX_PLACE and steps is not None and oracle is not None:
        return f"{STEPS(steps)} steps, oracle {STEPS(oracle)}"
    gap = view.value(contender, place._replace(statistic="gap"))
    if gap is not None:
        return f"gap {PP(gap)}"
    if contender == FLOOR:
        return "the floor"
    value, floor = view.value(contender, place), view.value(FLOOR, place)
    if value is None or floor is None:
        return ""
    times = view.times_floor(contender, place)
    multiple = "" if times is None else f"{significant(times)} {TIMES} floor"
    return multiple or f"floor {signed(value - floor)}"


def _cost_cell(view: View, contender: str) -> Cell:
    cost = view.audit.costs.get(contender, {})
    if "samples" not in cost:
        return Cell(missing="its cost is not recorded")
    share = percent(cost["of_retrain"]) if "of_retrain" in cost else amount(cost["samples"])
    taken = (seconds(cost["seconds"]),) if "seconds" in cost else ()
    return Cell(share, (f"{amount(cost['samples'])} samples", *taken))


def _table(view: View, groups: Mapping[str, Sequence[Place]], notes: Notes) -> Table:
    places = [place for group in groups.values() for place in group]
    lines = [
        _line(view, contender, [_cell(view, contender, place) for place in places])
        for contender in view.contenders
        if any(view.estimate(contender, place) for place in places)
    ]
    titles = [(set_title(name), len(group)) for name, group in groups.items()]
    kind = "inline" if len(places) <= INLINE else ""
    kind += " few" if len(places) <= FEW else ""
    heads = [Head("Contender"), *(_head(view, place) for place in places)]
    return Table(heads, lines, notes, titles if len(groups) > 1 else (), f"named audit {kind}")


def _head(view: View, place: Place) -> Head:
    known = (view.estimate(contender, place) for contender in view.contenders)
    targets = [estimate.target for estimate in known if estimate and estimate.target is not None]
    if not targets:
        aim = "the floor"
    elif view.estimate(ORACLE, place):
        aim = "the oracle"
    else:
        aim = column(place).unit(targets[0])
    return Head(column(place).title, f"aim: {aim}", _shared_note(view, place))


def _cell(view: View, contender: str, place: Place) -> Cell:
    """Return value, mark and bounds of an estimate, or why there is none."""
    estimate = view.estimate(contender, place)
    if estimate is None:
        return Cell("reference", soft=True) if contender == ORACLE else Cell(missing="not measured")
    if estimate.value is None:
        return Cell(missing=estimate.reason or "not known")
    unit, below = column(place).unit, ""
    if estimate.low is not None and estimate.high is not None:
        word = "range " if place.measure in RANGES else ""
        below = f"{word}{unit.interval(estimate.low, estimate.high)}"
    return Cell(
        unit(estimate.value),
        (below,) if below else (),
        note="" if _shared_note(view, place) else estimate.reason,
        side=view.side(contender, place),
    )


def _line(view: View, contender: str, cells: Sequence[Cell], role: str = "") -> Line:
    kind = {FLOOR: "floor", ORACLE: "oracle"}.get(contender, "")
    kind = "method" if contender in view.methods else kind
    return Line([Cell(contender, (role,) if role else ()), *cells], kind)


def _shared_note(view: View, place: Place) -> str:
    """Return what is to be known of every estimate of a column; empty if they differ."""
    found = (view.estimate(contender, place) for contender in view.contenders)
    reasons = {estimate.reason for estimate in found if estimate and estimate.value is not None}
    return reasons.pop() if len(reasons) == 1 else ""
