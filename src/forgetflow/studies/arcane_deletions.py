"""Rows of the study of ARCANE: what deletions train again, beside SISA and for every order."""

from math import sqrt

import numpy as np

from forgetflow.partition.assignment import Assignment
from forgetflow.partition.registry import place
from forgetflow.records.record_set import RecordSet
from forgetflow.studies.arcane_builds import head_settings
from forgetflow.studies.arcane_counts import (
    ASKED,
    ORDERS,
    Counter,
    bounds_of,
    leavers,
    priors_of,
    requested,
    sorted_blocks,
)
from forgetflow.studies.arcane_grid import (
    EVERYBODY,
    EXACT,
    ArcaneGrid,
    Choice,
    Chosen,
    partition_for,
    selection_for,
)
from forgetflow.studies.counting import retrained
from forgetflow.studies.draws import Draws, Floats
from forgetflow.studies.protocol import Row, StudyData
from forgetflow.studies.sharding_grid import layout
from forgetflow.training.recipe import Recipe


def deletion_rows(data: StudyData, grid: ArcaneGrid, choice: Choice, share: float) -> list[Row]:
    """Return the rows of `ArcaneStudy.deletions` of one selection: all heads and blocks."""
    records, settings, chosen = data.records, data.settings, Chosen(choice, share)
    seed, classes = settings.run.seed, len(np.unique(records.labels))
    placed = {
        blocks: place(records, partition_for(records, chosen, blocks, settings), seed)
        for blocks in grid.blocks
    }
    selection = selection_for(records, chosen, settings.partition.selection)
    counter, recipes, found = Counter(records, selection), _recipes(data, grid), []
    for asked, requests, draws in _asked(records, grid, seed):
        for mode in _modes(asked):
            spent, idle = counter.count(placed, recipes, draws, together=mode == "batch")
            for (head, blocks), each in spent.items():
                formula = None
                if mode == "sequential":
                    passes = settings.train.epochs if head == "autoencoder" else None
                    size = len(records) / classes
                    formula = expectation(size, requests, chosen.share, blocks, passes)
                row = _row(head, chosen, blocks, (asked, requests, mode), draws, each.samples)
                found.append(
                    row
                    | {"idle": float(idle.mean()), "formula": formula}
                    | _against(each.samples, each.full, each.full_selected)
                )
    return found


def sisa_rows(data: StudyData, grid: ArcaneGrid) -> list[Row]:
    """Return the rows of SISA with a shard for every class that there is, and R = B slices."""
    records, seed, train = data.records, data.settings.run.seed, data.settings.train
    shards, found = len(np.unique(records.labels)), []
    nowhere = np.zeros(len(records), np.int64)
    alone = Assignment(1, 1, nowhere, nowhere)
    for asked, requests, draws in _asked(records, grid, seed):
        for mode in _modes(asked):
            together = mode == "batch"
            price = (draws, train.epochs, train.batch_size)
            full = retrained(alone, *price, together=together).samples
            for slices in grid.blocks:
                placed = place(records, layout(shards, slices), seed)
                samples = retrained(placed, *price, together=together).samples
                row = _row("sisa", EVERYBODY, slices, (asked, requests, mode), draws, samples)
                found.append(row | {"idle": None, "formula": None} | _against(samples, full, full))
    return found


