"""The report over all generations as a page: at a glance, as charts, and one card for each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import Any

from forgetflow.evaluation.context import MAX_LOSS, MODELS, SETS
from forgetflow.evaluation.gate import Check
from forgetflow.evaluation.loss import BIN_EDGES, TABLE
from forgetflow.evaluation.report import Entry, Summary, explain, summarise
from forgetflow.pages.charts import Bar, Chart, bars, histogram
from forgetflow.pages.numbers import amount, decimal, percent, seconds, signed
from forgetflow.pages.render import anchor, render
from forgetflow.pages.svg import ORACLE
from forgetflow.pages.table import Cell, Head, Line, Notes, Table

Writer = Callable[[object], str]

COLUMNS: tuple[tuple[str, str, Writer], ...] = (
    ("Accuracy retain", "accuracy.{model}.retain", percent),
    ("Accuracy forget", "accuracy.{model}.forget", percent),
    ("Accuracy test", "accuracy.{model}.test", percent),
    ("Attack AUC", "membership.{model}.auc", decimal),
    ("AUC gap to oracle", "membership.{model}.gap_to_oracle", signed),
    ("Attack accuracy", "membership.{model}.attack_accuracy", percent),
    ("Mean loss forget", "loss.{model}.forget.mean", decimal),
    ("Mean loss test", "loss.{model}.test.mean", decimal),
    ("Same answer as oracle", "distance.{model}.forget.identical", percent),
    ("Divergence (bits)", "distance.{model}.forget.js", decimal),
)
"""Column title, where the metric stands in `metrics.json`, how it is written."""

TO_ORACLE = ("gap_to_oracle", "identical", "js")
"""Ends of the places of metrics that compare with the oracle, which has none itself."""


def report_page(entries: Sequence[Entry]) -> str:
    """Return the page over all generations, parents first."""
    rows = [summarise(entry) for entry in entries]
    spent = [row for row in rows if row.values["records_retrained"] is not None]
    return render(
        "report",
        lead=_lead(entries),
        tiles=_tiles(rows),
        overview=_overview(entries, rows),
        accuracy=_accuracy(rows),
        has_oracle=any(row.values["test_accuracy_oracle"] is not None for row in rows),
        cost=_cost_charts(spent) if spent else [],
        losses=_loss_charts(entries),
        cards=[_card(entry) for entry in entries],
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


def _tiles(rows: Sequence[Summary]) -> list[tuple[str, str]]:
    """Return big numbers and what they are."""
    if not rows:
        return []
    last = rows[-1].values
    tiles = [
        (str(last["generation"]), "newest generation"),
        (amount(last["records"]), f"records learned from, {amount(last['forgotten'])} forgotten"),
    ]
    if last["test_accuracy"] is not None:
        tiles.append((percent(last["test_accuracy"]), "test accuracy of the newest"))
    costs: Any = [
        (row.values["records_retrained"], row.values["records_full_retraining"]) for row in rows
    ]
    known = [(part, full) for part, full in costs if part is not None and full]
    if known:
        share = sum(part for part, _ in known) / sum(full for _, full in known)
        tiles.append((percent(share), "of full retraining, all deletions together"))
    return tiles


def _overview(entries: Sequence[Entry], rows: Sequence[Summary]) -> Table:
    heads = (
        Head("Generation"),
        Head("Records"),
        Head("Method", words=True),
        *map(Head, ("Test accuracy", "Accuracy on forgotten records", "Attack AUC")),
        *map(Head, ("Records retrained", "Time")),
        Head("Gate", words=True),
    )
    lines = [Line(_overview_row(*pair)) for pair in zip(entries, rows, strict=True)]
    return Table(heads, lines, Notes(), kind="named stack")


def _overview_row(entry: Entry, row: Summary) -> list[Cell]:
    card, values = entry.card, row.values

    def metric(column: str, text: str, beside: str) -> Cell:
        return Cell(text, (beside,) if beside else (), row.missing.get(column, ""))

    def pair(column: str, write: Writer) -> Cell:
        oracle = values[f"{column}_oracle"]
        beside = "" if oracle is None else f"oracle {write(oracle)}"
        return metric(column, write(values[column]), beside)

    def against(column: str, full: str, write: Writer) -> Cell:
        part = _share(row, column, full)
        beside = "" if part is None else f"{percent(part)} of {write(values[full])}"
        return metric(column, write(values[column]), beside)

    here = values["forgotten_here"]
    promise = ("approximate", "no promise") if entry.promises_nothing else (card.guarantee,)
    return [
        Cell(card.generation, (_origin(entry),), link=anchor("generation", card.generation)),
        Cell(amount(values["records"]), (f"{amount(here)} forgotten",) if here else ()),
        Cell(card.method, promise),
        pair("test_accuracy", percent),
        pair("forget_accuracy", percent),
        pair("membership_auc", decimal),
        against("records_retrained", "records_full_retraining", amount),
        against("seconds", "seconds_full_retraining", seconds),
        verdict(entry),
    ]


def verdict(entry: Entry) -> Cell:
    """Return the gate's verdict as a coloured badge with words.

    An approximate model whose unchanged parent would have passed as well is not shown in green:
    nothing speaks for it.
    """
    gate = entry.gate
    if gate is None:
        return Cell("not checked", badge="none", note="no gate was checked")
    word, _, rest = gate.words.partition(" (")
    remarks = [rest.rstrip(")")] if rest else []
    if entry.promises_nothing and any(check.note for check in gate.checks):
        remarks.append("so would the parent")
    kind = "failed" if not gate.passed else "skipped" if remarks else "passed"
    return Cell(word, tuple(remarks), badge=kind)


def _accuracy(rows: Sequence[Summary]) -> list[Chart]:
    """Return accuracy per generation beside the oracle's; nothing if there is nothing beside it."""
    known = [row for row in rows if row.values["test_accuracy"] is not None]
    if len(known) < 2 and not any(row.values["test_accuracy_oracle"] is not None for row in known):
        return []

    def bar(row: Summary, column: str) -> Bar:
        values: Mapping[str, Any] = row.values
        share, oracle = values[column], values[f"{column}_oracle"]
        beside = "" if oracle is None else f"oracle {percent(oracle)}"
        missing = row.missing.get(column, "")
        return Bar(values["generation"], share, percent(share), beside, oracle, missing)

    sets = {"Test records": "test_accuracy", "Forgotten records": "forget_accuracy"}
    return [
        bars(title, [bar(row, column) for row in rows])
        for title, column in sets.items()
        if any(row.values[column] is not None for row in rows)
    ]


