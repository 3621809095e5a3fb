"""The study of forests: what random layers cost in accuracy and save in deletions.

Deletion efficiency against the number of random layers, and against an adversary who knows the
forest and takes the costliest of 1,000 records: the questions of DaRE forests (Brophy and Lowd,
"Machine Unlearning for Random Forests", ICML 2021, Sec. 4), on the project's own records and for
the forest of `forgetflow.forest`, whose deletions must arrive at the bytes of a refit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import mean, median
from typing import Any

import numpy as np

from forgetflow.errors import VerdictError
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import digest_of
from forgetflow.studies.forest_grid import ForestGrid
from forgetflow.studies.forest_measure import (
    KINDS,
    Deletion,
    Measured,
    cuts_of,
    flat,
    measure_forest,
    measure_reference,
)
from forgetflow.studies.protocol import Row, Study, StudyData, Trial, spread

POINT = 0.01
"""The difference in accuracy that a reader wants to see."""


@dataclass(frozen=True)
class Check:
    """How many forests were compared with a refit, and how many had its bytes."""

    compared: int
    equal: int


@dataclass(frozen=True)
class ForestStudy:
    """Results of the study; aggregates only.

    Attributes:
        grid: what was compared.
        facts: records and settings a reader needs to compare two studies.
        check: forests against refits.
        caution: says in words when the test records are too few to tell one percentage point.
        depths: one row for every number of random layers: accuracy, and what a fit takes.
        deletions: one row for every number of random layers and kind of deletion.
    """

    grid: ForestGrid
    facts: Row
    check: Check
    caution: str | None
    depths: list[Row]
    deletions: list[Row]

    @classmethod
    def of(
        cls, grid: ForestGrid, facts: Row, depths: list[Row], deletions: list[Row]
    ) -> "ForestStudy":
        """Return the study of these rows, with its check and caution."""
        check = Check(grid.seeds * len(depths), sum(row["equal"] for row in depths))
        best = max(row["accuracy"] for row in depths)
        return cls(grid, facts, check, caution_of(best, facts["test_records"]), depths, deletions)

    def depth(self, random_depth: int) -> Row:
        """Return the row of a number of random layers."""
        return next(row for row in self.depths if row["random_depth"] == random_depth)

    def deletion(self, random_depth: int, kind: str) -> Row:
        """Return the row of a number of random layers and a kind; of batches, the smallest."""
        wanted = (random_depth, kind)
        return next(r for r in self.deletions if (r["random_depth"], r["kind"]) == wanted)


def caution_of(best: float, tested: int) -> str | None:
    """Return why this accuracy on T test records cannot tell one percentage point, or None."""
    needed = ceil(4 * best * (1 - best) / POINT**2)
    if tested >= needed:
        return None
    error = 100 * sqrt(best * (1 - best) / tested)
    return (
        f"{tested:,} test records are too few to tell differences of one percentage point: at "
        f"this accuracy the standard error is {error:.1f} percentage points, and {needed:,} "
        "records would make it half of one; hold out more (data.test_fraction)"
    )


def require_equal(found: ForestStudy) -> None:
    """Refuse forests that deletions left other than a refit.

    Raises:
        VerdictError: at least one had other bytes.
    """
    check = found.check
    if check.equal < check.compared:
        raise VerdictError(
            f"{check.compared - check.equal} of {check.compared} forests are not "
            "byte-equal to a fit without the deleted records: deletion is not exact here; "
            "do not publish such forests, and report the settings in "
            "studies/forest/forest.json"
        )


def trials(data: StudyData, grid: ForestGrid) -> list[Trial]:
    """Return a trial for every forest, and one for scikit-learn's of every seed."""
    made_of = {
        "facts": _facts(data),
        "records": data.records.digest,
        "test": data.test.digest,
        "thresholds": digest_of([cut.tolist() for cut in cuts_of(data).thresholds]),
    }
    asked = {n: v for n, v in to_json(grid).items() if n not in ("depths", "seeds")}
    forests = [
        Trial(
            "forest",
            f"forest {depth} random layers, seed {number}",
            {"random_depth": depth, "number": number},
            made_of | {"asked": asked},
        )
        for depth, number in grid.cells
    ]
    return forests + [
        Trial("reference", f"scikit-learn, seed {number}", {"number": number}, made_of)
        for number in range(grid.seeds)
    ]


