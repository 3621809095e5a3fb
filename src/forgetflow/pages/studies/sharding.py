"""The study of sharding as one HTML page: inline style and figures, nothing from the network."""

from html import escape

from forgetflow.evaluation.wording import DASH, NBSP, TIMES, amount, percent, seconds
from forgetflow.pages.report.page import glossary, whole_page
from forgetflow.pages.studies.figures import STYLE, line_chart, scatter
from forgetflow.studies.draws import KINDS
from forgetflow.studies.sharding import MODES, SIGMAS, Row, Sharding
from forgetflow.studies.tables import data_table, facts_card, times

TITLE = "Study: sharding"

KIND_NAMES = {
    "uniform": "uniform requests",
    "class": "requests within one class",
    "skewed": "skewed requests",
}
MODE_NAMES = {"batch": "served together", "sequential": "one after another"}

TERMS = {
    "S, R, K": "Shards (isolated models whose predictions are averaged or voted), slices per shard "
    "(checkpoints from which training goes on), and deletion requests.",
    "Samples": "Records passed through training, once for every pass: what the trainer does, in "
    "whole mini-batches. Points are the same before rounding to steps, the unit of the formulas.",
    "Speed-up": "Samples of retraining one model on everything that is left, over samples that the "
    "deletion trains again. Requests one after another are held against as many full retrainings. "
    "Work on several machines at once is not counted as a saving.",
    "Lone shard": "The baseline of the paper: one model of 1/S of the records and nothing else. It "
    "is what sharding must beat in accuracy, because it is cheaper still.",
    "Uniform, class, skewed": "K records drawn from all; K records of one class, drawn for every "
    "forget set; subjects who leave with all their records, each with a chance of its own (their "
    "deletion priors where there are any, else 1, 1/2, 1/3, ...), K of them in expectation.",
    "Expected": "The exact expectation for this placement, whose shards and slices differ in size. "
    "The closed form assumes equal ones and knows uniform requests only.",
}


def build_page(study: Sharding) -> str:
    """Return the page of a study."""
    parts = [
        f'<header><h1>{TITLE}</h1><p class="lead">{escape(_lead(study))}</p></header>',
        _accuracy(study),
        _speed(study),
        _counts(study),
        _paper(study),
        facts_card(study.facts),
        glossary(TERMS),
        "<footer>Made by forgetflow from sharding.json. Figures are aggregates over models and "
        "drawn forget sets; the page holds no record and no subject.</footer>",
    ]
    return whole_page(TITLE, parts, STYLE)


def _lead(study: Sharding) -> str:
    check = study.check
    return (
        f"What sharding and slicing cost in accuracy and save in training, on "
        f"{amount(study.facts['records'])} records: {len(study.cells)} combinations of shards and "
        f"slices, {study.grid.seeds} build(s) each, {amount(study.grid.draws)} forget sets for "
        f"every number of requests. {check['within']:.0f} of {check['compared']:.0f} counted "
        f"means lie within {SIGMAS:g} sigma of their exact expectation; about "
        f"{check['by_chance']:.1f} outside would be chance."
    )


def _accuracy(study: Sharding) -> str:
    slices = sorted({row["slices"] for row in study.cells})
    full = study.cell(1, 1)["accuracy_mean"]

    def over_shards(column: str, number: int) -> list[tuple[float, float]]:
        rows = [row for row in study.cells if row["slices"] == number]
        return [(row["shards"], row[column]) for row in rows]

    figures = [
        line_chart(
            title,
            "dashed: one model of all records",
            {f"R = {number}": over_shards(column, number) for number in slices},
            x_name="shards S",
            write=percent,
            base=full,
        )
        for title, column in (
            ("Mean prediction", "accuracy_mean"),
            ("Label majority", "accuracy_vote"),
            ("A lone shard (1/S)", "accuracy_lone"),
        )
    ]
    heads = ("S", "R", "mean prediction", "label majority", "lone shard", "worst shard", "build")
    rows = [
        (
            amount(row["shards"]),
            amount(row["slices"]),
            *(_with_spread(row, f"accuracy_{name}") for name in ("mean", "vote", "lone")),
            percent(row["accuracy_worst"]),
            seconds(row["seconds"]),
        )
        for row in study.cells
    ]
    return (
        '<h2>Accuracy</h2><p class="hint">On the test records; mean over seeds, and their '
        "standard deviation in percentage points. S = R = 1 is full retraining.</p>"
        f'<div class="card"><div class="multiples">{"".join(figures)}</div>'
        f"{data_table(heads, rows)}</div>"
    )


