"""Figures of the report as inline SVG: accuracy, cost, and losses on the forget set.

Colours and fonts come from the page's style sheet, so that figures follow light and dark mode.
Every bar carries its number as text: nothing is told by colour or length alone.
"""

from collections.abc import Sequence
from html import escape
from math import ceil

from forgetflow.evaluation.evaluate import Evaluation
from forgetflow.evaluation.loss import BIN_EDGES, TABLE
from forgetflow.evaluation.report import Summary
from forgetflow.evaluation.wording import DASH, amount, percent, seconds, short

WIDTH, LABEL, GAP, LINE = 1080, 176, 44, 40
BAR = 14


def accuracy_figure(rows: Sequence[Summary]) -> str:
    """Return bars of test and forget accuracy per generation, the oracle's as a tick."""
    panels = [
        ("Test records", "test_accuracy", "test_accuracy_oracle"),
        ("Forgotten records", "forget_accuracy", "forget_accuracy_oracle"),
    ]
    shown = [one for one in panels if any(row.values[one[1]] is not None for row in rows)]
    body = []
    for index, (title, mine, theirs) in enumerate(shown):
        left, length = _panel(index)
        body.append(_title(left, title))
        for line, row in enumerate(rows):
            value, oracle = row.values[mine], row.values[theirs]
            top = _top(line)
            if not isinstance(value, int | float):
                body.append(_nothing(left, top, row.missing.get(mine, "")))
                continue
            body.append(_rectangle(left, top, length, "track"))
            body.append(_rectangle(left, top, length * value, "bar"))
            if isinstance(oracle, int | float):
                x = left + length * oracle
                body.append(
                    f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" '
                    f'y1="{top - 5}" y2="{top + BAR + 5}"/>'
                )
            beside = f"oracle {percent(oracle)}" if oracle is not None else ""
            body.append(_value(left + length + 12, top, percent(value), beside))
    return _figure(rows, body, "Accuracy per generation beside the oracle's")


def cost_figure(rows: Sequence[Summary]) -> str:
    """Return bars of records and seconds retrained, as a share of full retraining."""
    panels = [
        ("Records passed through training", "records_retrained", "records_full_retraining"),
        ("Computing time", "seconds", "seconds_full_retraining"),
    ]
    body = []
    for index, (title, mine, theirs) in enumerate(panels):
        left, length = _panel(index)
        body.append(_title(left, title))
        shares = [_share(row.values[mine], row.values[theirs]) for row in rows]
        scale = length / max([1.0, *(share for share in shares if share is not None)])
        write = amount if index == 0 else seconds
        for line, (row, share) in enumerate(zip(rows, shares, strict=True)):
            top = _top(line)
            if share is None:
                why = row.missing.get(mine) or row.missing.get(theirs, "")
                body.append(_nothing(left, top, why))
                continue
            body.append(_rectangle(left, top, scale, "track"))
            body.append(_rectangle(left, top, scale * share, "bar"))
            beside = f"{write(row.values[mine])} of {write(row.values[theirs])}"
            body.append(_value(left + length + 12, top, percent(share), beside))
    return _figure(rows, body, "Cost per generation against full retraining")


def loss_figures(evaluations: Sequence[tuple[str, Evaluation]]) -> list[str]:
    """Return one loss histogram per generation that has a forget set and an oracle."""
    found: list[tuple[str, list[float], list[float]]] = []
    for name, evaluation in evaluations:
        rows = [row for row in evaluation.tables.get(TABLE, ()) if row["set"] == "forget"]
        mine, theirs = (
            [float(row["share"] or 0) for row in rows if row["model"] == model]
            for model in ("unlearned", "oracle")
        )
        if len(mine) == len(theirs) == len(BIN_EDGES) - 1:
            found.append((name, mine, theirs))
    highest = max((max(*mine, *theirs) for _, mine, theirs in found), default=1.0)
    top = ceil(highest * 10) / 10
    return [_loss_figure(name, mine, theirs, top) for name, mine, theirs in found]


