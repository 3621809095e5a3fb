"""Cross-entropy: mean and median per model and set, and its distribution in fixed bins.

The distribution on the forget set is the picture behind loss-based membership inference: of a
model that remembers, it lies left of the oracle's; of one that over-forgot, right of it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.evaluation.context import MAX_LOSS, EvaluationContext
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

TABLE = "loss_histogram.csv"

BIN_EDGES = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, MAX_LOSS)
"""Nats. Fixed, so that histograms of all generations and models can be compared."""


class Loss:
    """Loss statistics of every model on every set of at least `SMALLEST_GROUP` records."""

    name: ClassVar[str] = "loss"

    def measure(self, context: EvaluationContext) -> dict[str, Any]:
        """Return model -> set -> mean and median loss in nats."""
        return {
            model: {name: _statistics(context, model, name) for name in context.set_names}
            for model in context.model_names
        }

    def tables(self, context: EvaluationContext) -> Mapping[str, list[Row]]:
        """Return the share of records per bin; shares of one model and set sum to 1."""
        rows: list[Row] = []
        for model in context.model_names:
            for name in context.set_names:
                if context.size(name) < SMALLEST_GROUP:
                    continue
                shares = histogram(context.losses(model, name))
                for low, high, part in zip(BIN_EDGES, BIN_EDGES[1:], shares, strict=False):
                    rows.append(
                        {
                            "bin_low": low,
                            "bin_high": high,
                            "model": model,
                            "set": name,
                            "share": float(part),
                        }
                    )
        return {TABLE: rows}


def histogram(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of losses in each bin [low, high), the last one closed; sums to 1.

    Args:
        losses: (N,) with N >= 1, in nats; clipped to the outer edges.
    """
    counts, _ = np.histogram(np.clip(losses, BIN_EDGES[0], BIN_EDGES[-1]), bins=BIN_EDGES)
    return counts / len(losses)


def _statistics(context: EvaluationContext, model: str, name: str) -> dict[str, Any]:
    if context.size(name) < SMALLEST_GROUP:
        return {
            "mean": None,
            "median": None,
            "reason": f"withheld: the {name} set has fewer than {SMALLEST_GROUP} records",
        }
    losses = context.losses(model, name)
    return {"mean": float(losses.mean()), "median": float(np.median(losses))}
