"""Exact expectation, and spread, of what random requests cost on a placement as it is.

`partition.forecast` holds the closed forms for equal shards and slices; here sizes are what they
are, so that a mean over draws can be held against its own expectation.

A batch trains state a again, with n_a records before it, if it is hit (not G_a). A record that
leaves from slice r is missing from exactly R - r of the states trained again, so that in units
of 2e'/(R+1)

    cost = sum_a n_a (1 - G_a) - W,    W = sum over those who leave of (R - r),

and mean and variance follow from the chances that one state, and that two, are not hit. The
spread is exact because that of a few hundred draws misses what happens once in a thousand.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from forgetflow.partition import expectation
from forgetflow.partition.assignment import Assignment
from forgetflow.partition.expectation import Population
from forgetflow.studies.draws import Floats, Ints, Law, Leavers


@dataclass(frozen=True)
class Expected:
    """Cost of the requests of one draw, in points.

    Attributes:
        batch: mean, served together.
        batch_sd: standard deviation of one draw, served together.
        sequential: mean, served one after another.
    """

    batch: float
    batch_sd: float
    sequential: float


def expected(assignment: Assignment, law: Law, epochs: float) -> Expected:
    """Return what requests of a law cost in e' epochs on this placement."""
    if isinstance(law, Leavers):
        return _of_leavers(assignment, law, epochs)
    found = [_of_pool(assignment, pool, law.requests, epochs) for pool in law.pools]
    means = np.array([one.batch for one in found])
    within = np.array([one.batch_sd for one in found])
    return Expected(
        float(means.mean()),
        sqrt(float((within**2).mean() + means.var())),
        float(np.mean([one.sequential for one in found])),
    )


def _of_pool(assignment: Assignment, pool: Ints, requests: int, epochs: float) -> Expected:
    """Return the cost of K records without replacement from M of the N records."""
    own = Assignment(
        assignment.shards, assignment.slices, assignment.shard[pool], assignment.slice[pool]
    )
    total, per_state = len(pool), 2 * epochs / (assignment.slices + 1)
    size = assignment.sizes().cumsum(axis=1).ravel()
    states = own.sizes().cumsum(axis=1)
    member = states.ravel()
    later = assignment.slices - np.arange(assignment.slices)
    weight = (own.sizes() * later).cumsum(axis=1).ravel()
    gone = requests * member.sum() / total

    unhit = _unhit(total, requests)
    free = unhit[member]
    both = unhit[np.minimum(_union(states.astype(float)), total).astype(int)]
    mean = float(size @ (1 - free) - gone)
    # Given that nobody in a state leaves, K others do.
    others = np.where(
        member < total, requests * (member.sum() - weight) / np.maximum(total - member, 1), 0.0
    )
    spread = float(((assignment.slices - own.slice).astype(float)).var())
    variance = (
        float(size @ (both - np.outer(free, free)) @ size)
        + requests * (total - requests) / max(total - 1, 1) * spread
        + 2 * float(size @ (free * (others - gone)))
    )
    pairs = requests * (requests - 1) / 2 / max(total * (total - 1), 1)
    sequential = (
        requests / total * float(size @ member) - gone - pairs * float(member @ (member - 1))
    )
    return Expected(per_state * mean, per_state * sqrt(max(variance, 0.0)), per_state * sequential)


def _of_leavers(assignment: Assignment, law: Leavers, epochs: float) -> Expected:
    people = Population.of(assignment, law.subject_ids)
    leaves = law.chances
    size = people.records().ravel()
    with np.errstate(divide="ignore"):
        log_free = people.subjects(np.log1p(-leaves))
    free = np.exp(log_free).ravel()
    both = np.exp(_union(log_free, largest=False))
    own = np.bincount(people.subject, assignment.slices - assignment.slice, len(people))
    inside = people.subjects(leaves * own).ravel()
    variance = (
        float(size @ (both - np.outer(free, free)) @ size)
        + float((leaves * (1 - leaves) * own**2).sum())
        - 2 * float(size @ (free * inside))
    )
    return Expected(
        expectation.batch(people, leaves, epochs),
        2 * epochs / (assignment.slices + 1) * sqrt(max(variance, 0.0)),
        expectation.sequential(people, leaves, epochs),
    )


def _unhit(total: int, requests: int) -> Floats:
    """Return the chance that K of M records miss m of them, for m = 0 to M, (M + 1,)."""
    chance = np.ones(total + 1)
    outside = total - np.arange(total + 1)
    for number in range(requests):
        chance *= np.maximum(outside - number, 0) / (total - number)
    return chance


def _union(states: Floats, *, largest: bool = True) -> Floats:
    """Return what two states hold together, (S R, S R), for (S, R) cumulative over slices.

    Of one shard, the later state holds the earlier one; of two shards, they add up.
    """
    shards, slices = states.shape
    flat = states.ravel()
    found = np.add.outer(flat, flat)
    later = np.maximum.outer if largest else np.minimum.outer
    for shard in range(shards):
        own = slice(shard * slices, (shard + 1) * slices)
        found[own, own] = later(flat[own], flat[own])
    return found