def _loss_figure(title: str, model: Sequence[float], oracle: Sequence[float], top: float) -> str:
    """Return one histogram: losses of the forget set under a model and under the oracle.

    Args:
        title: name of the generation.
        model: share of records per bin of `BIN_EDGES`.
        oracle: the same under the oracle.
        top: largest share of all histograms on the page, the end of the vertical axis.
    """
    left, ground, height, step = 38, 172, 136, 24.0
    parts = [f'<text class="bold" x="{left}" y="16">{escape(short(title, 36))}</text>']
    for mark in (0.0, 0.5, 1.0):
        y = ground - height * mark
        parts.append(
            f'<line class="axis" x1="{left}" x2="{left + step * len(model):g}" y1="{y}" y2="{y}"/>'
            f'<text class="soft small" x="{left - 6}" y="{y + 4}" text-anchor="end">'
            f"{round(100 * top * mark)}%</text>"
        )
    path = [f"M{left} {ground}"]
    for index, (mine, theirs) in enumerate(zip(model, oracle, strict=True)):
        x, y = left + step * index, ground - height * theirs / top
        tall = height * mine / top
        parts.append(
            f'<rect class="fill" x="{x + 1.5:g}" y="{ground - tall:.1f}" '
            f'width="{step - 3:g}" height="{tall:.1f}"/>'
        )
        path.append(f"L{x:g} {y:.1f}L{x + step:g} {y:.1f}")
    path.append(f"L{left + step * len(model):g} {ground}")
    parts.append(f'<path class="step" d="{"".join(path)}"/>')
    for index, edge in enumerate(BIN_EDGES):
        if edge in (0.0, 0.001, 0.01, 0.1, 1.0, 10.0):
            parts.append(
                f'<text class="soft small" x="{left + step * index:g}" y="{ground + 17}" '
                f'text-anchor="middle">{edge:g}</text>'
            )
    parts.append(
        f'<text class="soft small" x="{left}" y="{ground + 34}">'
        "cross-entropy of a forgotten record (nats)</text>"
    )
    label = f"Losses on the forget set of {title}"
    return (
        f'<svg viewBox="0 0 336 210" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _panel(index: int) -> tuple[float, float]:
    """Return where a panel's bars start and how long a full bar is."""
    width = (WIDTH - LABEL - GAP) / 2
    return LABEL + index * (width + GAP), width - 158


def _top(line: int) -> int:
    return 40 + line * LINE


def _share(part: object, whole: object) -> float | None:
    if isinstance(part, int | float) and isinstance(whole, int | float) and whole:
        return part / whole
    return None


def _title(x: float, text: str) -> str:
    return f'<text class="soft" x="{x:g}" y="16">{escape(text)}</text>'


def _rectangle(x: float, top: float, length: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:g}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2"/>'


def _nothing(x: float, top: int, reason: str) -> str:
    text = escape(f"{DASH} {short(reason, 58)}")
    return f'<text class="soft small" x="{x:g}" y="{top + 12}">{text}</text>'


def _value(x: float, top: float, text: str, beside: str) -> str:
    return (
        f'<text class="bold" x="{x:g}" y="{top + 5}">{escape(text)}</text>'
        f'<text class="soft small" x="{x:g}" y="{top + 19}">{escape(beside)}</text>'
    )


def _figure(rows: Sequence[Summary], body: Sequence[str], label: str) -> str:
    names = "".join(
        f'<text x="0" y="{_top(line) + 12}">{escape(short(name, 22))}</text>'
        for line, name in enumerate(str(row.values["generation"]) for row in rows)
    )
    return (
        f'<svg class="wide" viewBox="0 0 {WIDTH} {_top(len(rows)) - 8}" role="img" '
        f'aria-label="{escape(label)}">{names}{"".join(body)}</svg>'
    )
