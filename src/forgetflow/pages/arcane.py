"""The study of ARCANE as a page: accuracy, the cost of deletions, and the sorting of blocks."""

from collections.abc import Callable

from forgetflow.pages.charts import Chart, lines, series
from forgetflow.pages.facts import blocks
from forgetflow.pages.numbers import NBSP, amount, fixed, percent, pp, seconds, times
from forgetflow.pages.render import render
from forgetflow.pages.table import Column, Row, of, of_rows, with_spread
from forgetflow.studies.arcane import ArcaneStudy

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
    "uniform": "uniform",
    "class": "within one class",
    "subject": "whole people",
}
TITLES = {
    "uniform": "Uniform requests",
    "class": "Requests within one class",
    "subject": "Whole people",
}
MODE_NAMES = {"batch": "served together", "sequential": "one after another"}
BRIEFLY = {"batch": "together", "sequential": "one by one"}

DRAWN = (("uniform", "batch"), ("class", "batch"), ("subject", "batch"), ("uniform", "sequential"))
"""Kinds and modes of requests that have a chart."""

ORDERS = {"ascending": "last", "hash": "anywhere", "descending": "first"}
"""Order of blocks -> where those stand who are likely to leave."""


def _learned_from(row: Row) -> str:
    return CHOICES[row["selection"]] + ("" if row["exact"] else " (approximate)")


def _with_error(name: str, sign: str = "") -> Callable[[Row], str]:
    return lambda row: f"{fixed(row[name], 0, sign)} ± {amount(row[f'{name}_se'])}"


ACCURACY: tuple[Column, ...] = (
    ("model", of("model")),
    ("learned from", _learned_from),
    ("alpha", of("share", "{:g}".format)),
    ("B", of("blocks", amount)),
    ("accuracy", with_spread("accuracy", percent)),
    ("to joint (pp)", of("to_joint", pp)),
    ("worst class", of("worst_class", percent)),
    ("share", of("share_learned", percent)),
    ("samples", of("samples", amount)),
    ("build", of("seconds", seconds)),
    ("states", of("megabytes", f"{{:.1f}}{NBSP}MB".format)),
)
DELETIONS: tuple[Column, ...] = (
    ("model", of("model")),
    ("learned from", _learned_from),
    ("alpha", of("share", "{:g}".format)),
    ("B", of("blocks", amount)),
    ("requests", of("kind", KINDS.__getitem__)),
    ("K", of("requests", amount)),
    ("served", of("mode", BRIEFLY.__getitem__)),
    ("samples", _with_error("samples")),
    ("formula", of("formula", amount)),
    ("nothing to do", of("idle", percent)),
    ("all anew", of("full", amount)),
    ("selected anew", of("full_selected", amount)),
    ("speed-up", of("speedup", times)),
    ("over selected", of("speedup_selected", times)),
)
BY_ORDER: tuple[Column, ...] = (
    ("likely to leave", of("order", ORDERS.__getitem__)),
    ("head", of("head")),
    ("B", of("blocks", amount)),
    ("K", of("requests", amount)),
    ("samples", _with_error("samples")),
    ("to any order", _with_error("to_hash", "+")),
    ("ratio", of("ratio", lambda value: fixed(value, 2))),
)
"""Columns of the page's tables."""


def arcane_page(study: ArcaneStudy) -> str:
    """Return the page of a study."""
    joint = study.joint["accuracy"]
    # The row of a head that learns from everybody, with the fewest blocks.
    whole = {
        head: next(r for r in study.models if (r["model"], r["selection"]) == (head, "all"))
        for head in study.grid.heads
    }
    return render(
        "arcane",
        study=study,
        joint=joint,
        apart=" and ".join(
            f"{pp(row['accuracy'] - joint)}{NBSP}pp with the {head}" for head, row in whole.items()
        ),
        accuracy_charts=[_accuracy_chart(study, head) for head in study.grid.heads],
        accuracy=of_rows(
            (row | {"to_joint": row["accuracy"] - joint} for row in study.models),
            ACCURACY,
            {"learned from"},
        ),
        blocks=study.grid.blocks[-1],
        deletion_charts=[_deletion_chart(study, *asked) for asked in DRAWN],
        deletions=of_rows(
            (row for row in study.deletions if row["blocks"] == study.grid.blocks[-1]),
            DELETIONS,
            {"learned from", "requests", "served"},
        ),
        orders=of_rows(study.orders, BY_ORDER, {"head"}),
        facts=blocks(study.facts),
    )


def _accuracy_chart(study: ArcaneStudy, head: str) -> Chart:
    fewest = study.grid.blocks[0]
    rows = [r for r in study.models if (r["model"], r["blocks"]) == (head, fewest)]
    return lines(
        head.capitalize(),
        f"test accuracy, B = {fewest}; dashed: one joint model",
        {
            name: [(r["share"], r["accuracy"]) for r in rows if r["selection"] in (choice, "all")]
            for choice, name in LINES.items()
        },
        x_name="share alpha",
        write=percent,
        x_logarithmic=False,
        base=study.joint["accuracy"],
    )


def _deletion_chart(study: ArcaneStudy, kind: str, mode: str) -> Chart:
    drawn = [("sisa", "all", 1.0)]
    for head in study.grid.heads:
        drawn += [(head, "all", 1.0), (head, "joint", study.grid.shares[-1])]
    rows = (
        row
        for row in study.deletions
        if (row["kind"], row["mode"], row["blocks"]) == (kind, mode, study.grid.blocks[-1])
        and (row["model"], row["selection"], row["share"]) in drawn
    )
    return lines(
        TITLES[kind],
        f"{MODE_NAMES[mode]}; dashed: no gain",
        series(rows, lambda row: f"{SHORT[row['model']]} {row['share']:g}", "requests", "speedup"),
        x_name="requests K",
        write=times,
        logarithmic=True,
        base=1.0,
    )
