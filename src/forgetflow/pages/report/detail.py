"""One generation in the report: its promise, the gate's checks, and every figure by model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

from forgetflow.evaluation.context import MAX_LOSS, MODELS, SETS
from forgetflow.evaluation.gate import GateVerdict
from forgetflow.evaluation.report import Entry, explain
from forgetflow.evaluation.wording import (
    DASH,
    GUARANTEES,
    ORIGINAL,
    amount,
    decimal,
    percent,
    seconds,
    signed,
)

COLUMNS: tuple[tuple[str, str, Callable[[object], str]], ...] = (
    ("Accuracy|retain", "accuracy.{model}.retain", percent),
    ("Accuracy|forget", "accuracy.{model}.forget", percent),
    ("Accuracy|test", "accuracy.{model}.test", percent),
    ("Attack|AUC", "membership.{model}.auc", decimal),
    ("AUC gap|to oracle", "membership.{model}.gap_to_oracle", signed),
    ("Attack|accuracy", "membership.{model}.attack_accuracy", percent),
    ("Mean loss|forget", "loss.{model}.forget.mean", decimal),
    ("Mean loss|test", "loss.{model}.test.mean", decimal),
    ("Same answer|as oracle", "distance.{model}.forget.identical", percent),
    ("Divergence|(bits)", "distance.{model}.forget.js", decimal),
)
"""Column title in two lines, where the figure stands in `metrics.json`, how it is written."""


@dataclass
class Notes:
    """Footnotes of one card: a dash in the text, its reason below."""

    reasons: list[str] = field(default_factory=list)

    def dash(self, reason: str) -> str:
        """Return a dash that refers to `reason`."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        number = self.reasons.index(reason) + 1
        return f'<span class="missing" title="{escape(reason)}">{DASH}<sup>{number}</sup></span>'

    def html(self) -> str:
        """Return the list of reasons."""
        items = "".join(f"<li>{escape(reason)}</li>" for reason in self.reasons)
        return f'<ol class="notes">{items}</ol>' if items else ""


def anchor(entry: Entry) -> str:
    """Return the fragment under which the page shows a generation."""
    return escape(f"generation-{entry.card.generation}".replace(" ", "-"))


def verdict(entry: Entry, notes: Notes) -> str:
    """Return the gate's verdict as a coloured badge with words.

    An approximate model whose unchanged parent would have passed as well is not shown in green:
    nothing speaks for it.
    """
    gate = entry.gate
    if gate is None:
        return f'<span class="badge">not checked</span> {notes.dash("no gate was checked")}'
    word, _, rest = gate.words.partition(" (")
    remarks = [rest.rstrip(")")] if rest else []
    if entry.promises_nothing and any(check.note for check in gate.checks):
        remarks.append("so would the parent")
    kind = "failed" if not gate.passed else "skipped" if remarks else "passed"
    small = f"<small>{escape('; '.join(remarks))}</small>" if remarks else ""
    return f'<span class="badge {kind}">{escape(word)}</span>{small}'


def detail(entry: Entry) -> str:
    """Return the card of one generation."""
    card, notes = entry.card, Notes()
    promise = ORIGINAL if card.parent is None else GUARANTEES[card.guarantee]
    kind = "" if card.parent is None else escape(card.guarantee)
    origin = f"from {card.parent} by {card.method}" if card.parent else "first build"
    body = [
        f'<div class="head"><h3>{escape(card.generation)}</h3>',
        f'<span class="hint">{escape(origin)}</span>{verdict(entry, notes)}</div>',
        f'<p class="promise {kind}">{escape(promise)}</p>',
        _cost(entry),
        _audit(entry),
        _checks(entry.gate),
        _figures(entry, notes),
        notes.html(),
    ]
    return f'<section class="card" id="{anchor(entry)}">{"".join(body)}</section>'


def _audit(entry: Entry) -> str:
    """Return what the audit of the procedure found, in one sentence, and where its page is."""
    get, generation = entry.evaluation.figure, entry.card.generation
    members, attack = get("audit.members"), get("audit.ulira.value")
    if not members:
        reason = entry.evaluation.reason("audit.misbehaving")
        return f'<p class="hint">{escape(reason)}</p>' if reason else ""
    text = f"Audited by {amount(members)} models per contender"
    if attack is not None:
        floor = decimal(get("audit.ulira.floor"))
        text += f": an attacker tells them from retrained ones with accuracy {decimal(attack)} "
        text += f"(U-LiRA; two pools of retrained models: {floor}, guessing: 0.5)"
    text += f". Everything is in audit/{generation}/audit.html."
    if get("audit.misbehaving"):
        return f'<p class="failed">Controls misbehave: rely on no figure of the audit. {text}</p>'
    return f'<p class="hint">{escape(text)}</p>'


