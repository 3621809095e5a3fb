"""What a deletion costs before it is run: SISA's cost formulas as pure functions.

Source: Bourtoule et al., "Machine Unlearning", IEEE S&P 2021 (arXiv 1912.03817v3); equation
numbers are the paper's. Every result is in *records passed through training* (a record visited
in two epochs counts twice), which time is linear in. Parallelism across shards is not counted.

All expectations assume equal shards, equal slices and requests that hit each record with the
same chance; `restart_samples` is exact for the sizes it is given. With `epochs` left at 1 the
sharding formulas give the paper's counts of records.

Two things differ from the printed paper. The text beside Eq. 3 gives its asymptote with
exp(+K/tau); the sign must be minus. Appendix H evaluates Eq. 5 with the moments of a continuous
uniform variable (0.6765 for one request and R = 50); the discrete moments used here are exact
(0.6733). Slices are numbered from 0 as in `Assignment`; the paper's slice r is r - 1 here.

Notation:
    - N: records, S: shards, R: slices per shard
    - K: deletion requests, one record each
    - D: records of one shard
    - e': epochs that a run without slicing makes
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forgetflow.errors import InputError
from forgetflow.partition.assignment import Assignment


def full_retraining(records: int, requests: float, epochs: float = 1.0) -> float:
    """Return e' (N - K): one retraining of everything that is left, for the whole batch."""
    _check(records, requests=requests)
    return epochs * (records - requests)


def sharding_sequential(records: int, shards: int, requests: float, epochs: float = 1.0) -> float:
    """Return the expected cost of K requests served one after another (Eq. 2).

    E = (N/S + 1/(2S) - 1) K - K^2 / (2S). Underneath, a shard has lost Binomial(i - 1, 1/S)
    records when request i arrives. (N/S) K is a simple upper bound.

    Raises:
        InputError: a count is impossible (also for all functions below).
    """
    _check(records, shards=shards, requests=requests)
    per_shard = records / shards
    linear = (per_shard + 1 / (2 * shards) - 1) * requests
    return epochs * (linear - requests**2 / (2 * shards))


def sharding_batch(records: int, shards: int, requests: float, epochs: float = 1.0) -> float:
    """Return the expected cost of K requests served together (Eq. 3).

    E = N (1 - (1 - 1/S)^K) - K: every shard that is hit is retrained once. It tends to
    N (1 - exp(-K/tau)) with tau = -1 / ln(1 - 1/S); the paper prints exp(+K/tau), a typo.
    """
    _check(records, shards=shards, requests=requests)
    return epochs * (records * (1 - (1 - 1 / shards) ** requests) - requests)


def slicing_sequential(records: int, slices: int, epochs: float = 1.0) -> float:
    """Return the expected cost of one request in a shard of D records in R slices (Eq. 4).

    E = e' D (2/3 + 1/(3R)): slicing alone never saves more than a third.
    """
    _check(records, slices=slices)
    return epochs * records * (2 / 3 + 1 / (3 * slices))


def slicing_restart(records: int, slices: int, restart_slice: int, epochs: float = 1.0) -> float:
    """Return the cost of training slices `restart_slice` to R - 1 of D records (Eq. 11).

    With r = restart_slice + 1: (2 e' D / (R (R+1))) (R (R+1)/2 - r (r-1)/2).
    """
    _check(records, slices=slices, restart_slice=restart_slice)
    all_slices = slices * (slices + 1) / 2
    saved = restart_slice * (restart_slice + 1) / 2
    return epochs * records * (all_slices - saved) / all_slices


def slicing_batch(records: int, slices: int, requests: float, epochs: float = 1.0) -> float:
    """Return the expected cost of K requests in one shard of D records, served together (Eq. 5).

    E = (2 e' D / (R (R+1))) (R (R+1)/2 - (m2 - m1)/2) with m1, m2 the moments of r_min, the
    earliest slice hit (from 1). P(r_min >= r) = q_r = ((R - r + 1) / R)^K gives the exact
    (m2 - m1)/2 = sum_r (r - 1) q_r.
    """
    _check(records, slices=slices, requests=requests)
    if requests == 0:
        return 0.0
    before, reached = _slices_before(slices)
    all_slices = slices * (slices + 1) / 2
    saved = float((before * reached**requests).sum())
    return epochs * records * (all_slices - saved) / all_slices


