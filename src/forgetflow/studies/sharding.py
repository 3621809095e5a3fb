"""The study of sharding: SISA's questions 1 to 4, on the project's own records.

How do accuracy and cost depend on S, R and K; for requests one after another and together; for
uniform, class-concentrated and skewed requests; beside retraining everything and beside a lone
model of 1/S of the records (Bourtoule et al., IEEE S&P 2021, Sec. VII)?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import erfc, sqrt
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from forgetflow.keys.digests import bytes_digest
from forgetflow.studies.builds import cell_row
from forgetflow.studies.paper import paper_rows
from forgetflow.studies.protocol import Row, Study, StudyData, Trial
from forgetflow.studies.sharding_counts import deletion_rows
from forgetflow.studies.sharding_grid import ShardingGrid

SIGMAS = 3.0
"""Bound on a mean's distance from its expectation, in standard errors."""


@dataclass(frozen=True)
class Check:
    """How many means lie within 3 sigma of their expectation.

    Attributes:
        compared: number of means.
        within: how many of them do.
        by_chance: how many of as many independent normal means would not. These are not
            independent: cells share their draws.
        largest: deviation, in standard errors.
    """

    compared: int
    within: int
    by_chance: float
    largest: float


@dataclass(frozen=True)
class Sharding:
    """Results of the study; aggregates only.

    Attributes:
        grid: what was compared.
        facts: records and settings a reader needs to compare two studies.
        check: counts against expectations.
        cells: one row for every (S, R): accuracies and what a build took.
        deletions: one row for every (S, R), K, kind of requests and mode; in files `points`.
        paper: the published speed-ups, recomputed.
    """

    __pydantic_config__ = ConfigDict(serialize_by_alias=True)

    grid: ShardingGrid
    facts: Row
    check: Check
    cells: list[Row]
    deletions: Annotated[list[Row], Field(alias="points")]
    paper: list[Row]

    @classmethod
    def of(
        cls, grid: ShardingGrid, facts: Row, cells: list[Row], deletions: list[Row]
    ) -> "Sharding":
        """Return the study of these rows, with its check and the published speed-ups."""
        return cls(grid, facts, check_of(deletions), cells, deletions, paper_rows())

    def cell(self, shards: int, slices: int) -> Row:
        """Return the row of a cell."""
        return next(c for c in self.cells if (c["shards"], c["slices"]) == (shards, slices))


def check_of(deletions: Sequence[Row]) -> Check:
    """Hold counted means against their exact expectations."""
    known = [abs(row["deviation"]) for row in deletions if row["deviation"] is not None]
    return Check(
        compared=len(known),
        within=sum(one <= SIGMAS for one in known),
        by_chance=len(known) * erfc(SIGMAS / sqrt(2)),
        largest=max(known, default=0.0),
    )


def trials(data: StudyData, grid: ShardingGrid) -> list[Trial]:
    """Return two trials for every (S, R): builds are trained, deletions are counted."""
    settings = data.settings
    built = {
        "records": data.records.digest,
        "test": data.test.digest,
        "recipe": data.recipe.for_pools().digest,
        "seeds": grid.seeds,
    }
    counted = {
        "records": data.records.digest,
        "priors": bytes_digest(data.records.priors.tobytes()),
        "epochs": settings.train.epochs,
        "batch_size": settings.train.batch_size,
        "seed": settings.run.seed,
        "requests": list(grid.requests),
        "draws": grid.draws,
    }
    cells = [(f"{s} x {r}", {"shards": s, "slices": r}) for s, r in grid.cells]
    return [Trial("build", f"build {name}", cell, built) for name, cell in cells] + [
        Trial("count", f"count {name}", cell, counted, computes=False) for name, cell in cells
    ]


def assemble(data: StudyData, grid: ShardingGrid, found: Mapping[str, list[Any]]) -> Sharding:
    """Return the study, with every count also as time at the pace of the full build.

    That pace is of the cell (1, 1), whose seeds may train in lockstep: an estimate.
    """
    cells: list[Row] = found["build"]
    alone = next(row for row in cells if row["shards"] == row["slices"] == 1)
    pace = alone["seconds"] / alone["samples"] if alone["samples"] else 0.0
    timed = [r | {"seconds": pace * r["samples"]} for r in chain.from_iterable(found["count"])]
    skewed_by = "deletion priors" if (data.records.priors > 0).any() else "1/rank"
    facts = {**data.counts, "skewed_by": skewed_by, **data.training}
    return Sharding.of(grid, facts, cells, timed)


def metrics(found: Sharding) -> dict[str, float]:
    """Return accuracies of all cells, speed-ups of uniform batches, and the check of counts."""
    named = {f"check.{name}": float(value) for name, value in vars(found.check).items()}
    for row in found.cells:
        cell = f"S{row['shards']}.R{row['slices']}"
        named[f"{cell}.accuracy"] = row["accuracy_mean"]
        named[f"{cell}.accuracy_vote"] = row["accuracy_vote"]
        named[f"{cell}.accuracy_lone"] = row["accuracy_lone"]
    for row in found.deletions:
        if (row["kind"], row["mode"]) == ("uniform", "batch") and row["speedup"]:
            cell = f"S{row['shards']}.R{row['slices']}.K{row['requests']}"
            named[f"{cell}.speedup"] = row["speedup"]
    return named


def note(found: Sharding) -> str:
    """Say in a sentence what was compared."""
    return (
        f"Accuracy and cost of deletions over shards, slices and requests: {len(found.cells)} "
        f"cells, {found.grid.seeds} builds each."
    )


SHARDING = Study(
    name="sharding",
    grid=ShardingGrid,
    results=Sharding,
    measures={"build": cell_row, "count": deletion_rows},
    trials=trials,
    assemble=assemble,
    tables={"sharding.csv": "cells", "points.csv": "deletions", "paper.csv": "paper"},
    metrics=metrics,
    note=note,
)
