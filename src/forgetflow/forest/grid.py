"""Thresholds that owe nothing to the records: from a schema or from public reference rows.

A quantile of the training records is itself learned from them: delete one and the grid moves,
or stays and remembers. So a forest takes its thresholds from outside, and deletion cannot
touch them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forgetflow.errors import InputError

MAX_THRESHOLDS = 254
"""Thresholds per feature, so that codes and the code of a missing value fit into one byte."""


@dataclass(frozen=True)
class Grid:
    """Candidate thresholds per feature.

    Attributes:
        thresholds: for each of D features its thresholds, float64, strictly increasing; a
            value goes left of a threshold when it is less or equal.
    """

    thresholds: tuple[NDArray[np.float64], ...]

    def __post_init__(self) -> None:
        """Refuse thresholds that could not be told apart, or not be stored.

        Raises:
            InputError: no feature, or a feature with bad thresholds.
        """
        if not 1 <= len(self.thresholds) <= 65_536:
            raise InputError(
                f"the grid has {len(self.thresholds)} features: give the thresholds of 1 to 65536"
            )
        for feature, values in enumerate(self.thresholds):
            good = values.ndim == 1 and len(values) <= MAX_THRESHOLDS
            if not good or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
                raise InputError(
                    f"thresholds of feature {feature} must be at most {MAX_THRESHOLDS} finite "
                    "numbers in increasing order: give fewer, or sort them and drop repeats"
                )

    @classmethod
    def uniform(cls, low: ArrayLike, high: ArrayLike, thresholds: int) -> "Grid":
        """Return `thresholds` equally spaced cuts of [low, high) for each feature.

        Args:
            low: (D,), lower ends of the ranges a schema declares.
            high: (D,), upper ends; values outside stay in the outer bins.
            thresholds: 1 to `MAX_THRESHOLDS`.
        """
        lows, highs = np.broadcast_arrays(_floats(low), _floats(high))
        if lows.ndim != 1 or not (lows < highs).all():
            raise InputError("every feature needs a lower bound below its upper bound")
        steps = (np.arange(thresholds) + 1) / (thresholds + 1)
        return cls(tuple(a + (b - a) * steps for a, b in zip(lows, highs, strict=True)))

    @classmethod
    def from_public(cls, rows: ArrayLike, thresholds: int) -> "Grid":
        """Return up to `thresholds` cuts per feature between quantiles of public rows.

        Args:
            rows: (R, D) reference rows that nobody will ever ask to delete; NaN is left out.
            thresholds: 1 to `MAX_THRESHOLDS`; repeats collapse.
        """
        values = _floats(rows)
        if values.ndim != 2:
            raise InputError("reference rows must form a table: rows by features")
        return cls(tuple(_cuts(column[np.isfinite(column)], thresholds) for column in values.T))

    @classmethod
    def of(cls, thresholds: Sequence[ArrayLike]) -> "Grid":
        """Return the grid with these thresholds, a sequence per feature."""
        return cls(tuple(_floats(values) for values in thresholds))

    def codes(self, features: ArrayLike) -> NDArray[np.uint8]:
        """Return for each value how many thresholds lie below it; a missing value comes last.

        With t thresholds, codes 0 to t are values and t + 1 is NaN: it goes right of every
        threshold, and one more possible split, at t, parts it from all values.

        Args:
            features: (N, D) numbers, NaN where missing.

        Returns:
            uint8 (D, N), contiguous per feature.
        """
        values = _floats(features)
        if values.ndim != 2 or values.shape[1] != len(self.thresholds):
            raise InputError(
                f"features have the shape {values.shape}, the grid has {len(self.thresholds)} "
                "features: give a table of rows by features"
            )
        out = np.empty(values.shape[::-1], np.uint8)
        for feature, cuts in enumerate(self.thresholds):
            column = values[:, feature]
            found = np.searchsorted(cuts, column, side="left")
            out[feature] = np.where(np.isnan(column), len(cuts) + 1, found)
        return out


def _cuts(column: NDArray[np.float64], thresholds: int) -> NDArray[np.float64]:
    """Return cuts half way between neighbouring values, spread over the ranks of `column`."""
    values = np.unique(column)
    if len(values) < 2:
        return np.empty(0)
    middles = values[:-1] + (values[1:] - values[:-1]) / 2
    if len(middles) <= thresholds:
        return np.unique(middles)
    ranks = (np.arange(thresholds) + 1) * len(column) // (thresholds + 1)
    at = np.searchsorted(values, np.sort(column)[ranks]).clip(max=len(middles) - 1)
    return np.unique(middles[at])


def _floats(values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as problem:
        raise InputError(
            "features and thresholds must be numbers (NaN where missing): encode text and "
            "categories as numbers first"
        ) from problem
