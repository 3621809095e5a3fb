"""What `forgetflow study` prints of finished results."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from forgetflow.cli.console import percent, table

if TYPE_CHECKING:
    from forgetflow.audit.audit import Audit
    from forgetflow.audit.protocol import Estimate
    from forgetflow.studies.arcane import ArcaneStudy
    from forgetflow.studies.forest import ForestStudy
    from forgetflow.studies.sharding import Sharding


def methods(found: "Audit") -> str:
    """Return a line per contender, and what the controls say."""
    from forgetflow.audit.summary import HEADLINES

    rows = []
    for contender in found.members:
        cells = []
        for name in ("ulira", "klom_p95", "gaussian_p95", "js", "tow"):
            measure, group, statistic = HEADLINES[name]
            one = found.estimate(measure, contender, group, statistic)
            cells.append(_value(one))
        rows.append([contender, *cells, f"{100 * found.costs[contender]['of_retrain']:.0f} %"])
    heads = ["contender", "U-LiRA", "KLoM p95", "Gaussian KL", "JS (bits)", "ToW", "cost"]
    verdict = "\n".join(f"{c.contender}: {c.sentence}" for c in found.controls)
    return f"{table(heads, rows)}\n\n{verdict}"


def sharding(found: "Sharding") -> str:
    """Return a line per cell, and the check of counts."""
    few, many = found.grid.requests[0], found.grid.requests[-1]
    speedups = {
        (row["shards"], row["slices"], row["requests"]): row["speedup"]
        for row in found.deletions
        if (row["kind"], row["mode"]) == ("uniform", "batch")
    }
    rows = []
    for row in found.cells:
        cell = row["shards"], row["slices"]
        accuracies = (percent(row[f"accuracy_{name}"]) for name in ("mean", "vote", "lone"))
        gains = (_gain(speedups[(*cell, number)]) for number in (few, many))
        rows.append([*cell, *accuracies, *gains])
    heads = ["S", "R", "mean", "vote", "lone shard", f"speed-up K={few}", f"speed-up K={many}"]
    check = found.check
    return (
        f"{table(heads, rows)}\n\n{check.within} of {check.compared} counted means lie within "
        f"3 sigma of their expectation (about {check.by_chance:.1f} outside would be chance)."
    )


def forest(found: "ForestStudy") -> str:
    """Return a line per number of random layers, the comparison with refits, and the caution."""
    from forgetflow.pages.numbers import pp

    rows = []
    for row in found.depths:
        costs = [found.deletion(row["random_depth"], kind) for kind in ("single", "worst")]
        gains = [cost[name] for cost in costs for name in ("speedup_rows", "speedup_seconds")]
        rows.append(
            [
                row["random_depth"],
                percent(row["accuracy"]),
                pp(row["difference"], row["difference_sd"]),
                *(_gain(gain, 0) for gain in gains),
            ]
        )
    heads = ["random layers", "accuracy", "to scikit-learn (pp)", "one record: rows", "time"]
    heads += ["adversary: rows", "time"]
    said = (
        f"Speed-ups are over a refit. {found.check.equal} of {found.check.compared} forests are "
        "byte-equal to a fit without the deleted records."
    )
    if found.caution:
        said = f"{said}\n{found.caution}."
    return f"{table(heads, rows)}\n\n{said}"


def arcane(found: "ArcaneStudy") -> str:
    """Return a line per ensemble, with what it saves at the most requests."""
    most, cell = found.grid.requests[-1], ("model", "selection", "share", "blocks")
    gains = {
        (row["kind"], *(row[name] for name in cell)): row["speedup"]
        for row in found.deletions
        if (row["requests"], row["mode"]) == (most, "batch")
    }
    rows = []
    for row in found.models:
        own = [row[name] for name in cell]
        speedups = [gains.get((kind, *own)) for kind in ("uniform", "class")]
        to_joint = f"{100 * (row['accuracy'] - found.joint['accuracy']):+.1f}"
        saved = (_gain(gain) for gain in speedups)
        rows.append([*own, percent(row["accuracy"]), to_joint, *saved])
    heads = ["model", "learned from", "alpha", "B", "accuracy", "to joint"]
    heads += [f"K={most} uniform", f"K={most} in a class"]
    return (
        f"{table(heads, rows)}\n\nSpeed-ups are over training all records that are left from "
        "nothing; alpha = 1 is without selection, which saves by learning from fewer records."
    )


def _value(one: "Estimate | None") -> str:
    if one is None:
        return "does not apply"
    return f"{one.value:.3g}" if one.value is not None else one.reason


def _gain(gain: float | None, digits: int = 1) -> str:
    return f"{gain:.{digits}f}x" if gain else "nothing to train"


TEXTS: dict[str, Callable[[Any], str]] = {
    "sharding": sharding,
    "forest": forest,
    "arcane": arcane,
}