def order_rows(data: StudyData, grid: ArcaneGrid) -> list[Row]:
    """Return the rows of `ArcaneStudy.orders`: who is likely to leave last, anywhere or first.

    All orders share their draws, in which subjects leave with chances in proportion to their
    priors, K of them in expectation, and are served together.
    """
    records, settings, seed = data.records, data.settings, data.settings.run.seed
    priors, _ = priors_of(records, seed)
    synthetic = not (np.nan_to_num(records.priors, nan=0.0) > 0).any()
    recipes, found = _recipes(data, grid), []
    counter = Counter(records, selection_for(records, EVERYBODY, settings.partition.selection))
    for requests in grid.requests:
        if requests > len(set(records.subject_ids)) // 2:
            continue
        law = leavers(records, priors, requests)
        draws = law.draw(grid.draws, np.random.default_rng([seed, requests]))
        for blocks in (one for one in grid.blocks if one > 1):
            bounds = bounds_of(
                priors, settings.partition.prior_thresholds, blocks, synthetic=synthetic
            )
            cost: dict[tuple[str, str], Floats] = {}
            for order in ORDERS:
                layout_ = sorted_blocks(records, priors, bounds, order, blocks, seed)
                spent, _ = counter.count({blocks: layout_}, recipes, draws, together=True)
                cost |= {(order, head): one.samples for (head, _), one in spent.items()}
            found += [
                _order_row(order, head, (blocks, requests), cost[order, head], cost["hash", head])
                for order, head in cost
            ]
    return found


def _order_row(
    order: str, head: str, cell: tuple[int, int], samples: Floats, by_hash: Floats
) -> Row:
    count = len(samples)
    apart = samples - by_hash
    return {
        "order": order,
        "head": head,
        "blocks": cell[0],
        "requests": cell[1],
        "draws": count,
        "samples": float(samples.mean()),
        "samples_se": float(samples.std(ddof=1)) / sqrt(count),
        "to_hash": float(apart.mean()),
        "to_hash_se": float(apart.std(ddof=1)) / sqrt(count),
        "ratio": float(samples.mean() / by_hash.mean()) if by_hash.any() else None,
    }


def expectation(
    size: float, requests: int, share: float, blocks: int, epochs: float | None
) -> float:
    """Return the expected samples of K requests, one after another, on equal classes and blocks.

    A request hits a selected record with probability alpha, and then a model of alpha * size
    records. In epochs e' that costs e' (2/3 + 1/(3B)) of them (Eq. 4 of SISA); a density absorbs
    the hit block and those after it once, (B + 1)/(2B). Records that leave are neglected, and so
    is whatever a selection that is made again moves besides.

    Args:
        size: records per class.
        requests: K.
        share: alpha.
        blocks: B.
        epochs: e'; None for a density.
    """
    each = (blocks + 1) / (2 * blocks) if epochs is None else epochs * (2 / 3 + 1 / (3 * blocks))
    return requests * share**2 * size * each


def _recipes(data: StudyData, grid: ArcaneGrid) -> dict[str, Recipe]:
    return {head: data.recipe_of(head_settings(data.settings, grid, head)) for head in grid.heads}


def _asked(records: RecordSet, grid: ArcaneGrid, seed: int) -> list[tuple[str, int, Draws]]:
    """Return every kind and number of requests that these records can make, with its draws."""
    return [
        (asked, requests, draws)
        for asked in ASKED
        for requests in grid.requests
        if (draws := requested(asked, records, requests, grid.draws, seed)) is not None
    ]


def _modes(asked: str) -> tuple[str, ...]:
    """Return how requests are served: those of whole subjects together only."""
    return ("batch",) if asked == "subject" else ("batch", "sequential")


def _row(
    name: str,
    chosen: Chosen,
    blocks: int,
    asked: tuple[str, int, str],
    draws: Draws,
    samples: Floats,
) -> Row:
    kind, requests, mode = asked
    return {
        "model": name,
        "selection": chosen.choice,
        "share": chosen.share,
        "blocks": blocks,
        "exact": EXACT[chosen.choice],
        "kind": kind,
        "requests": requests,
        "mode": mode,
        "draws": draws.count,
        "records": len(draws.record) / draws.count,
        "samples": float(samples.mean()),
        "samples_se": float(samples.std(ddof=1)) / sqrt(draws.count),
    }


def _against(samples: Floats, full: Floats, selected: Floats) -> Row:
    """Return what training from nothing takes, and how many times less these samples are."""
    spent = float(samples.mean())
    return {
        "full": float(full.mean()),
        "full_selected": float(selected.mean()),
        "speedup": float(full.mean()) / spent if spent else None,
        "speedup_selected": float(selected.mean()) / spent if spent else None,
    }
