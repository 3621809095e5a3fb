"""The report as one HTML page: inline style and figures, no script, nothing from the network."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files

from forgetflow.evaluation.report import Entry, Summary, summarise
from forgetflow.evaluation.wording import amount, decimal, percent, seconds
from forgetflow.pages.report.detail import Notes, anchor, detail, verdict
from forgetflow.pages.report.figures import accuracy_figure, cost_figure, loss_figures

Writer = Callable[[object], str]

TERMS = {
    "Oracle": "A model retrained without the forgotten records, with other random seeds. Its "
    "figures are what a model that never saw the records looks like, so they are the target: a "
    "distance to them in either direction is a difference, and a small one is seed noise.",
    "Parent": "The model before the deletion. Where its figures agree with the oracle's as well, "
    "a measure cannot see these records at all and says nothing about forgetting them.",
    "Attack AUC": "Chance that a forgotten record has a lower loss than a test record of the same "
    "class. Above the oracle's, the model still remembers; below it, the model treats forgotten "
    "records worse than unseen ones, which gives them away as well.",
    "Records retrained": "Records passed through training, counted once per epoch, or once per "
    "tree of a forest. Full retraining is the same count for building every constituent from the "
    "start.",
    "Gate": "The bounds in params.yaml that a model must hold before it is published. A bound "
    "that cannot be checked is skipped and says why; it does not count as passed.",
}


def build_report(entries: Sequence[Entry]) -> str:
    """Return the page over all generations, parents first."""
    rows = [summarise(entry) for entry in entries]
    parts = [
        "<header><h1>Evaluation report</h1>",
        f'<p class="lead">{escape(_lead(entries))}</p></header>',
        _tiles(rows),
        _overview(entries, rows),
        _figures(entries, rows),
        "<h2>Generations in detail</h2>" if entries else "",
        *(detail(entry) for entry in entries),
        glossary(TERMS),
        "<footer>Made by forgetflow from the files in models/ and evaluation/. Figures are "
        "aggregates; the page holds no record, no subject and no single loss.</footer>",
    ]
    return whole_page("Evaluation report", parts)


def whole_page(title: str, parts: Sequence[str], more_style: str = "") -> str:
    """Return a self-contained document.

    Args:
        title: of the window, plain text.
        parts: HTML from top to bottom; empty ones are left out.
        more_style: CSS beside the report's.
    """
    style = (files("forgetflow.pages.report") / "report.css").read_text() + more_style
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head>"
        f"<body><main>\n{chr(10).join(part for part in parts if part)}\n</main></body></html>\n"
    )


def _lead(entries: Sequence[Entry]) -> str:
    if not entries:
        return "There is no model yet: run `dvc repro`."
    text = "One model generation" if len(entries) == 1 else f"{len(entries)} model generations"
    failed = [one.card.generation for one in entries if one.gate and not one.gate.passed]
    unchecked = [one.card.generation for one in entries if one.gate is None]
    checks = [check for one in entries if one.gate for check in one.gate.checks]
    skipped = sum(check.outcome == "skipped" for check in checks)
    if failed:
        text += f"; the gate stops {', '.join(failed)}"
    elif checks:
        text += "; no bound of the gate is broken"
    if skipped:
        text += f"; {skipped} of {len(checks)} checks could not be made"
    if unchecked:
        text += f"; no gate was checked for {', '.join(unchecked)}"
    return f"{text}."


def _tiles(rows: Sequence[Summary]) -> str:
    if not rows:
        return ""
    last = rows[-1].values
    tiles = [
        (escape(str(last["generation"])), "newest generation"),
        (amount(last["records"]), f"records learned from, {amount(last['forgotten'])} forgotten"),
    ]
    if last["test_accuracy"] is not None:
        tiles.append((percent(last["test_accuracy"]), "test accuracy of the newest"))
    costs = [
        (row.values["records_retrained"], row.values["records_full_retraining"]) for row in rows
    ]
    known = [(float(part), float(full)) for part, full in costs if part is not None and full]
    if known:
        share = sum(part for part, _ in known) / sum(full for _, full in known)
        tiles.append((percent(share), "of full retraining, all deletions together"))
    cells = "".join(f'<div class="tile"><b>{b}</b><span>{s}</span></div>' for b, s in tiles)
    return f'<div class="tiles">{cells}</div>'


def _overview(entries: Sequence[Entry], rows: Sequence[Summary]) -> str:
    if not rows:
        return ""
    notes = Notes()
    body = "".join(_row(one, row, notes) for one, row in zip(entries, rows, strict=True))
    return (
        '<h2>At a glance</h2><p class="hint">The oracle\'s figure, where there is one, stands '
        "below the model's: it is the value to compare with.</p>"
        '<div class="card"><div class="scroll"><table><thead><tr><th>Generation</th>'
        '<th class="n">Records</th><th>Method</th><th class="n">Test accuracy</th>'
        '<th class="n">Accuracy on<br>forgotten records</th><th class="n">Attack AUC</th>'
        '<th class="n">Records<br>retrained</th><th class="n">Time</th><th>Gate</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>{notes.html()}</div>"
    )


def _row(entry: Entry, row: Summary, notes: Notes) -> str:
    values = row.values

    def cell(column: str, text: str, beside: str) -> str:
        shown = notes.dash(row.missing[column]) if column in row.missing else escape(text)
        small = f"<small>{escape(beside)}</small>" if beside else ""
        return f'<td class="n">{shown}{small}</td>'

    def pair(column: str, write: Writer) -> str:
        oracle = values[f"{column}_oracle"]
        beside = "" if oracle is None else f"oracle {write(oracle)}"
        return cell(column, write(values[column]), beside)

    def against_full(column: str, full: str, write: Writer) -> str:
        part, whole = values[column], values[full]
        beside = ""
        if isinstance(part, int | float) and isinstance(whole, int | float) and whole:
            beside = f"{percent(part / whole)} of {write(whole)}"
        return cell(column, write(part), beside)

    here = values["forgotten_here"]
    name, parent = escape(entry.card.generation), entry.card.parent
    promise = (
        "approximate,<br>no promise" if entry.promises_nothing else escape(entry.card.guarantee)
    )
    return (
        f'<tr><td class="name"><a href="#{anchor(entry)}">{name}</a>'
        f"<small>{escape(f'from {parent}') if parent else 'first build'}</small></td>"
        f'<td class="n">{amount(values["records"])}'
        f"<small>{f'{amount(here)} forgotten' if here else ''}</small></td>"
        f"<td>{escape(entry.card.method)}<small>{promise}</small></td>"
        f"{pair('test_accuracy', percent)}{pair('forget_accuracy', percent)}"
        f"{pair('membership_auc', decimal)}"
        f"{against_full('records_retrained', 'records_full_retraining', amount)}"
        f"{against_full('seconds', 'seconds_full_retraining', seconds)}"
        f"<td>{verdict(entry, notes)}</td></tr>"
    )


def _figures(entries: Sequence[Entry], rows: Sequence[Summary]) -> str:
    parts = []
    told = any(row.values["test_accuracy_oracle"] is not None for row in rows)
    if told or sum(row.values["test_accuracy"] is not None for row in rows) > 1:
        oracle = '<span><i class="oracle"></i>oracle</span>' if told else ""
        parts.append(
            "<h2>Accuracy</h2>"
            '<p class="hint">On forgotten records the oracle\'s accuracy is the target, neither '
            "0 nor 100&nbsp;%: a model that never saw a record still gets most of its kind right."
            '</p><div class="card"><p class="legend"><span><i class="solid"></i>this model</span>'
            f"{oracle}</p>"
            f'<div class="scroll">{accuracy_figure(rows)}</div></div>'
        )
    spent = [row for row in rows if row.values["records_retrained"] is not None]
    if spent:
        parts.append(
            "<h2>Cost of forgetting</h2>"
            '<p class="hint">Work on several machines at once is not counted as a saving.</p>'
            '<div class="card"><p class="legend"><span><i class="solid"></i>this deletion</span>'
            '<span><i class="track"></i>full retraining</span></p>'
            f'<div class="scroll">{cost_figure(spent)}</div></div>'
        )
    histograms = loss_figures([(one.card.generation, one.evaluation) for one in entries])
    if histograms:
        parts.append(
            "<h2>Losses on forgotten records</h2>"
            '<p class="hint">What a loss-based attacker sees. The closer the two shapes, the less '
            "there is to tell the model from one that never saw the records.</p>"
            '<div class="card"><p class="legend"><span><i class="model"></i>this model</span>'
            '<span><i class="line"></i>oracle</span></p>'
            f'<div class="multiples">{"".join(histograms)}</div></div>'
        )
    return "\n".join(parts)


def glossary(terms: Mapping[str, str]) -> str:
    """Return the list of terms that a reader needs, as the last card of a page."""
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in terms.items()
    )
    return f'<h2>How to read this</h2><div class="card"><dl>{items}</dl></div>'