def _cost(entry: Entry) -> str:
    get = entry.evaluation.figure
    counted, full = get("points.counted"), get("points.full_retraining")
    if counted is None or not full:
        return ""
    text = (
        f"{amount(counted)} records passed through {_through(entry)}, "
        f"{percent(counted / full)} of the {amount(full)} of full retraining"
    )
    predicted, equal = get("points.predicted"), get("points.predicted_equal_slices")
    if predicted is not None and equal is not None:
        text += f"; predicted {amount(predicted)} for these slices, {amount(equal)} for equal ones"
    spent, whole = get("cost.unlearned.seconds"), get("cost.full_retraining.seconds")
    if spent is not None and whole is not None:
        text += f". Computing took {seconds(spent)} against {seconds(whole)}"
    return f"<h4>Cost</h4><p>{escape(text)}.</p>"


def _is_forest(entry: Entry) -> bool:
    return entry.card.architecture.get("architecture") == "forest"


def _through(entry: Entry) -> str:
    """Return what a record passes through where cost is counted."""
    if _is_forest(entry):
        return "growing trees, each tree counted"
    return "training"


def _checks(gate: GateVerdict | None) -> str:
    if gate is None:
        return ""
    items = "".join(
        f'<li><span class="badge {check.outcome}">{check.outcome}</span>'
        f"<span>{escape(check.name.replace('_', ' '))}: {escape(check.reason)}"
        f"{escape(f'; {check.note}') if check.note else ''}.</span></li>"
        for check in gate.checks
    )
    return f'<h4>Gate</h4><ul class="checks">{items}</ul>'


def _figures(entry: Entry, notes: Notes) -> str:
    known = entry.evaluation.metrics.get("accuracy", {})
    models = [name for name in MODELS if name in known]
    if not models:
        return f'<p class="hint">{escape(explain(entry, "accuracy"))}</p>'
    shown = [
        column
        for column in COLUMNS
        if any(_get(entry, column[1], model) is not None for model in models)
    ]
    head = "".join(
        f'<th class="n">{"<br>".join(map(escape, title.split("|")))}</th>' for title, _, _ in shown
    )
    lines = []
    for model in models:
        cells = []
        for _, template, write in shown:
            value = _get(entry, template, model)
            if value is not None:
                cells.append(f'<td class="n">{escape(write(value))}</td>')
            elif model == "oracle" and template.endswith(("gap_to_oracle", "identical", "js")):
                cells.append('<td class="n missing">target</td>')
            else:
                reason = explain(entry, template.format(model=model))
                cells.append(f'<td class="n">{notes.dash(reason)}</td>')
        lines.append(f'<tr><td class="name">{escape(model)}</td>{"".join(cells)}</tr>')
    return (
        '<h4>Figures</h4><div class="scroll"><table><thead><tr><th>Model</th>'
        f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{_power(entry)}"
        f"{_losses(entry, models)}"
    )


def _losses(entry: Entry, models: Sequence[str]) -> str:
    """Say what stands behind mean losses of models that can exclude a class altogether."""
    means = [_get(entry, f"loss.{{model}}.{name}.mean", m) for name in SETS for m in models]
    smooth = entry.card.aggregation == "mean" and not _is_forest(entry)
    if smooth or all(mean is None for mean in means):
        return ""
    text = (
        "These models can give a class probability 0, one that no model is left of for instance. "
        f"Such a loss is cut at {MAX_LOSS:g} nats, and a mean tells above all how many there are."
    )
    return f'<p class="hint">{escape(text)}</p>'


def _power(entry: Entry) -> str:
    pairs = entry.evaluation.figure("membership.pairs")
    deviation = entry.evaluation.figure("membership.auc_deviation")
    if pairs is None or deviation is None:
        return ""
    text = (
        f"The attack compares {amount(pairs)} forgotten with {amount(pairs)} test records of the "
        f"same classes; by chance alone its AUC varies by ±{deviation:.3f} (one standard "
        "deviation). The last two columns are on forgotten records."
    )
    return f'<p class="hint">{escape(text)}</p>'


def _get(entry: Entry, template: str, model: str) -> float | int | None:
    return entry.evaluation.figure(template.format(model=model))