def _cost_charts(rows: Sequence[Summary]) -> list[Chart]:
    """Return what each deletion took, as a share of full retraining."""

    def bar(row: Summary, mine: str, full: str, write: Writer) -> Bar:
        share, missing = _share(row, mine, full), row.missing.get(mine) or row.missing.get(full, "")
        beside = f"{write(row.values[mine])} of {write(row.values[full])}"
        name = str(row.values["generation"])
        return Bar(name, share, percent(share), beside, missing=missing)

    counted = ("records_retrained", "records_full_retraining", amount)
    taken = ("seconds", "seconds_full_retraining", seconds)
    return [
        bars("Records passed through training", [bar(row, *counted) for row in rows]),
        bars("Computing time", [bar(row, *taken) for row in rows]),
    ]


def _loss_charts(entries: Sequence[Entry]) -> list[Chart]:
    """Return one histogram per generation that has a forget set and an oracle."""
    found: list[tuple[str, list[float], list[float]]] = []
    for entry in entries:
        rows = [r for r in entry.evaluation.tables.get(TABLE, ()) if r["set"] == "forget"]
        mine, theirs = (
            [float(row["share"] or 0) for row in rows if row["model"] == model]
            for model in ("unlearned", "oracle")
        )
        if len(mine) == len(theirs) == len(BIN_EDGES) - 1:
            found.append((entry.card.generation, mine, theirs))
    highest = max((max(*mine, *theirs) for _, mine, theirs in found), default=1.0)
    marks = {i: f"{e:g}" for i, e in enumerate(BIN_EDGES) if e in {0, 1e-3, 0.01, 0.1, 1, 10}}
    return [
        histogram(
            name,
            "losses on the forget set",
            mine,
            {ORACLE: theirs},
            top=ceil(highest * 10) / 10,
            marks=marks,
            x_name="cross-entropy of a forgotten record (nats)",
        )
        for name, mine, theirs in found
    ]


def _card(entry: Entry) -> dict[str, Any]:
    """Return what the card of one generation shows beside the entry itself."""
    parent = entry.card.parent
    return {
        "entry": entry,
        "metric": entry.evaluation.metric,
        "origin": _origin(entry) + (f" by {entry.card.method}" if parent else ""),
        "guarantee": entry.card.guarantee if parent else "original",
        "verdict": verdict(entry),
        "no_audit": entry.evaluation.reason("audit.misbehaving"),
        "through": "growing trees, each tree counted" if _is_forest(entry) else "training",
        "checks": [
            (one.outcome, one.outcome, one.name.replace("_", " "), "; ".join(_reasons(one)) + ".")
            for one in (entry.gate.checks if entry.gate else ())
        ],
        "metrics": _metrics(entry),
        "cut": MAX_LOSS if _losses_are_cut(entry) else None,
        "unmeasured": explain(entry, "accuracy"),
    }


def _origin(entry: Entry) -> str:
    return f"from {entry.card.parent}" if entry.card.parent else "first build"


def _reasons(check: Check) -> list[str]:
    return [check.reason, check.note] if check.note else [check.reason]


def _models(entry: Entry) -> list[str]:
    known = entry.evaluation.metrics.get("accuracy", {})
    return [name for name in MODELS if name in known]


def _metrics(entry: Entry) -> Table | None:
    models = _models(entry)
    shown = [c for c in COLUMNS if any(v is not None for v in _values(entry, c[1], models))]
    lines = []
    for model in models:
        cells = []
        for _, place, write in shown:
            value = entry.evaluation.metric(place.format(model=model))
            if value is not None:
                cells.append(Cell(write(value)))
            elif model == "oracle" and place.endswith(TO_ORACLE):
                cells.append(Cell("target", soft=True))
            else:
                cells.append(Cell(missing=explain(entry, place.format(model=model))))
        lines.append(Line([Cell(model), *cells]))
    heads = [Head("Model"), *(Head(title) for title, _, _ in shown)]
    return Table(heads, lines, Notes(), kind="named") if models else None


def _losses_are_cut(entry: Entry) -> bool:
    """Return whether mean losses are those of models that can exclude a class altogether."""
    smooth = entry.card.aggregation == "mean" and not _is_forest(entry)
    places = (f"loss.{{model}}.{name}.mean" for name in SETS)
    known = (_values(entry, place, _models(entry)) for place in places)
    return not smooth and any(value is not None for values in known for value in values)


def _values(entry: Entry, place: str, models: Iterable[str]) -> list[float | int | None]:
    return [entry.evaluation.metric(place.format(model=model)) for model in models]


def _is_forest(entry: Entry) -> bool:
    return entry.card.architecture.get("architecture") == "forest"


def _share(row: Summary, part: str, whole: str) -> float | None:
    values: Mapping[str, Any] = row.values
    known = values[part] is not None and values[whole]
    return values[part] / values[whole] if known else None
