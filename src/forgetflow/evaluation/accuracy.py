"""Share of records predicted right, on the retain, forget and test set, and per class.

On the forget set the value to aim for is the oracle's, neither 0 nor 1: a model that never saw a
record still gets most of its kind right.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.evaluation.context import EvaluationContext
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

TABLE = "accuracy_by_class.csv"


class Accuracy:
    """Accuracy of every model on every set."""

    name: ClassVar[str] = "accuracy"

    def measure(self, context: EvaluationContext) -> dict[str, Any]:
        """Return model -> set -> accuracy, 0 to 1."""
        return {model: _per_set(context, model) for model in context.model_names}

    def tables(self, context: EvaluationContext) -> Mapping[str, list[Row]]:
        """Return the accuracy per class, withheld where a class has too few records."""
        rows: list[Row] = []
        for model in context.model_names:
            for name in context.set_names:
                correct, labels = context.correct(model, name), context.sets[name].labels
                for index, class_name in enumerate(context.sets[name].schema.class_names):
                    mine = labels == index
                    rows.append(
                        {
                            "model": model,
                            "set": name,
                            "class": class_name,
                            "records": int(mine.sum()),
                            "accuracy": share(correct[mine])
                            if mine.sum() >= SMALLEST_GROUP
                            else None,
                        }
                    )
        return {TABLE: rows}


def share(hits: NDArray[np.bool_]) -> float | None:
    """Return the share of True, or None of nothing."""
    return float(hits.mean()) if len(hits) else None


def _per_set(context: EvaluationContext, model: str) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        name: share(context.correct(model, name)) for name in context.set_names
    }
    empty = [name for name, value in metrics.items() if value is None]
    if empty:
        metrics["reason"] = f"no records in the {' and the '.join(empty)} set"
    return metrics
