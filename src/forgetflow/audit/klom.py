"""KLoM: how far the margins of a record under many models are from those of retrained models.

For one record, M models of a procedure and M retrained ones give two sets of margins. Their
histograms, over the same 20 bins, are compared by KL(procedure || oracle); a record's KLoM is 0
where both are alike and ln(1e5) = 11.5 where they never meet. It is summed up over the records of
a set by the 95th percentile, since a few records betrayed are not made up for by many kept.

- `p95`, `mean`: KLoM in nats (Georgiev et al. 2024, arXiv 2410.23232).
- `gaussian_p95`: KL of normal laws fitted to both sets of margins, in nats.
- `ks_p95`: Kolmogorov-Smirnov distance of both sets, 0 to 1. Both are steadier with few members.
- `easydub_p95`: as EasyDUB (arXiv 2602.16400) computes it, for comparison with its tables.

Histograms of few members hardly overlap: with 20 members two pools of retrained models are as
far apart as 5 nats, and the estimate settles from 80 on (Mavrothalassitis et al. 2025, appendix K).
So KLoM is read beside the second oracle's, never by itself.

Shapes: p_margins (M1, N) of a contender, q_margins (M2, N) of the oracle; M members, N records.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.audit.context import MAX_MARGIN, ORACLE, SETS, AuditContext
from forgetflow.audit.intervals import jackknife_pools
from forgetflow.audit.protocol import DISTANCE, SHARE, Estimate, Range
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

Margins = NDArray[np.float64]

TABLE = "margins.csv"
BIN_EDGES = (-MAX_MARGIN, *(float(edge) for edge in range(-15, 26)), MAX_MARGIN)
"""Of the histogram table, in nats. Fixed, so that contenders and audits can be compared."""

BINS = 20
SMALLEST_SHARE = 1e-5
"""Put for an empty bin of the oracle, which caps KLoM at -ln of it."""
MEMBERS_NEEDED = 80
"""Members a side from which KLoM no longer depends on their number."""
MIN_DEVIATION = 0.01
"""Least standard deviation of a normal law fitted to margins, in nats: where all members agree,
differences below it are rounding."""

CONSTANT_SHARE = 0.05
"""Share of records whose margin is the same under all oracles up to which a 95th percentile is not
decided by them."""


class Klom:
    """KLoM and its companions, per set."""

    name: ClassVar[str] = "klom"
    title: ClassVar[str] = "KLoM: margins against retraining"
    reading: ClassVar[str] = (
        "How far a record's margins are from those of retrained models; as low as the second "
        "oracle's is ideal, on all three sets."
    )
    ranges: ClassVar[Mapping[str, Range]] = {
        "p95": DISTANCE,
        "mean": DISTANCE,
        "gaussian_p95": DISTANCE,
        "ks_p95": SHARE,
        "easydub_p95": DISTANCE,
    }

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return every statistic per contender and set; the bounds are a jackknife's."""
        statistics = {**STATISTICS, **(EASYDUB if context.settings.easydub else {})}
        oracle = {name: context.margins(ORACLE, name) for name in SETS}
        found: list[Estimate] = []
        for contender in context.names:
            for name in SETS:
                own = context.margins(contender, name)
                found += [
                    _estimate((contender, name, statistic), compare, own, oracle[name])
                    for statistic, compare in statistics.items()
                ]
        return found

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:
        """Return the share of the forget records' margins per bin, all members of a contender."""
        if len(context.sets["forget"]) < SMALLEST_GROUP:
            return {TABLE: []}
        rows: list[Row] = []
        for contender in context.contenders:
            shares = histogram(context.margins(contender, "forget"))
            rows += [
                {"contender": contender, "bin_low": low, "bin_high": high, "share": float(share)}
                for low, high, share in zip(BIN_EDGES, BIN_EDGES[1:], shares, strict=False)
            ]
        return {TABLE: rows}


def klom(p_margins: Margins, q_margins: Margins) -> NDArray[np.float64]:
    """Return the KLoM of every record in nats, (N,), 0 to ln(1e5).

    Bins span both sets of margins, clipped to +-100, and hold all of them: the largest belongs to
    the last. No other cap is needed: a share of at most 1 over one of at least 1e-5 is at most
    1e5.
    """
    p_counts, q_counts = _counts(p_margins, q_margins)
    for counts in (p_counts, q_counts):
        counts[:, BINS - 1] += counts[:, BINS]
    return _divergence(p_counts[:, :BINS], q_counts[:, :BINS])


def easydub_klom(p_margins: Margins, q_margins: Margins) -> NDArray[np.float64]:
    """Return KLoM as EasyDUB and its predecessor compute it, (N,).

    Their bins leave out the margins on the right edge, i.e. the largest of both sets, and shares
    are of what is left. A side that is left with nothing counts as no divergence.
    """
    p_counts, q_counts = _counts(p_margins, q_margins)
    return _divergence(p_counts[:, :BINS], q_counts[:, :BINS])