def _with_spread(row: Row, column: str) -> str:
    spread = row[f"{column}_sd"]
    beside = "" if spread is None else f" ± {100 * spread:.1f}"
    return percent(row[column]).replace(NBSP, f"{beside}{NBSP}")


def _speed(study: Sharding) -> str:
    slices = max(study.grid.slices)
    shards = sorted({row["shards"] for row in study.cells if row["slices"] == slices})

    def over_requests(kind: str, mode: str, number: int) -> list[tuple[float, float]]:
        wanted = (kind, mode, number, slices)
        names = ("kind", "mode", "shards", "slices")
        rows = [row for row in study.points if tuple(row[name] for name in names) == wanted]
        return [(row["requests"], row["speedup"]) for row in rows if row["speedup"]]

    figures = [
        line_chart(
            KIND_NAMES[kind].capitalize(),
            MODE_NAMES[mode],
            {f"S = {number}": over_requests(kind, mode, number) for number in shards},
            x_name="requests K",
            write=times,
            logarithmic=True,
            base=1.0,
        )
        for mode in MODES
        for kind in KINDS
    ]
    return (
        f'<h2>Speed-up of deletions</h2><p class="hint">In samples, with R = {slices} slices, '
        "against retraining one model on everything that is left (dashed: no gain).</p>"
        f'<div class="card"><div class="multiples">{"".join(figures)}</div></div>'
    )


def _counts(study: Sharding) -> str:
    known = [row for row in study.points if row["deviation"] is not None]
    pairs = [
        [(row["expected"], row["points"]) for row in known if (abs(row["deviation"]) > SIGMAS) is o]
        for o in (False, True)
    ]
    figure = scatter(
        "Counted against expected",
        f"points; red: further than {SIGMAS:g} sigma",
        *pairs,
        x_name="exact expectation (points)",
        write=_brief,
    )
    shown = [row for row in study.points if row["kind"] == "uniform"]
    heads = (
        "S", "R", "K", "served", "samples", "points", "expected", "sigma off", "closed form",
        "full retraining", "lone shard", "speed-up", "time",
    )  # fmt: skip
    rows = [
        (
            *(amount(row[name]) for name in ("shards", "slices", "requests")),
            row["mode"],
            *(amount(row[name]) for name in ("samples", "points", "expected")),
            DASH if row["deviation"] is None else f"{row['deviation']:+.1f}",
            *(amount(row[name]) for name in ("formula", "full", "lone_shard")),
            times(row["speedup"]),
            seconds(row["seconds"]),
        )
        for row in shown
    ]
    return (
        '<h2>Counted and expected</h2><p class="hint">Means over drawn forget sets. The table '
        "holds uniform requests; points.csv holds all. Time is samples at the pace of the full "
        'build, an estimate.</p><div class="card">'
        f'<div style="max-width: 560px">{figure}</div>{data_table(heads, rows)}</div>'
    )


def _paper(study: Sharding) -> str:
    heads = (
        "data set", "N", "K", "sharding alone", "slicing, one request", "product (paper's)",
        "product, n hits", "both together, exact", "printed",
    )  # fmt: skip
    gains = ("sharding_gain", "slicing_gain_one", "recipe_one", "recipe_hits", "joint", "published")
    rows = [
        (
            row["data_set"],
            amount(row["records"]),
            f"{row['requests']:g}",
            *(f"{row[name]:.2f}{TIMES}" for name in gains),
        )
        for row in study.paper
    ]
    return (
        '<h2>The published speed-ups</h2><p class="hint">S = 20, R = 50, from formulas alone. The '
        "paper's figures are products of two gains, slicing's for a single request (for the two "
        "large data sets, for the n requests of a shard that is hit). The recipe is inferred from "
        "its figures. Where several requests share a shard, it restarts from the earliest slice "
        "hit, so that the gains do not multiply: the exact count of both together is what a "
        f'deletion can expect.</p><div class="card">{data_table(heads, rows)}</div>'
    )


def _brief(value: float) -> str:
    """Return a power of ten as `10 k` or `1 M`."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{NBSP}{unit}"
    return f"{value:g}"
