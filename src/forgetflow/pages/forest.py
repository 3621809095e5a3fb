"""The study of forests as a page: accuracy beside scikit-learn's, and the cost of deletions."""

from forgetflow.pages.charts import lines, series
from forgetflow.pages.facts import blocks
from forgetflow.pages.numbers import NBSP, amount, percent, pp, seconds, times
from forgetflow.pages.render import render
from forgetflow.pages.table import Column, Row, of, of_rows, with_spread
from forgetflow.studies.forest import ForestStudy

KIND_NAMES = {
    "single": "one record",
    "worst": "adversary",
    "batch": "batch {}",
    "subject": "one person",
}
"""Kind of deletion -> who is deleted; in reading order."""


def _name(row: Row) -> str:
    """Return who is deleted in a row of `ForestStudy.deletions`."""
    return KIND_NAMES[row["kind"]].format(f"{row['records']:.0f}")


def _subtrees(value: float) -> str:
    return amount(value) if value >= 100 else f"{value:.3g}"


ACCURACY: tuple[Column, ...] = (
    ("random layers", of("random_depth", amount)),
    ("accuracy", with_spread("accuracy", percent)),
    ("scikit-learn", with_spread("reference_accuracy", percent)),
    ("difference (pp)", with_spread("difference", pp)),
    ("fit", of("fit_seconds", seconds)),
    ("scikit-learn fit", of("reference_fit_seconds", seconds)),
    ("ratio", of("fit_ratio", times)),
    ("nodes", of("nodes", amount)),
    ("stored", of("megabytes", f"{{:.1f}}{NBSP}MB".format)),
    ("equal", lambda row: f"{row['equal']} of {row['seeds']}"),
)
DELETIONS: tuple[Column, ...] = (
    ("deleted", _name),
    ("random layers", of("random_depth", amount)),
    ("deletions", of("deletions", amount)),
    ("records", of("records", "{:.4g}".format)),
    ("subtrees", of("subtrees", _subtrees)),
    ("mean", of("rows", amount)),
    ("median", of("rows_median", amount)),
    ("most", of("rows_most", amount)),
    ("of candidates", of("candidates_rows", amount)),
    ("refit", of("refit_rows", amount)),
    ("speed-up", of("speedup_rows", times)),
    ("its median", of("speedup_rows_median", times)),
    ("mean", of("seconds", seconds)),
    ("median", of("seconds_median", seconds)),
    ("refit", of("refit_seconds", seconds)),
    ("speed-up", of("speedup_seconds", times)),
    ("its median", of("speedup_seconds_median", times)),
)
GROUPS = (("", 4), ("rows grown again", 7), ("processor time", 5))
"""Columns of the page's tables, and what stands above those of deletions."""


def forest_page(study: ForestStudy) -> str:
    """Return the page of a study."""
    drawn = {
        name: [(float(row["random_depth"]), row[column]) for row in study.depths]
        for name, column in (("forgetflow", "accuracy"), ("scikit-learn", "reference_accuracy"))
    }
    deletions = sorted(study.deletions, key=_order)
    return render(
        "forest",
        study=study,
        accuracy_chart=lines(
            "Test accuracy",
            "mean over seeds",
            drawn,
            x_name="random layers",
            write=percent,
            x_logarithmic=False,
        ),
        accuracy=of_rows(study.depths, ACCURACY),
        speed_charts=[
            lines(
                f"Speed-up in {unit}",
                "mean deletion; dashed: no gain",
                series(deletions, _name, "random_depth", f"speedup_{unit}"),
                x_name="random layers",
                write=times,
                logarithmic=True,
                x_logarithmic=False,
                base=1.0,
            )
            for unit in ("rows", "seconds")
        ],
        deletions=of_rows(deletions, DELETIONS, (), GROUPS),
        facts=blocks(study.facts),
    )


def _order(row: Row) -> tuple[int, float, int]:
    size = row["records"] if row["kind"] == "batch" else 0.0
    return (list(KIND_NAMES).index(row["kind"]), size, row["random_depth"])
