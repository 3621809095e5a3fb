"""Which slice of its shard a record goes to: later for those who are likelier to leave."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def slice_numbers(
    priors: NDArray[np.float64], pick: NDArray[np.uint64], thresholds: Sequence[float], slices: int
) -> NDArray[np.int64]:
    """Return the slice of each record, a function of that record alone.

    With B bands (B - 1 thresholds), band b owns slices floor(bR/B) to floor((b+1)R/B) - 1 and
    `pick` chooses one of them.

    Args:
        priors: probability of being asked to be deleted, (N,), without NaN.
        pick: hash of each record, (N,).
        thresholds: ascending bounds, fixed in advance; a prior equal to one is not above it.
        slices: number of slices R.
    """
    count = len(thresholds) + 1
    edges = np.array([band * slices // count for band in range(count + 1)], np.uint64)
    band = bands(priors, thresholds)
    first, width = edges[:-1], np.diff(edges)
    return (first[band] + pick % width[band]).astype(np.int64)


def bands(priors: NDArray[np.float64], thresholds: Sequence[float]) -> NDArray[np.intp]:
    """Return how many thresholds lie below each prior, (N,)."""
    return np.array([bisect_left(thresholds, prior) for prior in priors], np.intp)
