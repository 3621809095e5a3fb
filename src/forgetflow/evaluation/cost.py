"""What a deletion cost: records passed through training, counted, predicted, and in full.

The unit is the paper's (Bourtoule et al. 2021): one record in one epoch is one. It is exact, so
that it can be compared with a formula, where seconds carry the noise of a machine.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgetflow.files.jsonable import to_json
from forgetflow.partition.forecast import restart_samples, slicing_restart
from forgetflow.unlearning.cost import Cost


def retrained_samples(
    counted: int | None,
    sizes: NDArray[np.int64],
    restarts: Mapping[int, int] | None,
    epochs: float,
    samples: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return records passed through training: counted, as predicted, and for full retraining.

    Args:
        counted: records the method passed through training, `Cost.backward_samples`; None where
            a method has no such count.
        sizes: records left per shard and slice after the deletion, int (S, R).
        restarts: shard -> first slice trained again, from `restart_slices`; None for a method
            that does not rebuild, which the formulas say nothing about.
        epochs: e', passes over a shard.
        samples: what each state takes after the one before it, (S, R), where models are fitted
            without epochs; the formulas do not apply to them.

    Returns:
        `counted`; `predicted`, the budget of restarting these shards at these slices with the
        sizes they have; `predicted_equal_slices`, the same by Eq. 11 as if slices were equal;
        `full_retraining`, of all shards from the start; and `share_of_full`, counted / full.
    """
    shards, slices = sizes.shape

    def budget(shard: int, first: int) -> float:
        if samples is not None:
            return float(samples[shard, first:].sum())
        return restart_samples(sizes[shard].tolist(), epochs, first)

    full = sum(budget(shard, 0) for shard in range(shards))
    metrics: dict[str, Any] = {
        "counted": counted,
        "predicted": None,
        "predicted_equal_slices": None,
        "full_retraining": full,
        "share_of_full": None,
    }
    missing = []
    if restarts is None:
        missing.append("the method does not rebuild, so no formula predicts its cost")
    else:
        metrics["predicted"] = sum(budget(shard, first) for shard, first in restarts.items())
        if samples is None:
            metrics["predicted_equal_slices"] = sum(
                slicing_restart(int(sizes[shard].sum()), slices, first, epochs)
                for shard, first in restarts.items()
            )
        else:
            missing.append("no formula holds for models that are fitted without epochs")
    if counted is None:
        missing.append("the method did not count the records it trained on")
    elif full:
        metrics["share_of_full"] = counted / full
    else:
        missing.append("no record is left to train on")
    if missing:
        metrics["reason"] = "; ".join(missing)
    return metrics


def costs(unlearned: Cost, full_retraining: Cost | None) -> dict[str, Any]:
    """Return what was measured while a deletion ran, beside a measured full retraining.

    Args:
        unlearned: cost of the states that the deletion made.
        full_retraining: cost of the oracle, which is a full retraining; None if not built.
    """
    metrics: dict[str, Any] = {"unlearned": to_json(unlearned)}
    if full_retraining is None:
        metrics |= {"full_retraining": None, "reason": "no full retraining was run"}
    else:
        metrics["full_retraining"] = to_json(full_retraining)
    return metrics
