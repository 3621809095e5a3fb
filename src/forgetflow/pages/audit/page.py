"""The audit as one HTML page: inline style and figures, no script, nothing from the network.

page_columns.py   title, unit and kind of every figure
page_view.py      who stands in which row, and how a figure stands to the floor
page_tables.py    the figures at a glance, and every figure of every measure
page_figures.py   margins, accuracy, cost against distance
page_labels.py    where names stand in a figure
"""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

from forgetflow.audit.audit import Audit
from forgetflow.audit.memorisation import TABLE as TERCILES
from forgetflow.audit.protocol import AuditMeasure
from forgetflow.evaluation.wording import MINUS, amount, decimal, percent
from forgetflow.pages.audit.columns import Place, column
from forgetflow.pages.audit.facts import cost_card, facts_card
from forgetflow.pages.audit.figures import accuracy_figures, cost_figures, margin_figures
from forgetflow.pages.audit.tables import (
    confusion_table,
    glance_places,
    glance_table,
    measure_tables,
)
from forgetflow.pages.audit.view import View
from forgetflow.pages.report.page import glossary, whole_page

TERMS = {
    "Contender": "A procedure that makes a model without the forgotten records, or claims to. It "
    "is judged by many of its models, one per seed, since two models differ by their seeds alone.",
    "Oracle": "Models retrained without the forgotten records, under seeds that no contender has. "
    "Their figures are what never having seen the records looks like: a difference to them in "
    "either direction is a difference.",
    "Floor": "The figure of the second oracle: a second pool of retrained models, compared with "
    "the first. It is what seeds alone make of a figure. No procedure need be better, and one "
    "that is as good cannot be told from retraining by this figure.",
    "Interval": "95 % over seeds, in brackets: it holds for other seeds of the same procedure and "
    "the same records. ▲ and ▼ mark figures whose interval lies wholly above or below those of "
    "both oracles. Of many figures, a few stand apart by chance.",
    "Margin": f"ln p {MINUS} ln(1 {MINUS} p) of a record's own class, in nats: how sure a model "
    "is of it. 0 is even odds, 5 is 99.3 %.",
    "KLoM": "KL divergence of margins: how far the margins of one record under many models are "
    "from those under the oracles, in nats, 0 to 11.5; shown is the 95th percentile over records. "
    "It needs some 80 models a side. With fewer, the Gaussian KL (of normal laws fitted to both "
    "sides) stands in its place, or, where retrained models all agree and there is no law to fit, "
    "the Kolmogorov-Smirnov distance, 0 to 1.",
    "U-LiRA": "An attacker who knows the record and the procedure is shown a model and says "
    "whether it was unlearned or retrained. 0.5 is guessing.",
    "JS": "Jensen-Shannon divergence of the predicted probabilities from an oracle's, in bits, "
    "0 to 1.",
    "Anamnesis index": "Training steps to learn the forgotten records again, over those of the "
    "oracle. 1 is like retraining, less means that knowledge was left, more that the model was "
    "damaged. Brackets are the range over models.",
    "What this proves": "Nothing. Figures like the oracles' are evidence on these records, these "
    "measures and these settings, and an attack that nobody has tried may still succeed. Only "
    "byte equality with a model that was never given the records is proof.",
}


def build_page(audit: Audit, measures: Mapping[str, AuditMeasure]) -> str:
    """Return the page of one audit.

    Args:
        audit: what was found.
        measures: by name; titles and readings come from them, figures of other measures are
            shown under their own name.
    """
    view = View(audit)
    names = list(dict.fromkeys([*measures, *(f.measure for f in audit.figures)]))
    names = [name for name in names if view.places(name)]
    parts = [
        f'<header><h1>Unlearning audit: {escape(audit.batch)}</h1><p class="lead">'
        f"{escape(_lead(view))}</p></header>",
        _banner(audit),
        _verdicts(view),
        _glance(view),
        _plots(view),
        "<h2>Every measure</h2>",
        _contents(names, measures),
        *(_section(view, name, measures.get(name)) for name in names),
        cost_card(view),
        facts_card(view),
        glossary(TERMS),
        "<footer>Made by forgetflow from audit.json. Figures are aggregates over records and "
        "models; the page holds no record, no subject and no value of a single one.</footer>",
    ]
    style = (files("forgetflow.pages.audit") / "page.css").read_text()
    return whole_page(f"Unlearning audit: {audit.batch}", parts, style)


