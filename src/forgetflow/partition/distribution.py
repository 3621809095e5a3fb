"""Distribution-aware sharding: which bands of deletion prior get how many shards.

Two rules, both over subjects in ascending order of prior (Bourtoule et al., IEEE S&P 2021,
Sec. VIII):

- `deletions`, their Algorithm 1: a shard grows until its expected number of deletions reaches a
  bound. Few large shards of subjects unlikely to leave, many small ones of likely leavers.
- `points`: the bands that expect the fewest records passed through training again.

They differ, because equal deletions per shard save no training. Requests served one by one cost
about sum(E n) over shards of n subjects and E expected deletions. Where E is the same C everywhere
this is C N, which S equal shards cost as well. By the inequality of Cauchy and Schwarz it is
least when n subjects of prior p get shards in proportion to n sqrt(p).

**Frozen in advance.** Algorithm 1 sorts all subjects and cuts, so that its cuts move when somebody
leaves. A placement must not: a layout is computed once, before training, and its bounds become
settings. They are then part of what a model is a function of. A bound computed from subjects who
leave later stays what it was with them, and nothing that is built again without them takes that
back. Where this matters, compute the layout from public or aggregate priors (one per country,
say). A bound is the shortest decimal that parts the two subjects beside it, which also says
least about them.

No bound can part equal priors. Where they span a cut of Algorithm 1, the bands on both sides stay
one band, whose subjects share its shards by hash; with one prior for all that is uniform sharding.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forgetflow.errors import InputError

Rule = Literal["deletions", "points"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_BANDS = 8
"""Bands that `points` considers at most; more gain next to nothing."""

NEAR_BEST = 1.01
"""`points` takes the fewest bands that come this close to the best."""

_CANDIDATES = 64


@dataclass(frozen=True)
class Layout:
    """Bands of deletion prior, lowest first, each with shards of its own.

    Attributes:
        thresholds: B - 1 ascending bounds, for `partition.shard_thresholds`.
        shards: number of shards of each band, for `partition.band_shards`.
        subjects: number of subjects of each band.
        records: their records.
        deletions: expected number of deletions in each shard of the band, over hashes too.
        samples: expected records that one pass over what is left meets again, summed over
            requests served one by one in random order; expected over hashes, without slices;
            in JSON `points`.
    """

    thresholds: tuple[float, ...]
    shards: tuple[int, ...]
    subjects: tuple[int, ...]
    records: tuple[int, ...]
    deletions: tuple[float, ...]
    samples: Annotated[float, Field(alias="points")]


def layout_for(
    priors: Floats, shards: int, records: Ints | None = None, *, rule: Rule = "deletions"
) -> Layout:
    """Return the layout that a rule recommends; to be run once, before training.

    `deletions` runs Algorithm 1 with the smallest bound C for which it makes at most S shards,
    keeps its cuts that lie within half a shard (C/2 deletions) of a change of prior, and hands
    the S shards to the bands so that the largest number of expected deletions is least.
    `points` finds the cheapest bands and shares of shards by dynamic programming; uniform
    sharding is among what it compares, so that it never expects more `Layout.samples`.

    The module's docstring says what it means if subjects leave from whom it was computed.

    Args:
        priors: chance of each of n subjects to ask for deletion, (n,), in any order.
        shards: S.
        records: records of each subject, (n,); default one each.
        rule: `deletions` or `points`.

    Raises:
        InputError: a prior is no probability, or there are no shards.
    """
    if shards < 1:
        raise InputError(f"shards must be 1 or more, not {shards}")
    if not ((priors >= 0) & (priors <= 1)).all():
        raise InputError("every prior must be a number from 0 to 1")
    order = np.argsort(priors, kind="stable")
    own = np.ones(len(priors), np.int64) if records is None else records
    people = _People(priors[order], own[order])
    cuts, widths = (_equal_deletions if rule == "deletions" else _fewest_points)(people, shards)
    return people.layout(
        tuple(_shortest_bound(people.priors[cut - 1], people.priors[cut]) for cut in cuts),
        cuts,
        widths,
    )


def layout_of(
    priors: Floats, thresholds: tuple[float, ...], shards: tuple[int, ...], records: Ints
) -> Layout:
    """Return what is to be expected of given bands; arguments as in `layout_for` and `Layout`."""
    order = np.argsort(priors, kind="stable")
    people = _People(priors[order], records[order])
    cuts = np.searchsorted(people.priors, thresholds, side="right")
    return people.layout(thresholds, cuts.tolist(), list(shards))


def shard_sizes(priors: Floats, bound: float) -> list[int]:
    """Return the number of subjects in each shard, as Algorithm 1 cuts them.

    A shard takes subjects until its expected number of deletions reaches `bound`; the last one
    then opens the next shard. A subject that reaches the bound alone has a shard alone.

    Args:
        priors: p(u) of n subjects, ascending, (n,).
        bound: C, expected deletions that no shard reaches; the paper takes C <= 1.

    Raises:
        InputError: the bound is not positive.
    """
    if bound <= 0:
        raise InputError(f"the bound must be greater than 0, not {bound}")
    total = np.concatenate([[0.0], np.cumsum(priors)])
    cuts = [0]
    while cuts[-1] < len(priors):
        reached = int(np.searchsorted(total, total[cuts[-1]] + bound, side="left"))
        cuts.append(min(max(reached - 1, cuts[-1] + 1), len(priors)))
    return np.diff(cuts).tolist()


@dataclass(frozen=True, eq=False)
class _People:
    """n subjects in ascending order of prior, with their numbers of records."""

    priors: Floats
    records: Ints

    @property
    def borders(self) -> NDArray[np.intp]:
        """Return where the prior changes, as the number of subjects below."""
        return np.flatnonzero(np.diff(self.priors) > 0) + 1

    def costs(self, ends: Ints) -> Floats:
        """Return `Layout.samples` of one shard of the subjects from ends[i] to ends[j], (E, E).

        Subject u leaves with chance p_u and meets the records of v != u, who has not left before
        with chance 1 - p_v / 2. In s shards by hash, two subjects meet with chance 1/s.
        """
        left = self.records * (1 - self.priors / 2)
        leaves, met, own = (
            np.concatenate([[0.0], np.cumsum(one)])[ends]
            for one in (self.priors, left, self.priors * left)
        )
        # Nobody meets anybody in a band of one subject: 0, which rounding must not make negative.
        return np.maximum(_between(leaves) * _between(met) - _between(own), 0)

    def layout(self, thresholds: tuple[float, ...], cuts: list[int], widths: list[int]) -> Layout:
        """Describe the bands between cuts."""
        ends = np.array([0, *cuts, len(self.priors)])
        bands = np.arange(len(widths))
        costs = self.costs(ends)[bands, bands + 1]
        parts = [slice(low, high) for low, high in pairwise(ends)]
        return Layout(
            thresholds,
            tuple(widths),
            tuple(np.diff(ends).tolist()),
            tuple(int(self.records[part].sum()) for part in parts),
            tuple(
                float(self.priors[part].sum()) / width
                for part, width in zip(parts, widths, strict=True)
            ),
            float((costs / widths).sum()),
        )


def _equal_deletions(people: _People, shards: int) -> tuple[list[int], list[int]]:
    """Return Algorithm 1's cuts where the prior changes, and the shards of each band."""
    bound = _smallest_bound(people.priors, shards)
    total = np.concatenate([[0.0], np.cumsum(people.priors)])
    borders = people.borders
    cuts: list[int] = []
    if len(borders) and bound > 0:
        wanted = np.cumsum(shard_sizes(people.priors, bound))[:-1]
        nearest = _nearest(total[borders], total[wanted])
        near = np.abs(total[borders[nearest]] - total[wanted]) <= bound / 2
        cuts = np.unique(borders[nearest[near]]).tolist()
    mass = np.diff(total[[0, *cuts, len(people.priors)]])
    widths = np.ones(len(mass), np.int64)
    for _ in range(shards - len(mass)):
        widths[np.argmax(mass / widths)] += 1
    return cuts, widths.tolist()