def gaussian_kl(p_margins: Margins, q_margins: Margins) -> NDArray[np.float64]:
    """Return KL(N_p || N_q) in nats, (N,), of normal laws with both sides' means and variances.

    Variances are unbiased and at least `MIN_DEVIATION` squared. Needs two members a side.
    """
    p_variance, q_variance = (
        np.maximum(side.var(axis=0, ddof=1), MIN_DEVIATION**2) for side in (p_margins, q_margins)
    )
    shift = p_margins.mean(axis=0) - q_margins.mean(axis=0)
    ratio = p_variance / q_variance
    return (ratio - 1 - np.log(ratio) + shift**2 / q_variance) / 2


def ks(p_margins: Margins, q_margins: Margins) -> NDArray[np.float64]:
    """Return the largest difference of both empirical distribution functions, (N,), 0 to 1."""
    both = np.concatenate([p_margins, q_margins])
    order = both.argsort(axis=0)
    ordered = np.take_along_axis(both, order, axis=0)
    # Whole steps in units of 1 / (M1 M2), so that equal shares cancel exactly.
    step = np.repeat([len(q_margins), -len(p_margins)], [len(p_margins), len(q_margins)])
    gap = np.abs(step[order].cumsum(axis=0))
    gap[:-1][ordered[1:] == ordered[:-1]] = 0  # between ties neither function is defined
    return gap.max(axis=0) / (len(p_margins) * len(q_margins))


def histogram(margins: Margins) -> NDArray[np.float64]:
    """Return the share of margins in each bin of `BIN_EDGES`, [low, high), the last one closed."""
    counts, _ = np.histogram(np.clip(margins, BIN_EDGES[0], BIN_EDGES[-1]), bins=BIN_EDGES)
    return counts / margins.size


def p95(values: NDArray[np.float64]) -> float:
    """Return the 95th percentile, linear between neighbours."""
    return float(np.percentile(values, 95))


Compare = Callable[[Margins, Margins], float]

STATISTICS: dict[str, Compare] = {
    "p95": lambda p, q: p95(klom(p, q)),
    "mean": lambda p, q: float(klom(p, q).mean()),
    "gaussian_p95": lambda p, q: p95(gaussian_kl(p, q)),
    "ks_p95": lambda p, q: p95(ks(p, q)),
}
EASYDUB: dict[str, Compare] = {"easydub_p95": lambda p, q: p95(easydub_klom(p, q))}


def _counts(p_margins: Margins, q_margins: Margins) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return how many margins fall in each bin, (N, BINS + 1); the last holds the right edge."""
    p_margins, q_margins = (
        np.clip(side, -MAX_MARGIN, MAX_MARGIN) for side in (p_margins, q_margins)
    )
    low = np.minimum(p_margins.min(axis=0), q_margins.min(axis=0))
    width = np.maximum(p_margins.max(axis=0), q_margins.max(axis=0)) - low
    width = np.where(width > 0, width, 1.0)
    rows = np.arange(len(low)) * (BINS + 1)

    def count(side: Margins) -> NDArray[np.intp]:
        places = ((side - low) / width * BINS).astype(np.intp) + rows  # (M, N)
        return np.bincount(places.ravel(), minlength=len(low) * (BINS + 1)).reshape(-1, BINS + 1)

    return count(p_margins), count(q_margins)


def _divergence(p_counts: NDArray[np.intp], q_counts: NDArray[np.intp]) -> NDArray[np.float64]:
    p, q = (side / np.maximum(side.sum(axis=1, keepdims=True), 1) for side in (p_counts, q_counts))
    ratio = np.divide(p, np.maximum(q, SMALLEST_SHARE), out=np.ones_like(p), where=p > 0)
    return (p * np.log(ratio)).sum(axis=1)


def _no_law(oracle: Margins, fewest: int) -> str:
    """Return why margins have no normal laws that compare; empty if they have."""
    if fewest < 2:
        return "a variance needs two members a side"
    constant = float((oracle.std(axis=0) < MIN_DEVIATION).mean())
    if constant <= CONSTANT_SHARE:
        return ""
    return (
        f"the oracle's models give {constant:.0%} of the records the same margin: no normal law "
        "describes it, and a percentile over records would only say whether others differ at all"
    )


def _estimate(
    of: tuple[str, str, str], compare: Compare, own: Margins, oracle: Margins
) -> Estimate:
    """Return the estimate of (contender, set, statistic)."""
    statistic = of[-1]
    fewest, records = min(len(own), len(oracle)), own.shape[1]
    if records < SMALLEST_GROUP:
        reason = f"withheld: the set has fewer than {SMALLEST_GROUP} records"
        return Estimate(Klom.name, *of, None, reason=reason)
    if statistic == "gaussian_p95":
        reason = _no_law(oracle, fewest)
        if reason:
            return Estimate(Klom.name, *of, None, reason=reason)
    reasons = []
    if fewest < MEMBERS_NEEDED and statistic in ("p95", "mean", "easydub_p95"):
        reasons.append(
            f"inflated: {fewest} members a side, steady from {MEMBERS_NEEDED} on; read only its "
            f"distance to the second oracle's estimate"
        )
    if records < 20 and statistic.endswith("p95"):
        reasons.append(f"close to the largest of only {records} records")
    interval = jackknife_pools(
        lambda mine, theirs: compare(own[mine], oracle[theirs]), (len(own), len(oracle))
    )
    return Estimate(Klom.name, *of, *interval, reason="; ".join(reasons))
