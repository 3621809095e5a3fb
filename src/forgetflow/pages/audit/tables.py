"""Tables of the audit's page: the figures at a glance, and every figure of every measure."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from forgetflow.audit.context import FLOOR, ORACLE
from forgetflow.evaluation.wording import TIMES, amount, percent, seconds, signed, significant
from forgetflow.pages.audit.columns import POINTS, RANGES, SETS, STEPS, Place, column, set_title
from forgetflow.pages.audit.view import View
from forgetflow.pages.report.detail import Notes

WIDEST = 8
"""Columns up to which all sets of a measure share one table."""
INLINE = 4
"""Columns up to which an interval stands beside its value, not below."""
FEW = 2
"""Columns up to which a table need not fill the page."""

REFERENCE = '<span class="missing">reference</span>'
STEPS_PLACE = Place("relearn", "forget", "steps")
INDEX_PLACE = Place("relearn", "forget", "anamnesis_index")


MARGINS = {
    "p95": ("KLoM, p95 (nats)", "KLoM"),
    "gaussian_p95": ("Gaussian KL, p95 (nats)", "Gaussian KL"),
    "ks_p95": ("Kolmogorov-Smirnov, p95", "Kolmogorov-Smirnov distance"),
}
"""Statistic of margins -> its column, and how a sentence calls it."""


class Glance(NamedTuple):
    """How one of the main figures is called: above its column, and in a sentence."""

    title: str
    words: str


def glance_places(view: View) -> dict[Place, Glance]:
    """Return the figures that are shown at a glance."""
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


def glance_table(view: View) -> str:
    """Return the table of the main figures, one row per contender."""
    notes, places = Notes(), glance_places(view)
    heads = [
        f'<th class="n">{escape(shown.title)}{_header_mark(view, place, notes)}</th>'
        for place, shown in places.items()
    ]
    lines = []
    for contender in view.contenders:
        cells = [
            f'<td class="n" data-label="{escape(shown.title)}">'
            f"{_glance_cell(view, contender, place, notes)}</td>"
            for place, shown in places.items()
        ]
        cost = f'<td class="n" data-label="Cost">{_cost_cell(view, contender, notes)}</td>'
        lines.append(_line(view, contender, [*cells, cost], view.role(contender)))
    return (
        '<div class="scroll"><table class="glance"><thead><tr><th>Contender</th>'
        f'{"".join(heads)}<th class="n">Cost: share of an oracle\'s samples</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>{notes.html()}"
    )


def measure_tables(view: View, measure: str) -> str:
    """Return all figures of one measure, by contender, set and statistic."""
    places = view.places(measure)
    ordered = [*SETS, *(p.set for p in places if p.set not in SETS)]
    groups = {name: [p for p in places if p.set == name] for name in dict.fromkeys(ordered)}
    groups = {name: found for name, found in groups.items() if found}
    notes = Notes()
    if len(places) <= WIDEST:
        return _table(view, groups, notes) + notes.html()
    return "".join(_table(view, {n: found}, notes) for n, found in groups.items()) + notes.html()


def confusion_table(view: View) -> str:
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
            share = shares[contender, true, predicted]
            cells = [
                f"<td>{escape(true)} taken for {escape(predicted)}</td>",
                f'<td class="n">{percent(share)}</td>',
                f'<td class="n">{percent(share - gaps[true, predicted])}</td>',
                f'<td class="n">{POINTS(gaps[true, predicted])}</td>',
            ]
            lines.append(_line(view, contender, cells))
    if not lines:
        return ""
    return (
        "<h4>Largest single difference on the test set</h4>"
        '<div class="scroll"><table><thead><tr><th>Contender</th><th>Classes</th>'
        '<th class="n">share of the class</th><th class="n">oracle</th>'
        f'<th class="n">difference</th></tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _glance_cell(view: View, contender: str, place: Place, notes: Notes) -> str:
    if contender == ORACLE and place == INDEX_PLACE:
        place = STEPS_PLACE
    figure = view.figure(contender, place)
    shown = _value(view, contender, place, notes)
    beside = _beside(view, contender, place) if figure and figure.value is not None else ""
    return f"{shown}<small>{escape(beside)}</small>" if beside else shown


def _beside(view: View, contender: str, place: Place) -> str:
    """Return how a figure stands to the floor or the oracle, in words."""
    if contender == ORACLE:
        return "steps, reference" if place == STEPS_PLACE else "reference"
    if place == INDEX_PLACE:
        steps, oracle = view.value(contender, STEPS_PLACE), view.value(ORACLE, STEPS_PLACE)
        return (
            ""
            if steps is None or oracle is None
            else f"{STEPS(steps)} steps, oracle {STEPS(oracle)}"
        )
    gap = view.value(contender, place._replace(statistic="gap"))
    if gap is not None:
        return f"gap {POINTS(gap)}"
    value, floor = view.value(contender, place), view.value(FLOOR, place)
    if contender == FLOOR or value is None or floor is None:
        return "the floor" if contender == FLOOR else ""
    times = view.times_floor(contender, place)
    return (
        f"floor {signed(value - floor)}" if times is None else f"{significant(times)} {TIMES} floor"
    )


def _cost_cell(view: View, contender: str, notes: Notes) -> str:
    cost = view.audit.costs.get(contender, {})
    if "samples" not in cost:
        return notes.dash("its cost is not recorded")
    share = percent(cost["of_retrain"]) if "of_retrain" in cost else amount(cost["samples"])
    parts = [f"{amount(cost['samples'])} samples"]
    parts += [seconds(cost["seconds"])] if "seconds" in cost else []
    return share + "".join(f"<small>{part}</small>" for part in parts)


def _table(view: View, groups: dict[str, list[Place]], notes: Notes) -> str:
    places = [place for group in groups.values() for place in group]
    sets = "".join(
        f'<th class="set" colspan="{len(group)}">{escape(set_title(name))}</th>'
        for name, group in groups.items()
    )
    heads = "".join(_head(view, place, notes) for place in places)
    lines = []
    for contender in view.contenders:
        if any(view.figure(contender, place) for place in places):
            cells = [f'<td class="n">{_value(view, contender, p, notes)}</td>' for p in places]
            lines.append(_line(view, contender, cells))
    several = len(groups) > 1
    above = "" if several else f"<h4>{escape(set_title(next(iter(groups))))}</h4>"
    first = f"<tr><th></th>{sets}</tr>" if several else ""
    kind = "figures inline" if len(places) <= INLINE else "figures"
    kind += " few" if len(places) <= FEW else ""
    return (
        f'{above}<div class="scroll"><table class="{kind}"><thead>{first}'
        f"<tr><th>Contender</th>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _head(view: View, place: Place, notes: Notes) -> str:
    known = (view.figure(contender, place) for contender in view.contenders)
    targets = [figure.target for figure in known if figure and figure.target is not None]
    if not targets:
        aim = "the floor"
    elif view.figure(ORACLE, place):
        aim = "the oracle"
    else:
        aim = column(place).unit(targets[0])
    title = escape(column(place).title)
    return (
        f'<th class="n">{title}{_header_mark(view, place, notes)}'
        f"<small>aim: {escape(aim)}</small></th>"
    )


def _value(view: View, contender: str, place: Place, notes: Notes) -> str:
    """Return value, mark and bounds of a figure, or a dash and why."""
    figure = view.figure(contender, place)
    if figure is None:
        return REFERENCE if contender == ORACLE else notes.dash("not measured")
    if figure.value is None:
        return notes.dash(figure.reason or "not known")
    unit, remark = column(place).unit, ""
    if figure.reason and not _shared_reason(view, place):
        remark = _mark(figure.reason, notes)
    side = view.side(contender, place)
    arrow = ""
    if side == "above":
        arrow = '<span class="apart" title="above what retrained models reach">▲</span>'
    elif side == "below":
        arrow = '<span class="apart" title="below what retrained models reach">▼</span>'
    text = f'<span class="value">{arrow}{escape(unit(figure.value))}{remark}</span>'
    if figure.low is None or figure.high is None:
        return text
    word = "range " if place.measure in RANGES else ""
    return f"{text} <small>{word}{escape(unit.interval(figure.low, figure.high))}</small>"


def _line(view: View, contender: str, cells: Sequence[str], role: str = "") -> str:
    kind = {FLOOR: "floor", ORACLE: "oracle"}.get(contender, "")
    kind = "method" if contender in view.methods else kind
    small = f"<small>{escape(role)}</small>" if role else ""
    return (
        f'<tr class="{kind}"><td class="name">{escape(contender)}{small}</td>{"".join(cells)}</tr>'
    )


def _shared_reason(view: View, place: Place) -> str:
    """Return what is to be known of every figure of a column; empty if they differ."""
    found = (view.figure(contender, place) for contender in view.contenders)
    reasons = {figure.reason for figure in found if figure and figure.value is not None}
    return reasons.pop() if len(reasons) == 1 else ""


def _header_mark(view: View, place: Place, notes: Notes) -> str:
    reason = _shared_reason(view, place)
    return _mark(reason, notes) if reason else ""


def _mark(reason: str, notes: Notes) -> str:
    """Return the number of a footnote, without the dash that `Notes.dash` puts before it."""
    notes.dash(reason)
    number = notes.reasons.index(reason) + 1
    return f'<sup class="note" title="{escape(reason)}">{number}</sup>'
