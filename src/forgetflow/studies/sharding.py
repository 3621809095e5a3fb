"""The study of sharding: SISA's questions 1 to 4, on the project's own records.

How do accuracy and cost depend on S, R and K; for requests one after another and together; for
uniform, class-concentrated and skewed requests; beside retraining everything and beside a lone
model of 1/S of the records (Bourtoule et al., IEEE S&P 2021, Sec. VII)?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from statistics import mean, stdev
from typing import Any

import numpy as np

from forgetflow.config.train import TrainSettings
from forgetflow.files.formats import csv_bytes, json_bytes
from forgetflow.partition import forecast
from forgetflow.partition.assignment import Assignment
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet
from forgetflow.studies.counting import remaining, retrained
from forgetflow.studies.draws import KINDS, Draws, Kind, drawn, law
from forgetflow.studies.expected import expected
from forgetflow.studies.grid import Grid, layout
from forgetflow.studies.paper import paper_rows

MODES = ("batch", "sequential")

SIGMAS = 3.0
"""Bound on a mean's distance from its expectation, in standard errors."""

ROUNDING = 1e-6
"""Relative differences below this are rounding of sums, not a deviation."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Sharding:
    """Results of the study; aggregates only.

    Attributes:
        grid: what was compared.
        facts: records and settings a reader needs to compare two studies.
        cells: one row for every (S, R): accuracies and what a build took.
        points: one row for every (S, R), K, kind of requests and mode.
        paper: the published speed-ups, recomputed.
    """

    grid: Grid
    facts: Mapping[str, Any]
    cells: Sequence[Row]
    points: Sequence[Row]
    paper: Sequence[Row]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return {
            "grid": self.grid.to_json(),
            "facts": dict(self.facts),
            "check": self.check,
            "cells": [dict(row) for row in self.cells],
            "points": [dict(row) for row in self.points],
            "paper": [dict(row) for row in self.paper],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Sharding":
        """Inverse of `to_json`."""
        names = ("facts", "cells", "points", "paper")
        return cls(Grid.from_json(data["grid"]), *(data[name] for name in names))

    @property
    def check(self) -> dict[str, float]:
        """How many means lie within 3 sigma of their expectation.

        `by_chance` is how many of as many independent normal means would not. These are not
        independent: cells share their draws.
        """
        known = [row["deviation"] for row in self.points if row["deviation"] is not None]
        return {
            "compared": len(known),
            "within": sum(abs(one) <= SIGMAS for one in known),
            "by_chance": len(known) * erfc(SIGMAS / sqrt(2)),
            "largest": max(map(abs, known), default=0.0),
        }

    def cell(self, shards: int, slices: int) -> Row:
        """Return the row of a cell."""
        return next(c for c in self.cells if (c["shards"], c["slices"]) == (shards, slices))


def cell_row(
    records: RecordSet, seed: int, shards: int, slices: int, built: Sequence[Mapping[str, Any]]
) -> Row:
    """Return a row of `Sharding.cells`.

    Args:
        records: the training set.
        seed: of the placement whose sizes are told.
        shards: S.
        slices: R.
        built: `Build.to_json` of every seed.
    """
    sizes = place(records, layout(shards, slices), seed).sizes()
    row: Row = {"shards": shards, "slices": slices, "seeds": len(built)}
    for name in ("mean", "vote", "lone"):
        values = [float(one[name]) for one in built]
        row[f"accuracy_{name}"] = mean(values)
        row[f"accuracy_{name}_sd"] = stdev(values) if len(values) > 1 else None
    row["accuracy_worst"] = min(float(one["worst"]) for one in built)
    return row | {
        "smallest_shard": int(sizes.sum(axis=1).min()),
        "largest_shard": int(sizes.sum(axis=1).max()),
        "empty_slices": int((sizes == 0).sum()),
        "samples": mean(float(one["samples"]) for one in built),
        "seconds": mean(float(one["seconds"]) for one in built),
    }


def point_rows(
    records: RecordSet, train: TrainSettings, seed: int, cell: tuple[int, int], grid: Grid
) -> list[Row]:
    """Return the rows of `Sharding.points` of one cell, (S, R).

    Forget sets are drawn under the seed for every K, the same in all cells, on the placement
    that the project has with this seed, S and R.
    """
    placed = place(records, layout(*cell), seed)
    return [
        row
        for kind in KINDS
        for requests in grid.requests
        for row in _rows(records, train, placed, kind, (requests, grid.draws, seed))
    ]


def _rows(
    records: RecordSet,
    train: TrainSettings,
    placed: Assignment,
    kind: Kind,
    asked: tuple[int, int, int],
) -> list[Row]:
    requests, count, seed = asked
    draws = drawn(kind, records, requests, count, seed)
    known = expected(placed, law(kind, records, requests, seed), train.epochs)
    once = _full(records, draws, train, together=True)
    found = []
    for mode in MODES:
        together = mode == "batch"
        counted = retrained(placed, draws, train.epochs, train.batch_size, together=together)
        full = _full(records, draws, train, together=together)
        points = float(counted.points.mean())
        spread = known.batch_sd if together else float(counted.points.std(ddof=1))
        mean_expected = known.batch if together else known.sequential
        samples = float(counted.samples.mean())
        found.append(
            {
                "shards": placed.shards,
                "slices": placed.slices,
                "kind": kind,
                "requests": requests,
                "mode": mode,
                "draws": count,
                "records": len(records) - float(remaining(len(records), draws).mean()),
                "samples": samples,
                "samples_sd": float(counted.samples.std(ddof=1)),
                "points": points,
                "expected": mean_expected,
                "sigma": spread / sqrt(count),
                "deviation": _deviation(points, mean_expected, spread / sqrt(count)),
                "formula": _formula(kind, mode, len(records), placed, requests, train.epochs),
                "full": full,
                "speedup": full / samples if samples else None,
                "batch_full": once,
                "speedup_over_batch_full": once / samples if samples else None,
                "lone_shard": _lone(kind, mode, len(records), placed.shards, requests, train),
            }
        )
    return found


def _full(records: RecordSet, draws: Draws, train: TrainSettings, *, together: bool) -> float:
    """Return the mean samples of retraining one model on everything that is left."""
    nowhere = np.zeros(len(records), np.int64)
    alone = Assignment(1, 1, nowhere, nowhere)
    counted = retrained(alone, draws, train.epochs, train.batch_size, together=together)
    return float(counted.samples.mean())


def _deviation(found: float, known: float, sigma: float) -> float | None:
    """Return the distance in standard errors; None where there is a difference but no spread."""
    if abs(found - known) <= ROUNDING * max(known, 1):
        return 0.0
    return (found - known) / sigma if sigma > 0 else None


def _formula(
    kind: Kind, mode: str, records: int, placed: Assignment, requests: int, epochs: float
) -> float | None:
    """Return the closed form for equal shards and slices, which knows uniform requests only."""
    if kind != "uniform":
        return None
    shape = (records, placed.shards, placed.slices, requests, epochs)
    if mode == "sequential":
        return forecast.joint_sequential(*shape)
    return forecast.joint_batch(*shape) - epochs * requests


def _lone(
    kind: Kind, mode: str, records: int, shards: int, requests: int, train: TrainSettings
) -> float | None:
    """Return the paper's cost of the 1/S baseline (Eq. 19, 20), for uniform requests."""
    if kind != "uniform":
        return None
    price = forecast.lone_shard_batch if mode == "batch" else forecast.lone_shard_sequential
    return price(records, shards, requests, train.epochs)


def put_together(
    grid: Grid, facts: Mapping[str, Any], cells: Sequence[Row], points: Sequence[Row]
) -> Sharding:
    """Return the study, with every count also as time at the pace of the full build.

    That pace is of the cell (1, 1), whose seeds may train in lockstep: an estimate.
    """
    alone = next(row for row in cells if row["shards"] == row["slices"] == 1)
    pace = alone["seconds"] / alone["samples"] if alone["samples"] else 0.0
    timed = [row | {"seconds": pace * row["samples"]} for row in points]
    return Sharding(grid, facts, cells, timed, paper_rows())


def sharding_files(study: Sharding) -> dict[str, bytes]:
    """Return file name -> content of the study, without its page."""
    return {
        "sharding.csv": csv_bytes(study.cells),
        "points.csv": csv_bytes(study.points),
        "paper.csv": csv_bytes(study.paper),
        "sharding.json": json_bytes(study.to_json()),
    }
