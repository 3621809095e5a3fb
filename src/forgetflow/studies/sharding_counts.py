"""What drawn forget sets would train again on a placement, beside what is expected of them."""

from math import sqrt

import numpy as np

from forgetflow.config.train import TrainSettings
from forgetflow.partition import forecast
from forgetflow.partition.assignment import Assignment
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet
from forgetflow.studies.counting import remaining, retrained
from forgetflow.studies.draws import KINDS, Draws, Kind, drawn, law
from forgetflow.studies.expected import expected
from forgetflow.studies.protocol import Row, StudyData
from forgetflow.studies.sharding_grid import ShardingGrid, layout

MODES = ("batch", "sequential")

ROUNDING = 1e-6
"""Relative differences below this are rounding of sums, not a deviation."""


def deletion_rows(data: StudyData, grid: ShardingGrid, shards: int, slices: int) -> list[Row]:
    """Return the rows of `Sharding.deletions` of S shards of R slices.

    Forget sets are drawn under the seed for every K, the same in all cells, on the placement
    that the project has with this seed, S and R.
    """
    seed = data.settings.run.seed
    placed = place(data.records, layout(shards, slices), seed)
    return [
        row
        for kind in KINDS
        for requests in grid.requests
        for row in _rows(
            data.records, data.settings.train, placed, kind, (requests, grid.draws, seed)
        )
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