def joint_batch(
    records: int, shards: int, slices: int, requests: float, epochs: float = 1.0
) -> float:
    """Return the expected cost of K requests over S shards of R slices, served together.

    Not in the paper, which multiplies the two gains and so credits slicing with its
    single-request gain although several requests share a shard. With c(k) = Eq. 5 for k hits
    per unit of e' D, E = e' N sum_{k>=1} Binomial(k; K, 1/S) c(k). The binomial theorem turns
    the sum over k into one over slices:

        E = e' N (1 - u - (2 / (R (R+1))) sum_r (r - 1) ((1 - (r - 1)/(R S))^K - u)),
        u = (1 - 1/S)^K, the chance that a shard is not hit.

    Like Eq. 5, this counts shards at the size they had before the batch. What is left of them is
    e' K less, exactly: a record that leaves is missing from every state trained again after it.
    """
    _check(records, shards=shards, slices=slices, requests=requests)
    before, reached = _slices_before(slices)
    unhit = (1 - 1 / shards) ** requests
    hit_later = (1 - (1 - reached) / shards) ** requests - unhit
    saved = float((before * hit_later).sum()) / (slices * (slices + 1) / 2)
    return epochs * records * (1 - unhit - saved)


def joint_sequential(
    records: int, shards: int, slices: int, requests: float, epochs: float = 1.0
) -> float:
    """Return the expected cost of K requests over S shards of R slices, one after another.

    Not in the paper. When request i arrives, each of the R S slices has lost (i - 1) / (R S)
    records in expectation, and the cost of a restart is linear in sizes; summing it over the
    slice that is hit and over i gives

        E = e' ((2R + 1) / (3 R S) (N K - K (K - 1) / 2) - K),

    which is Eq. 2 for R = 1 and, to first order in K / N, K times Eq. 4 for N/S records.
    """
    _check(records, shards=shards, slices=slices, requests=requests)
    share = (2 * slices + 1) / (3 * slices * shards)
    met = records * requests - requests * (requests - 1) / 2
    return epochs * (share * met - requests)


def lone_shard_sequential(records: int, shards: int, requests: float, epochs: float = 1.0) -> float:
    """Return the cost of the 1/S baseline, requests one after another (Eq. 19).

    A single model of N/S records, hit by a request with chance 1/S:
    E = (1/S) (N/S + 1/(2S) - 1) K - K^2 / (2 S^2).
    """
    return sharding_sequential(records, shards, requests, epochs) / shards


def lone_shard_batch(records: int, shards: int, requests: float, epochs: float = 1.0) -> float:
    """Return the cost of the 1/S baseline, requests served together: e' (N - K) / S (Eq. 20)."""
    _check(records, shards=shards, requests=requests)
    return epochs * (records - requests) / shards


def restart_samples(sizes: Sequence[int], epochs: float, restart_slice: int) -> float:
    """Return the exact training budget from a slice on, for slices of any sizes.

    sum_{i >= restart_slice} e_i |slices 0 to i together|, with e_i = 2e'/(R+1) (Eq. 1). For
    equal slices this is Eq. 11. What the trainer counts differs by less than two mini-batches
    per slice, because a slice's budget is rounded to whole optimizer steps.

    Args:
        sizes: records per slice of one shard that are left after the deletion, R numbers.
        epochs: e', passes over the shard.
        restart_slice: first slice to train again, 0 to R - 1.
    """
    _check(sum(sizes), slices=len(sizes), restart_slice=restart_slice)
    unions = np.cumsum(sizes, dtype=np.int64)
    return 2.0 * epochs / (len(sizes) + 1) * float(unions[restart_slice:].sum())


def restart_slices(assignment: Assignment, forget: NDArray[np.bool_]) -> dict[int, int]:
    """Return shard -> earliest slice that loses a record, for the shards that lose any.

    Args:
        assignment: placement of N records.
        forget: which of them are to be forgotten, bool (N,).
    """
    found: dict[int, int] = {}
    for shard in np.unique(assignment.shard[forget]):
        found[int(shard)] = int(assignment.slice[forget & (assignment.shard == shard)].min())
    return found


def _slices_before(slices: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return r - 1 and (R - r + 1)/R for r = 1 to R, both (R,)."""
    before = np.arange(slices)
    return before, (slices - before) / slices


def _check(
    records: int,
    *,
    shards: int = 1,
    slices: int = 1,
    requests: float = 0,
    restart_slice: int = 0,
) -> None:
    if records < 0 or shards < 1 or slices < 1:
        raise InputError("records must be 0 or more; shards and slices 1 or more")
    if not 0 <= requests <= records:
        raise InputError(f"requests must be between 0 and {records}, not {requests}")
    if not 0 <= restart_slice < slices:
        raise InputError(f"restart_slice must be between 0 and {slices - 1}, not {restart_slice}")
