"""The study of forests as one HTML page: inline style and figures, nothing from the network."""

from html import escape

from forgetflow.evaluation.wording import DASH, MINUS, NBSP, amount, percent, seconds
from forgetflow.pages.report.page import glossary, whole_page
from forgetflow.pages.studies.figures import STYLE, line_chart
from forgetflow.studies.forest import ForestStudy, Row
from forgetflow.studies.tables import data_table, facts_card, times

TITLE = "Study: forests"

KIND_NAMES = {
    "single": "one record",
    "worst": "adversary",
    "batch": "batch {}",
    "subject": "one person",
}

TERMS = {
    "Random layers": "Layers from the root of each tree whose splits are drawn without looking at "
    "labels. A deletion seldom changes them, and they are the costly ones to grow again; but "
    "their splits are worse.",
    "Rows": "Records under all subtrees that a deletion grows again, added up over the trees. A "
    "refit grows every record once in every tree that learns from it.",
    "Speed-up": "What a refit without the deleted records takes, over what their deletion takes: "
    "in rows, and in processor seconds of the thread that computes. The refit is the one at the "
    "end, on the records that all deletions left.",
    "Adversary": "Someone who knows the forest asks, each time, for the record of so many drawn "
    "ones whose deletion grows most rows again (worst-of-1000 of DaRE).",
    "scikit-learn": "RandomForestClassifier with the same number of trees, depth, features tried "
    "per node, records per leaf and share of records; all else as it comes. It tries every "
    "threshold and deletes nothing.",
    "Equal": "After all deletions the forest is compared, byte for byte, with one fit without the "
    "deleted records. The study fails unless all are equal.",
}


def build_page(study: ForestStudy) -> str:
    """Return the page of a study."""
    caution = "" if study.caution is None else f"<p>{escape(study.caution)}.</p>"
    parts = [
        f'<header><h1>{TITLE}</h1><p class="lead">{escape(_lead(study))}</p>{caution}</header>',
        _accuracy(study),
        _deletions(study),
        facts_card(study.facts),
        glossary(TERMS),
        "<footer>Made by forgetflow from forest.json. Figures are aggregates over forests and "
        "drawn deletions; the page holds no record and no subject.</footer>",
    ]
    return whole_page(TITLE, parts, STYLE)


def name_of(row: Row) -> str:
    """Return who is deleted in a row of `ForestStudy.deletions`."""
    return KIND_NAMES[row["kind"]].format(f"{row['records']:.0f}")


def points(value: float, spread: float | None) -> str:
    """Return a difference of accuracies in percentage points, with its standard deviation."""
    beside = "" if spread is None else f" ± {100 * spread:.1f}"
    return f"{100 * value:+.1f}{beside}".replace("-", MINUS)


def _lead(study: ForestStudy) -> str:
    check, grid = study.check, study.grid
    return (
        f"What random layers cost in accuracy and save in deletions, on "
        f"{amount(study.facts['records'])} records: {len(study.depths)} numbers of random layers, "
        f"{grid.seeds} forest(s) each, and an adversary who takes the costliest of "
        f"{amount(grid.candidates)} records. {check['equal']} of {check['compared']} forests are, "
        f"after all deletions, byte-equal to a fit without the deleted records."
    )


def _accuracy(study: ForestStudy) -> str:
    lines = {
        name: [(float(row["random_depth"]), row[column]) for row in study.depths]
        for name, column in (("forgetflow", "accuracy"), ("scikit-learn", "reference_accuracy"))
    }
    figure = line_chart(
        "Test accuracy",
        "mean over seeds",
        lines,
        x_name="random layers",
        write=percent,
        x_logarithmic=False,
    )
    heads = (
        "random layers", "accuracy", "scikit-learn", "difference (points)", "fit",
        "scikit-learn fit", "ratio", "nodes", "stored", "equal",
    )  # fmt: skip
    rows = [
        (
            amount(row["random_depth"]),
            _with_spread(row, "accuracy"),
            _with_spread(row, "reference_accuracy"),
            points(row["difference"], row["difference_sd"]),
            seconds(row["fit_seconds"]),
            seconds(row["reference_fit_seconds"]),
            times(row["fit_ratio"]),
            amount(row["nodes"]),
            f"{row['megabytes']:.1f}{NBSP}MB",
            f"{row['equal']} of {row['seeds']}",
        )
        for row in study.depths
    ]
    return (
        '<h2>Accuracy and fitting</h2><p class="hint">On the test records; mean over seeds and '
        "standard deviation in percentage points. Seconds are processor time of one thread.</p>"
        f'<div class="card"><div class="multiples">{figure}</div>{data_table(heads, rows)}</div>'
    )


def _with_spread(row: Row, column: str) -> str:
    spread = row[f"{column}_sd"]
    beside = "" if spread is None else f" ± {100 * spread:.1f}"
    return percent(row[column]).replace(NBSP, f"{beside}{NBSP}")


def _deletions(study: ForestStudy) -> str:
    names = list(dict.fromkeys((row["kind"], name_of(row)) for row in study.deletions))
    shown = [name for kind, name in names if kind != "subject"]
    shown += [KIND_NAMES["subject"]] if any(kind == "subject" for kind, _ in names) else []

    def over_depths(column: str) -> dict[str, list[tuple[float, float]]]:
        return {
            name: [
                (float(row["random_depth"]), row[column])
                for row in study.deletions
                if name_of(row) == name and row[column]
            ]
            for name in shown
        }

    figures = [
        line_chart(
            f"Speed-up in {unit}",
            "mean deletion; dashed: no gain",
            over_depths(f"speedup_{unit}"),
            x_name="random layers",
            write=times,
            logarithmic=True,
            x_logarithmic=False,
            base=1.0,
        )
        for unit in ("rows", "seconds")
    ]
    heads = (
        "deleted", "random layers", "deletions", "records", "rows, mean", "median", "most",
        "mean of candidates", "subtrees", "refit rows", "speed-up", "median", "time, mean",
        "median", "refit time", "speed-up", "median",
    )  # fmt: skip
    rows = [
        (
            name_of(row),
            *(amount(row[n]) for n in ("random_depth", "deletions")),
            f"{row['records']:.4g}",
            *(amount(row[n]) for n in ("rows", "rows_median", "rows_most", "candidates_rows")),
            f"{row['subtrees']:,.0f}" if row["subtrees"] >= 100 else f"{row['subtrees']:.3g}",
            amount(row["refit_rows"]),
            times(row["speedup_rows"]),
            times(row["speedup_rows_median"]),
            _milliseconds(row["seconds"]),
            _milliseconds(row["seconds_median"]),
            seconds(row["refit_seconds"]),
            times(row["speedup_seconds"]),
            times(row["speedup_seconds_median"]),
        )
        for row in sorted(study.deletions, key=_order)
    ]
    return (
        '<h2>Deletions</h2><p class="hint">Each forest loses records one by one, then to the '
        "adversary, then several together, then whole people. Speed-up is over a refit without "
        f'them.</p><div class="card"><div class="multiples">{"".join(figures)}</div>'
        f"{data_table(heads, rows)}</div>"
    )


def _order(row: Row) -> tuple[int, float, int]:
    size = row["records"] if row["kind"] == "batch" else 0.0
    return (list(KIND_NAMES).index(row["kind"]), size, row["random_depth"])


def _milliseconds(value: object) -> str:
    return f"{1000 * value:.3g}{NBSP}ms" if isinstance(value, int | float) else DASH
