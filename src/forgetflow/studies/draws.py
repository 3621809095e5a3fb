"""Who asks for deletion: uniform, one class, or skewed over subjects.

    uniform   K records, drawn without replacement
    class     K records of one class, which is drawn first
    skewed    subjects, each with a chance of its own; K of them in expectation

For every kind the exact expectation is known (`expected`), which is why skewed requests are
independent of each other: their number then varies from draw to draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forgetflow.errors import InputError
from forgetflow.keys.digests import keyed_hash, keyed_hashes
from forgetflow.records.record_set import RecordSet

Kind = Literal["uniform", "class", "skewed"]
KINDS: tuple[Kind, ...] = ("uniform", "class", "skewed")

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Draws:
    """D forget sets, flat: one entry for every record that leaves.

    Attributes:
        count: D.
        requests: most requests in any draw.
        draw: which draw, 0 to D - 1.
        request: which request of that draw, in order of arrival.
        record: position of the record.
    """

    count: int
    requests: int
    draw: Ints
    request: Ints
    record: Ints


@dataclass(frozen=True, eq=False)
class Pools:
    """K records without replacement from one of several pools, each with equal chance.

    Attributes:
        pools: positions of the records of each pool, ascending.
        requests: K.
    """

    pools: Sequence[Ints]
    requests: int

    def draw(self, count: int, rng: np.random.Generator) -> Draws:
        """Return `count` draws."""
        chosen = rng.integers(len(self.pools), size=count)
        records = [rng.permutation(self.pools[one])[: self.requests] for one in chosen]
        return Draws(
            count,
            self.requests,
            np.repeat(np.arange(count), self.requests),
            np.tile(np.arange(self.requests), count),
            np.concatenate(records),
        )


@dataclass(frozen=True, eq=False)
class Leavers:
    """Subjects that leave independently of each other, in random order, with all their records.

    Attributes:
        subject_ids: subject of each record, N.
        chances: of each of the M subjects, in the order of their ids, (M,).
    """

    subject_ids: Sequence[str]
    chances: Floats

    def draw(self, count: int, rng: np.random.Generator) -> Draws:
        """Return `count` draws."""
        subject = np.unique(np.array(self.subject_ids, str), return_inverse=True)[1]
        parts: list[tuple[Ints, Ints]] = []
        for _ in range(count):
            leaving = rng.permutation(np.flatnonzero(rng.random(len(self.chances)) < self.chances))
            turn = np.full(len(self.chances), -1)
            turn[leaving] = np.arange(len(leaving))
            records = np.flatnonzero(turn[subject] >= 0)
            parts.append((turn[subject[records]], records))
        request = np.concatenate([turns for turns, _ in parts])
        return Draws(
            count,
            int(request.max(initial=0)) + 1,
            np.repeat(np.arange(count), [len(records) for _, records in parts]),
            request,
            np.concatenate([records for _, records in parts]),
        )


Law = Pools | Leavers


def law(kind: Kind, records: RecordSet, requests: int, seed: int) -> Law:
    """Return how `requests` requests of a kind come about.

    Skewed chances are the records' deletion priors where there are any, else 1, 1/2, 1/3, ...
    over the subjects in an order that the seed gives; both are scaled to `requests` in sum.

    Raises:
        InputError: there are not that many records, or subjects with a chance.
    """
    if kind == "skewed":
        return Leavers(records.subject_ids, chances(_weights(records, seed), requests))
    everything = np.arange(len(records))
    labels = records.labels
    groups = [everything[labels == one] for one in np.unique(labels)] if kind == "class" else []
    pools = [group for group in groups or [everything] if len(group) >= requests]
    if not pools:
        raise InputError(f"{requests} requests are more than any class has records")
    return Pools(pools, requests)


def drawn(kind: Kind, records: RecordSet, requests: int, count: int, seed: int) -> Draws:
    """Return `count` draws, the same for one seed whatever is done with them."""
    rng = np.random.default_rng(keyed_hash(seed, "study draws", kind, requests))
    return law(kind, records, requests, seed).draw(count, rng)


def chances(weights: Floats, expected: int) -> Floats:
    """Return chances in proportion to weights, at most 1, which sum to `expected`.

    Raises:
        InputError: fewer weights than that are positive.
    """
    positive = int((weights > 0).sum())
    if expected > positive:
        raise InputError(
            f"{expected} requests are more than the {positive} subjects whose deletion prior is "
            "above 0"
        )
    found = np.zeros(len(weights))
    free = weights > 0
    while True:
        scaled = weights * (expected - (found == 1).sum()) / max(weights[free].sum(), 1e-300)
        over = free & (scaled >= 1)
        if not over.any():
            return np.where(free, scaled, found)
        found[over] = 1
        free &= ~over


def _weights(records: RecordSet, seed: int) -> Floats:
    """Return the weight of each subject, in the order of their ids, (M,)."""
    ids, subject = np.unique(np.array(records.subject_ids, str), return_inverse=True)
    priors = np.nan_to_num(records.priors, nan=0.0)
    if priors.any():
        found = np.zeros(len(ids))
        np.maximum.at(found, subject, priors)
        return found
    order = np.argsort(keyed_hashes(seed, "study skew", ids.tolist()), kind="stable")
    weights = np.empty(len(ids))
    weights[order] = 1 / np.arange(1, len(ids) + 1)
    return weights
