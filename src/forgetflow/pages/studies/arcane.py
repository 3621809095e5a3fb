"""The study of ARCANE as one HTML page: inline style and figures, nothing from the network."""

from collections.abc import Sequence
from html import escape

from forgetflow.evaluation.wording import DASH, MINUS, NBSP, amount, percent, seconds
from forgetflow.pages.report.page import glossary, whole_page
from forgetflow.pages.studies.figures import STYLE, line_chart
from forgetflow.studies.arcane import ArcaneStudy, Row
from forgetflow.studies.tables import data_table, facts_card, times

TITLE = "Study: ARCANE"

CHOICES = {
    "all": "all records",
    "joint": "joint entropy",
    "frozen": "joint entropy, frozen",
    "threshold": "own entropy",
    "random": "by hash (control)",
}
LINES = {"joint": "joint", "threshold": "own", "random": "by hash"}
"""Names beside the lines of accuracy, where there is little room."""

SHORT = {"sisa": "SISA", "gaussian": "normal", "autoencoder": "autoenc."}

KINDS = {
    "uniform": "uniform requests",
    "class": "requests within one class",
    "subject": "whole people",
}
MODE_NAMES = {"batch": "served together", "sequential": "one after another"}

TERMS = {
    "ARCANE": "One one-class model per class, none of which sees another class. A record goes to "
    "the class whose model scores it highest, with equal priors; scores are not calibrated.",
    "Alpha": "Share of the records that are learned from. alpha = 1 is ARCANE without selection: "
    "what is saved beyond it comes from learning less, which any architecture can do.",
    "Joint entropy": "The share of each class whose values surprise the class most. Chosen again "
    "after every deletion, that is exact, and others may be selected in a leaver's place; frozen, "
    "the choice remembers who has gone: approximate.",
    "Own entropy": "Records whose own values have an entropy above one bound for all. Nobody else "
    "has a say, so that a deletion changes nobody's fate. Here the bound is a quantile of these "
    "records; a project sets it in advance.",
    "B": "Blocks per class. After each the state is saved; a deletion restarts from the first "
    "block that changes. R of SISA.",
    "SISA": "As many shards as there are classes, and as many slices as blocks: the same number "
    "of saved states.",
    "Samples": "Records passed through training. Speed-up is samples of training everything that "
    "is left from nothing, over samples that the deletion trains: on all records, and on the "
    "selected ones alone, where selection itself gains nothing.",
    "Nothing to do": "Share of the servings that train nothing, because no selected record left.",
}


def build_page(study: ArcaneStudy) -> str:
    """Return the page of a study."""
    parts = [
        f'<header><h1>{TITLE}</h1><p class="lead">{escape(_lead(study))}</p></header>',
        _accuracy(study),
        _deletions(study),
        _orders(study),
        facts_card(study.facts),
        glossary(TERMS),
        "<footer>Made by forgetflow from arcane.json. Figures are aggregates over models and "
        "drawn forget sets; the page holds no record and no subject.</footer>",
    ]
    return whole_page(TITLE, parts, STYLE)


def best(study: ArcaneStudy, head: str) -> Row:
    """Return the row of a head that learns from everybody, with the fewest blocks."""
    return next(r for r in study.models if (r["model"], r["selection"]) == (head, "all"))


def points(value: float) -> str:
    """Return a difference of accuracies in percentage points."""
    return f"{100 * value:+.1f}".replace("-", MINUS)


def _lead(study: ArcaneStudy) -> str:
    joint = study.joint["accuracy"]
    apart = [
        f"{points(best(study, head)['accuracy'] - joint)} points with the {head}"
        for head in study.grid.heads
    ]
    return (
        f"One one-class model per class, on {amount(study.facts['records'])} records. Learning "
        f"from all of them (alpha = 1), ARCANE is {' and '.join(apart)} away from one joint "
        f"model, {percent(joint)}; {study.grid.seeds} build(s) each, "
        f"{amount(study.grid.draws)} forget sets for every number of requests."
    )