def _lead(view: View) -> str:
    records, (fewest, most) = view.audit.records, view.members
    models = _count(most, "model") if fewest == most else f"{fewest} to {most} models"
    methods = view.methods
    question = (
        f"Does {methods[0]} forget as if the model had been retrained?"
        if len(methods) == 1
        else f"Do {_listed(methods)} forget as if the model had been retrained?"
        if methods
        else "Only controls were run: no method is under audit."
    )
    return (
        f"{question} {_count(records['forget'], 'record')} forgotten, "
        f"{amount(records['retain'])} kept, {amount(records['test'])} to test on; {models} per "
        f"contender, compared with as many retrained without the forgotten records, and with a "
        "second such pool that shows what seeds alone do."
    )


def _banner(audit: Audit) -> str:
    wrong = audit.misbehaving
    if wrong:
        said = "; ".join(f"{one.contender}: {one.sentence}" for one in wrong)
        return (
            '<div class="banner failed" role="alert"><b>Do not rely on this audit: '
            f"{_count(len(wrong), 'control')} misbehave{'s' if len(wrong) == 1 else ''}</b>"
            f"<p>{escape(said)}.</p></div>"
        )
    if audit.powerless:
        said = "; ".join(one.sentence for one in audit.controls if one.outcome == "no power")
        return (
            '<div class="banner skipped"><b>This audit has no power over these records</b>'
            f"<p>{escape(said[:1].upper() + said[1:])}. Models that never saw the records predict "
            "them as well as models that did: that is a finding about the records, not a merit of "
            "any method.</p></div>"
        )
    if not audit.controls:
        return '<div class="banner skipped"><b>No control was checked</b></div>'
    said = f"{_count(len(audit.controls), 'control')} checked, all as they should be"
    if any(control.contender == "none" for control in audit.controls):
        said += ": retrained models look alike, and doing nothing is found out"
    return f'<div class="banner calm"><p>{said}.</p></div>'


def _verdicts(view: View) -> str:
    items = []
    if not view.audit.misbehaving:
        for method in view.methods:
            kind, word, sentence = _verdict(view, method)
            items.append(
                f'<li><span class="badge {kind}">{word}</span>'
                f"<span><b>{escape(method)}</b>: {escape(sentence)}</span></li>"
            )
    for control in view.audit.controls:
        kind = {"behaves": "", "misbehaves": "failed", "no power": "skipped"}[control.outcome]
        items.append(
            f'<li><span class="badge {kind}">{escape(control.outcome)}</span>'
            f"<span>{escape(control.contender)}: {escape(control.sentence)}.</span></li>"
        )
    said = "".join(f"<li>{escape(note)}.</li>" for note in view.audit.notes)
    notes = f'<p class="hint">To know before reading:</p><ul class="remarks">{said}</ul>'
    return (
        f'<div class="card"><ul class="checks verdicts">{"".join(items)}</ul>'
        f"{notes if said else ''}</div>"
    )


def _verdict(view: View, method: str) -> tuple[str, str, str]:
    """Return badge class, badge and sentence about a method under audit."""
    places = glance_places(view)
    sides = {place: view.side(method, place) for place in places}
    said = [place for place, side in sides.items() if side is not None]
    apart = [place for place in said if sides[place] != "within"]
    cost = view.audit.costs.get(method, {}).get("of_retrain")
    ending = f" It trained on {percent(cost)} of an oracle's samples." if cost is not None else ""
    if not said:
        return "", "not judged", f"its figures have no intervals to judge by.{ending}"
    if apart:
        parts = [_in_words(view, method, place, str(sides[place])) for place in apart]
        sentence = f"apart from retrained models in {len(apart)} of {len(said)} main figures: "
        return "skipped", "differs", f"{sentence}{', '.join(parts)}.{ending}"
    sentence = f"cannot be told from retraining by any of {len(said)} main figures"
    if view.audit.powerless:
        sentence += ", but neither can doing nothing"
    return "", "no difference", f"{sentence}.{ending}"


