"""How good the members of an ensemble are alone, beside the ensemble (SISA's question of S).

Networks and forests: the accuracy of each on the test set. One-class models have no accuracy of
their own: for them it is the area under the ROC curve of telling their class from all others.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from forgetflow.evaluation.auc import auc
from forgetflow.evaluation.context import EvaluationContext
from forgetflow.files.formats import Row

SET = "test"


@runtime_checkable
class HasMembers(Protocol):
    """What is needed of an ensemble: `Ensemble` has it."""

    @property
    def shards(self) -> list[int]:
        """Number of each member's shard, S of them."""

    def outputs(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what each member maps inputs to, (S, N, C) or, for one-class models, (S, N, 1)."""


class Constituents:
    """Lowest, mean and highest quality of the members of the model under evaluation."""

    name: ClassVar[str] = "constituents"

    def measure(self, context: EvaluationContext) -> dict[str, Any]:
        """Return model -> `members`, and `lowest`, `mean`, `highest` of accuracy or AUC."""
        return {name: _of(context, name) for name in context.model_names[:1]}

    def tables(self, context: EvaluationContext) -> Mapping[str, list[Row]]:  # noqa: ARG002
        """Return no table: three metrics say it."""
        return {}


def _of(context: EvaluationContext, name: str) -> dict[str, Any]:
    model, size = context.models[name], context.size(SET)
    if not isinstance(model, HasMembers) or not size:
        return {"accuracy": None, "reason": f"no records in the {SET} set or no members"}
    outputs = model.outputs(context.sets[SET].inputs)
    labels = context.sets[SET].labels
    if outputs.shape[2] == 1:
        return {"members": len(outputs), "auc": _spread(_aucs(outputs, labels, model.shards))}
    accuracies = [float((one.argmax(axis=1) == labels).mean()) for one in outputs]
    return {"members": len(outputs), "accuracy": _spread(accuracies)}


def _aucs(
    outputs: NDArray[np.float32], labels: NDArray[np.int64], shards: list[int]
) -> list[float]:
    """Return the AUC of each member's score, where the test set has its class and others.

    Raises:
        ValueError: an output is no finite number, so it has no rank.
    """
    if not np.isfinite(outputs).all():
        raise ValueError("a member's output is not finite")
    own = [(labels == shard, one[:, 0]) for shard, one in zip(shards, outputs, strict=True)]
    return [auc(score[~mine], score[mine]) for mine, score in own if 0 < mine.sum() < len(mine)]


def _spread(values: list[float]) -> dict[str, Any]:
    if not values:
        return {"mean": None, "reason": f"the {SET} set holds no class to tell apart"}
    return {"lowest": min(values), "mean": float(np.mean(values)), "highest": max(values)}