def _accuracy(study: ArcaneStudy) -> str:
    fewest = study.grid.blocks[0]

    def over_shares(head: str, choice: str) -> list[tuple[float, float]]:
        return [
            (row["share"], row["accuracy"])
            for row in study.models
            if row["model"] == head
            and row["blocks"] == fewest
            and row["selection"] in (choice, "all")
        ]

    figures = [
        line_chart(
            head.capitalize(),
            f"test accuracy, B = {fewest}; dashed: one joint model",
            {name: over_shares(head, choice) for choice, name in LINES.items()},
            x_name="share alpha",
            write=percent,
            x_logarithmic=False,
            base=study.joint["accuracy"],
        )
        for head in study.grid.heads
    ]
    heads = (
        "model", "learned from", "alpha", "B", "accuracy", "to joint (points)", "worst class",
        "share", "samples", "build", "states",
    )  # fmt: skip
    rows = [
        (
            row["model"],
            CHOICES[row["selection"]],
            f"{row['share']:g}",
            amount(row["blocks"]),
            _with_spread(row),
            points(row["accuracy"] - study.joint["accuracy"]),
            percent(row["worst_class"]),
            percent(row["share_learned"]),
            amount(row["samples"]),
            seconds(row["seconds"]),
            f"{row['megabytes']:.1f}{NBSP}MB",
        )
        for row in study.models
    ]
    return (
        '<h2>Accuracy</h2><p class="hint">On the test records, all models asked about each; mean '
        "over seeds, and their standard deviation in percentage points.</p>"
        f'<div class="card"><div class="multiples">{"".join(figures)}</div>'
        f"{data_table(heads, rows)}</div>"
    )


def _with_spread(row: Row) -> str:
    spread = row["accuracy_sd"]
    beside = "" if spread is None else f" ± {100 * spread:.1f}"
    return percent(row["accuracy"]).replace(NBSP, f"{beside}{NBSP}")


def _deletions(study: ArcaneStudy) -> str:
    blocks = study.grid.blocks[-1]
    wanted = [row for row in study.deletions if row["blocks"] == blocks]
    lines = [("sisa", "all", 1.0)]
    least = study.grid.shares[-1]
    lines += [
        (head, choice, share)
        for head in study.grid.heads
        for choice, share in (("all", 1.0), ("joint", least))
        if (choice == "all") == (share == 1)
    ]

    def over_requests(
        line: tuple[str, str, float], kind: str, mode: str
    ) -> list[tuple[float, float]]:
        return [
            (row["requests"], row["speedup"])
            for row in wanted
            if (row["model"], row["selection"], row["share"]) == line
            and (row["kind"], row["mode"]) == (kind, mode)
            and row["speedup"]
        ]

    figures = [
        line_chart(
            KINDS[kind].capitalize(),
            f"{MODE_NAMES[mode]}; dashed: no gain",
            {f"{SHORT[n]} {s:g}": over_requests((n, c, s), kind, mode) for n, c, s in lines},
            x_name="requests K",
            write=times,
            logarithmic=True,
            base=1.0,
        )
        for kind, mode in (
            ("uniform", "batch"),
            ("class", "batch"),
            ("subject", "batch"),
            ("uniform", "sequential"),
        )
    ]
    heads = (
        "model", "learned from", "alpha", "B", "requests", "K", "served", "samples", "formula",
        "nothing to do", "all anew", "selected anew", "speed-up", "over selected",
    )  # fmt: skip
    rows = [
        (
            row["model"],
            CHOICES[row["selection"]] + ("" if row["exact"] else " (approximate)"),
            f"{row['share']:g}",
            amount(row["blocks"]),
            KINDS[row["kind"]],
            amount(row["requests"]),
            MODE_NAMES[row["mode"]],
            f"{amount(row['samples'])} ± {amount(row['samples_se'])}",
            amount(row["formula"]),
            percent(row["idle"]),
            amount(row["full"]),
            amount(row["full_selected"]),
            times(row["speedup"]),
            times(row["speedup_selected"]),
        )
        for row in wanted
    ]
    return (
        f'<h2>Deletions</h2><p class="hint">Speed-up in samples with B = {blocks} over training '
        "all records that are left from nothing. Means over drawn forget sets with their standard "
        "errors; deletions.csv holds every number of blocks.</p>"
        f'<div class="card"><div class="multiples">{"".join(figures)}</div>'
        f"{data_table(heads, rows)}</div>"
    )


def _orders(study: ArcaneStudy) -> str:
    heads = (
        "likely to leave", "head", "B", "K", "samples", "to any order", "ratio",
    )  # fmt: skip
    names = {"ascending": "last", "hash": "anywhere", "descending": "first"}
    rows: Sequence[Sequence[str]] = [
        (
            names[row["order"]],
            row["head"],
            amount(row["blocks"]),
            amount(row["requests"]),
            f"{amount(row['samples'])} ± {amount(row['samples_se'])}",
            f"{_signed(row['to_hash'])} ± {amount(row['to_hash_se'])}",
            DASH if row["ratio"] is None else f"{row['ratio']:.2f}",
        )
        for row in study.orders
    ]
    source = escape(str(study.facts["sorted_by"]))
    return (
        '<h2>Sorting by deletion prior</h2><p class="hint">alpha = 1; subjects leave with chances '
        f"in proportion to their prior ({source}), K of them in expectation, served together. All "
        "orders share their forget sets, so that differences have standard errors of their own."
        f'</p><div class="card">{data_table(heads, rows)}</div>'
    )


def _signed(value: float) -> str:
    return f"{value:+,.0f}".replace("-", MINUS)
