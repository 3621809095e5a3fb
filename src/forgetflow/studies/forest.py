"""The study of forests: what random layers cost in accuracy and save in deletions.

Deletion efficiency against the number of random layers, and against an adversary who knows the
forest and takes the costliest of 1,000 records: the questions of DaRE forests (Brophy and Lowd,
"Machine Unlearning for Random Forests", ICML 2021, Sec. 4), on the project's own records and for
the forest of `forgetflow.forest`, whose deletions must arrive at the bytes of a refit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import mean, median, stdev
from typing import Any

from forgetflow.errors import VerdictError
from forgetflow.files.formats import csv_bytes, json_bytes
from forgetflow.studies.forest_grid import ForestGrid
from forgetflow.studies.forest_trial import KINDS, Deletion, Trial

POINT = 0.01
"""The difference in accuracy that a reader wants to see."""

Row = dict[str, Any]


@dataclass(frozen=True)
class ForestStudy:
    """Results of the study; aggregates only.

    Attributes:
        grid: what was compared.
        facts: records and settings a reader needs to compare two studies.
        depths: one row for every number of random layers: accuracy, and what a fit takes.
        deletions: one row for every number of random layers and kind of deletion.
    """

    grid: ForestGrid
    facts: Mapping[str, Any]
    depths: Sequence[Row]
    deletions: Sequence[Row]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return {
            "grid": self.grid.to_json(),
            "facts": dict(self.facts),
            "check": self.check,
            "caution": self.caution,
            "depths": [dict(row) for row in self.depths],
            "deletions": [dict(row) for row in self.deletions],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ForestStudy":
        """Inverse of `to_json`."""
        grid = ForestGrid.from_json(data["grid"])
        return cls(grid, data["facts"], data["depths"], data["deletions"])

    @property
    def check(self) -> dict[str, int]:
        """How many forests were compared with a refit, and how many had its bytes."""
        return {
            "compared": self.grid.seeds * len(self.depths),
            "equal": sum(row["equal"] for row in self.depths),
        }

    @property
    def caution(self) -> str | None:
        """Say in words when the test records are too few to tell one percentage point."""
        best = max(row["accuracy"] for row in self.depths)
        tested = self.facts["test_records"]
        needed = ceil(4 * best * (1 - best) / POINT**2)
        if tested >= needed:
            return None
        error = 100 * sqrt(best * (1 - best) / tested)
        return (
            f"{tested:,} test records are too few to tell differences of one percentage point: at "
            f"this accuracy the standard error is {error:.1f} percentage points, and {needed:,} "
            "records would make it half of one; hold out more (data.test_fraction)"
        )

    def require_equal(self) -> None:
        """Refuse forests that deletions left other than a refit.

        Raises:
            VerdictError: at least one had other bytes.
        """
        found = self.check
        if found["equal"] < found["compared"]:
            raise VerdictError(
                f"{found['compared'] - found['equal']} of {found['compared']} forests are not "
                "byte-equal to a fit without the deleted records: deletion is not exact here; "
                "do not publish such forests, and report the settings in "
                "studies/forest/forest.json"
            )

    def depth(self, random_depth: int) -> Row:
        """Return the row of a number of random layers."""
        return next(row for row in self.depths if row["random_depth"] == random_depth)

    def deletion(self, random_depth: int, kind: str) -> Row:
        """Return the row of a number of random layers and a kind; of batches, the smallest."""
        wanted = (random_depth, kind)
        return next(r for r in self.deletions if (r["random_depth"], r["kind"]) == wanted)


def put_together(
    grid: ForestGrid,
    facts: Mapping[str, Any],
    trials: Sequence[Trial],
    references: Sequence[Mapping[str, float]],
) -> ForestStudy:
    """Return the study.

    Args:
        grid: what was asked.
        facts: see `ForestStudy`; `test_records` is needed.
        trials: one for every cell of the grid, in any order.
        references: `forest_trial.reference` for every seed number, in order.
    """
    depths, deletions = [], []
    for depth in grid.depths:
        own = sorted((t for t in trials if t.random_depth == depth), key=lambda t: t.number)
        depths.append(_depth_row(depth, own, references))
        for kind, size in _asked(grid):
            chosen = [
                (one, each.refit_seconds)
                for each in own
                for one in each.deletions
                if one.kind == kind and (size is None or one.records == size)
            ]
            if chosen:
                deletions.append(_deletion_row(depth, kind, chosen))
    return ForestStudy(grid, facts, depths, deletions)


def _asked(grid: ForestGrid) -> Iterable[tuple[str, int | None]]:
    for kind in KINDS:
        yield from ((kind, size) for size in (grid.batches if kind == "batch" else (None,)))


def _depth_row(
    depth: int, trials: Sequence[Trial], references: Sequence[Mapping[str, float]]
) -> Row:
    accuracies = [one.accuracy for one in trials]
    theirs = [references[one.number]["accuracy"] for one in trials]
    apart = [a - b for a, b in zip(accuracies, theirs, strict=True)]
    fit = mean(one.fit_seconds for one in trials)
    other = mean(references[one.number]["fit_seconds"] for one in trials)
    return {
        "random_depth": depth,
        "seeds": len(trials),
        **_spread("accuracy", accuracies),
        **_spread("reference_accuracy", theirs),
        **_spread("difference", apart),
        "fit_seconds": fit,
        "reference_fit_seconds": other,
        "fit_ratio": fit / other if other else None,
        "refit_seconds": mean(one.refit_seconds for one in trials),
        "nodes": mean(one.nodes for one in trials),
        "megabytes": mean(one.megabytes for one in trials),
        "equal": sum(one.equal for one in trials),
    }


def _spread(name: str, values: Sequence[float]) -> Row:
    return {name: mean(values), f"{name}_sd": stdev(values) if len(values) > 1 else None}


def _deletion_row(depth: int, kind: str, chosen: Sequence[tuple[Deletion, float]]) -> Row:
    """Return the row of deletions, each with the seconds of the refit beside it."""
    found = [one for one, _ in chosen]
    refit = mean(seconds for _, seconds in chosen)
    row: Row = {
        "random_depth": depth,
        "kind": kind,
        "deletions": len(found),
        "records": mean(one.records for one in found),
        "candidates_rows": (
            mean(one.candidates for one in found if one.candidates is not None)
            if kind == "worst"
            else None
        ),
        "subtrees": mean(one.subtrees for one in found),
        "refit_rows": mean(one.refit_rows for one in found),
        "refit_seconds": refit,
    }
    columns: dict[str, Callable[[Deletion], float]] = {
        "rows": lambda one: one.rows,
        "seconds": lambda one: one.seconds,
    }
    for name, value in columns.items():
        values = [value(one) for one in found]
        row[name], row[f"{name}_median"], row[f"{name}_most"] = (
            mean(values),
            median(values),
            max(values),
        )
        full = row[f"refit_{name}"]
        row[f"speedup_{name}"] = full / row[name] if row[name] else None
        middle = row[f"{name}_median"]
        row[f"speedup_{name}_median"] = full / middle if middle else None
    return row


def forest_files(study: ForestStudy) -> dict[str, bytes]:
    """Return file name -> content of the study, without its page."""
    return {
        "forest.csv": csv_bytes(study.depths),
        "deletions.csv": csv_bytes(study.deletions),
        "forest.json": json_bytes(study.to_json()),
    }