def _in_words(view: View, method: str, place: Place, side: str) -> str:
    value = view.value(method, place) or 0.0
    return f"{glance_places(view)[place].words} {column(place).unit(value)} ({side})"


def _glance(view: View) -> str:
    return (
        '<h2>At a glance</h2><p class="hint">In brackets the 95&nbsp;% interval over seeds. The '
        "second oracle is the noise floor: what retrained models differ by among themselves. "
        '<span class="apart">▲</span><span class="apart">▼</span>mark figures wholly above or '
        "below what retrained models reach. Being closer than the floor, or beyond the oracle, is "
        f'no merit.</p><div class="card">{glance_table(view)}</div>'
    )


def _plots(view: View) -> str:
    parts = []
    margins = margin_figures(view)
    if margins:
        parts.append(
            "<h2>Margins of forgotten records</h2>"
            '<p class="hint">How sure models are of the records they should have forgotten, over '
            "all records and models of a contender. Where the shapes part, an attacker has "
            "something to see. Alike shapes can still hide differences record by record.</p>"
            '<div class="card">'
            '<p class="legend"><span><i class="model"></i>this contender</span>'
            '<span><i class="line"></i>oracle</span>'
            '<span><i class="floor"></i>second oracle</span></p>'
            f'<div class="multiples">{"".join(margins)}</div></div>'
        )
    accuracy = accuracy_figures(view)
    if accuracy:
        parts.append(
            "<h2>Accuracy</h2>"
            '<p class="hint">The band is what retrained models reach: the target on all three '
            "sets. Beside each accuracy its gap to the oracle in percentage points. One axis for "
            'all panels; it need not start at 0.</p><div class="card"><p class="legend">'
            '<span><i class="dot"></i>mean and 95&nbsp;% interval</span>'
            '<span><i class="band"></i>both oracles</span></p>'
            f'<div class="multiples">{"".join(accuracy)}</div></div>'
        )
    cost = cost_figures(view)
    if cost:
        parts.append(
            "<h2>Cost against distance</h2>"
            '<p class="hint">Left is cheap; at the dashed line a contender is as close to the '
            "oracles as they are to each other. Below the line is seed noise, not merit.</p>"
            '<div class="card"><p class="legend">'
            '<span><i class="dot"></i>contender and 95&nbsp;% interval</span>'
            '<span><i class="dot ring"></i>second oracle</span>'
            '<span><i class="floorline"></i>noise floor: its distance to the oracles</span></p>'
            f'<div class="pairs">{"".join(cost)}</div></div>'
        )
    return "\n".join(parts)


def _contents(names: Sequence[str], measures: Mapping[str, AuditMeasure]) -> str:
    links = "".join(
        f'<a href="#{_anchor(name)}">{escape(_title(name, measures.get(name)))}</a>'
        for name in names
    )
    return f"<nav>{links}</nav>" if links else '<p class="hint">Nothing was measured.</p>'


def _section(view: View, name: str, measure: AuditMeasure | None) -> str:
    reading = f'<p class="hint">{escape(measure.reading)}</p>' if measure else ""
    more = {"memorisation": _terciles, "confusion": confusion_table}.get(name)
    return (
        f'<section class="card" id="{_anchor(name)}"><h3>{escape(_title(name, measure))}</h3>'
        f"{reading}{measure_tables(view, name)}{more(view) if more else ''}</section>"
    )


def _terciles(view: View) -> str:
    rows = view.audit.tables.get(TERCILES, ())
    said = ", ".join(
        f"{row['tercile']}: {amount(row['records'])} at {decimal(row['memorisation'])}"
        for row in rows
    )
    if not said:
        return ""
    return (
        '<p class="hint">Forgotten records per tercile and their mean memorisation, the gain in '
        f"the probability of their class from being learned: {escape(said)}.</p>"
    )


def _title(name: str, measure: AuditMeasure | None) -> str:
    return measure.title if measure else name


def _anchor(name: str) -> str:
    return escape(f"measure-{name}".replace(" ", "-"))


def _count(number: int, noun: str) -> str:
    return f"{amount(number)} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