def _facts(data: StudyData) -> Row:
    """Return what a reader needs to compare two studies: counts, settings, versions."""
    import numba
    import sklearn

    return {
        **data.counts,
        "features": flat(data.records).shape[1],
        "classes": len(data.records.schema.class_names),
        "seed": data.settings.run.seed,
        "forest": data.settings.model.forest.model_dump(mode="json", exclude={"random_depth"}),
        "versions": {
            "numpy": np.__version__,
            "numba": numba.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def assemble(data: StudyData, grid: ForestGrid, found: Mapping[str, list[Any]]) -> ForestStudy:
    """Return the study."""
    forests = [from_json(Measured, one) for one in found["forest"]]
    return ForestStudy.of(grid, _facts(data), *rows_of(grid, forests, found["reference"]))


def rows_of(
    grid: ForestGrid, forests: Sequence[Measured], references: Sequence[Mapping[str, float]]
) -> tuple[list[Row], list[Row]]:
    """Return the rows of `ForestStudy.depths` and `deletions`.

    Args:
        grid: what was asked.
        forests: one for every cell of the grid, in any order.
        references: `measure_reference` for every seed number, in order.
    """
    depths, deletions = [], []
    for depth in grid.depths:
        own = sorted((f for f in forests if f.random_depth == depth), key=lambda f: f.number)
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
    return depths, deletions


def _asked(grid: ForestGrid) -> Iterable[tuple[str, int | None]]:
    for kind in KINDS:
        yield from ((kind, size) for size in (grid.batches if kind == "batch" else (None,)))


def _depth_row(
    depth: int, forests: Sequence[Measured], references: Sequence[Mapping[str, float]]
) -> Row:
    accuracies = [one.accuracy for one in forests]
    theirs = [references[one.number]["accuracy"] for one in forests]
    apart = [a - b for a, b in zip(accuracies, theirs, strict=True)]
    fit = mean(one.fit_seconds for one in forests)
    other = mean(references[one.number]["fit_seconds"] for one in forests)
    return {
        "random_depth": depth,
        "seeds": len(forests),
        **spread("accuracy", accuracies),
        **spread("reference_accuracy", theirs),
        **spread("difference", apart),
        "fit_seconds": fit,
        "reference_fit_seconds": other,
        "fit_ratio": fit / other if other else None,
        "refit_seconds": mean(one.refit_seconds for one in forests),
        "nodes": mean(one.nodes for one in forests),
        "megabytes": mean(one.megabytes for one in forests),
        "equal": sum(one.equal for one in forests),
    }


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


def metrics(found: ForestStudy) -> dict[str, float]:
    """Return accuracies, differences and speed-ups of every number of random layers."""
    named = {f"check.{name}": float(value) for name, value in vars(found.check).items()}
    for row in found.depths:
        for name in ("accuracy", "reference_accuracy", "difference", "fit_seconds"):
            named[f"random{row['random_depth']}.{name}"] = row[name]
    for row in found.deletions:
        size = f"{row['records']:.0f}" if row["kind"] == "batch" else ""
        kind = f"random{row['random_depth']}.{row['kind']}{size}"
        for name in ("speedup_rows", "speedup_seconds"):
            if row[name] is not None:
                named[f"{kind}.{name}"] = row[name]
    return named


def note(found: ForestStudy) -> str:
    """Say in a sentence what was compared."""
    return (
        f"Deletions from forests over random layers, and by an adversary: "
        f"{found.check.compared} forests."
    )


FOREST = Study(
    name="forest",
    grid=ForestGrid,
    results=ForestStudy,
    measures={"forest": measure_forest, "reference": measure_reference},
    trials=trials,
    assemble=assemble,
    tables={"forest.csv": "depths", "deletions.csv": "deletions"},
    metrics=metrics,
    note=note,
    verdict=require_equal,
)
