"""The study of sharding as a page: accuracy, speed-ups, counts beside expectations."""

from forgetflow.pages.charts import agreement, lines, series
from forgetflow.pages.facts import blocks
from forgetflow.pages.numbers import NBSP, TIMES, amount, fixed, percent, seconds, times
from forgetflow.pages.render import render
from forgetflow.pages.table import Column, of, of_rows, with_spread
from forgetflow.studies.draws import KINDS
from forgetflow.studies.sharding import SIGMAS, Sharding
from forgetflow.studies.sharding_counts import MODES

KIND_NAMES = {
    "uniform": "uniform requests",
    "class": "requests within one class",
    "skewed": "skewed requests",
}
MODE_NAMES = {"batch": "served together", "sequential": "one after another"}

GAIN = f"{{:.2f}}{TIMES}".format

PREDICTIONS = {"mean": "Mean prediction", "vote": "Label majority", "lone": "A lone shard (1/S)"}
"""Ends of the columns of accuracy, and how they are called."""

ACCURACY: tuple[Column, ...] = (
    ("S", of("shards", amount)),
    ("R", of("slices", amount)),
    ("mean prediction", with_spread("accuracy_mean", percent)),
    ("label majority", with_spread("accuracy_vote", percent)),
    ("lone shard", with_spread("accuracy_lone", percent)),
    ("worst shard", of("accuracy_worst", percent)),
    ("build", of("seconds", seconds)),
)
COUNTS: tuple[Column, ...] = (
    ("S", of("shards", amount)),
    ("R", of("slices", amount)),
    ("K", of("requests", amount)),
    ("served", of("mode", MODE_NAMES.__getitem__)),
    ("samples", of("samples", amount)),
    ("points", of("points", amount)),
    ("expected", of("expected", amount)),
    ("sigma off", of("deviation", lambda value: fixed(value, 1, "+"))),
    ("closed form", of("formula", amount)),
    ("full retraining", of("full", amount)),
    ("lone shard", of("lone_shard", amount)),
    ("speed-up", of("speedup", times)),
    ("time", of("seconds", seconds)),
)
PAPER: tuple[Column, ...] = (
    ("data set", of("data_set")),
    ("N", of("records", amount)),
    ("K", of("requests", "{:g}".format)),
    ("sharding alone", of("sharding_gain", GAIN)),
    ("slicing, one request", of("slicing_gain_one", GAIN)),
    ("product (paper's)", of("recipe_one", GAIN)),
    ("product, n hits", of("recipe_hits", GAIN)),
    ("both together, exact", of("joint", GAIN)),
    ("printed", of("published", GAIN)),
)
"""Columns of the page's tables."""


def sharding_page(study: Sharding) -> str:
    """Return the page of a study."""
    most = max(study.grid.slices)
    counted = [row for row in study.deletions if row["slices"] == most]
    dots: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for row in study.deletions:
        if row["deviation"] is not None:
            dots[abs(row["deviation"]) > SIGMAS].append((row["expected"], row["points"]))
    return render(
        "sharding",
        study=study,
        sigmas=SIGMAS,
        most_slices=most,
        accuracy_charts=[
            lines(
                title,
                "dashed: one model of all records",
                series(study.cells, "R = {slices}".format_map, "shards", f"accuracy_{name}"),
                x_name="shards S",
                write=percent,
                base=study.cell(1, 1)["accuracy_mean"],
            )
            for name, title in PREDICTIONS.items()
        ],
        accuracy=of_rows(study.cells, ACCURACY),
        speed_charts=[
            lines(
                KIND_NAMES[kind].capitalize(),
                MODE_NAMES[mode],
                series(
                    (row for row in counted if (row["kind"], row["mode"]) == (kind, mode)),
                    "S = {shards}".format_map,
                    "requests",
                    "speedup",
                ),
                x_name="requests K",
                write=times,
                logarithmic=True,
                base=1.0,
            )
            for mode in MODES
            for kind in KINDS
        ],
        count_chart=agreement(
            "Counted against expected",
            f"points; crosses in red: further than {SIGMAS:g} sigma",
            *dots,
            x_name="exact expectation (points)",
            write=_brief,
        ),
        counts=of_rows((r for r in study.deletions if r["kind"] == "uniform"), COUNTS, {"served"}),
        paper=of_rows(study.paper, PAPER),
        facts=blocks(study.facts),
    )


def _brief(value: float) -> str:
    """Return a power of ten as `10 k` or `1 M`."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{NBSP}{unit}"
    return f"{value:g}"