def _smallest_bound(priors: Floats, shards: int) -> float:
    """Return the smallest C, to the last bits, for which Algorithm 1 makes at most S shards."""
    # Sums of `shards` shards below total / shards do not add up to the total.
    low = float(priors.sum()) / shards
    high = float(priors.sum()) * 2
    while low < (middle := (low + high) / 2) < high and high - low > 1e-12 * high:
        fits = len(shard_sizes(priors, middle)) <= shards
        low, high = (low, middle) if fits else (middle, high)
    return high


def _fewest_points(people: _People, shards: int) -> tuple[list[int], list[int]]:
    """Return the cheapest cuts where the prior changes, and the shards of each band."""
    borders = people.borders
    if len(borders) > _CANDIDATES:
        weight = np.cumsum(np.sqrt(people.priors * people.records))
        targets = np.linspace(0, weight[-1], _CANDIDATES + 1)
        borders = np.unique(borders[_nearest(weight[borders - 1], targets)])
    ends = np.array([0, *borders, len(people.priors)])
    bands, shares = _cheapest(people.costs(ends), shards)
    return ends[bands[1:-1]].tolist(), shares


def _cheapest(costs: Floats, shards: int) -> tuple[list[int], list[int]]:
    """Share `shards` among bands between E ends; costs[i, j] / s is the cost of band i to j.

    Returns:
        Ends of the bands, B + 1 numbers from 0 to E - 1, and the shards of each.
    """
    last = len(costs) - 1
    most = min(MAX_BANDS, last, shards)
    # best[b, j, s]: least cost of b bands up to end j with s shards.
    best = np.full((most + 1, last + 1, shards + 1), np.inf)
    best[0, 0, 0] = 0.0
    start = np.zeros(best.shape, np.int64)
    share = np.zeros(best.shape, np.int64)
    for band in range(1, most + 1):
        for end in range(1, last + 1):
            for own in range(1, shards + 1):
                found = best[band - 1, :end, : shards + 1 - own] + costs[:end, end, None] / own
                chosen = found.argmin(axis=0)
                least = found[chosen, np.arange(found.shape[1])]
                better = least < best[band, end, own:]
                best[band, end, own:][better] = least[better]
                start[band, end, own:][better] = chosen[better]
                share[band, end, own:][better] = own
    totals = best[:, last, shards]
    band = int(np.argmax(totals <= NEAR_BEST * totals.min()))
    ends, shares, left = [last], list[int](), shards
    for number in range(band, 0, -1):
        place = (number, ends[0], left)
        shares.insert(0, int(share[place]))
        ends.insert(0, int(start[place]))
        left -= shares[0]
    return ends, shares


def _between(sums: Floats) -> Floats:
    """Return sums[j] - sums[i], (E, E)."""
    return sums[None, :] - sums[:, None]


def _nearest(places: Floats, wanted: Floats) -> NDArray[np.intp]:
    """Return for each wanted value the index of the nearest of ascending places."""
    above = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
    below = np.maximum(above - 1, 0)
    return np.where(wanted - places[below] <= places[above] - wanted, below, above)


def _shortest_bound(low: float, high: float) -> float:
    """Return the number of fewest digits from `low` (which it may be) to `high` (which not)."""
    for digits in range(1, 18):
        rounded = Context(prec=digits, rounding=ROUND_CEILING).create_decimal(repr(float(low)))
        if low <= float(rounded) < high:
            return float(rounded)
    return float(low)
