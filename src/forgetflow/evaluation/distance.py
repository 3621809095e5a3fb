"""How differently two models predict: the unlearned model, and its parent, against the oracle.

- `identical`: share of records that get the same predicted class;
- `js`: Jensen-Shannon divergence of the class probabilities in bits, 0 to 1, mean over records.

Two retrained models differ as well, by their seeds, so an exact method does not reach `js` = 0;
the parent's metrics show what doing nothing would give.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.evaluation.context import EvaluationContext
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

COMPARED = ("unlearned", "parent")


class Distance:
    """Distance of predictions to the oracle's."""

    name: ClassVar[str] = "distance"

    def measure(self, context: EvaluationContext) -> dict[str, Any]:
        """Return model -> set -> `identical` and `js`."""
        if "oracle" not in context.models:
            return {**dict.fromkeys(COMPARED), "reason": "no oracle to compare predictions with"}
        return {
            model: {name: _metrics(context, model, name) for name in context.set_names}
            for model in COMPARED
            if model in context.models
        }

    def tables(self, context: EvaluationContext) -> Mapping[str, list[Row]]:  # noqa: ARG002
        """No table."""
        return {}


def jensen_shannon(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return KL(p, m)/2 + KL(q, m)/2 with m = (p + q)/2, in bits, (N,) for rows of (N, C).

    The divergence itself, not its square root (Lin, IEEE Trans. Inf. Theory 1991).
    """
    middle = (first + second) / 2
    return (_divergence(first, middle) + _divergence(second, middle)) / 2


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return (p * np.log2(ratio)).sum(axis=1)


def _metrics(context: EvaluationContext, model: str, name: str) -> dict[str, Any]:
    if context.size(name) < SMALLEST_GROUP:
        reason = f"withheld: the {name} set has fewer than {SMALLEST_GROUP} records"
        return {"identical": None, "js": None, "reason": reason}
    same = context.predictions(model, name) == context.predictions("oracle", name)
    divergence = jensen_shannon(
        context.probabilities(model, name), context.probabilities("oracle", name)
    )
    return {"identical": float(same.mean()), "js": float(divergence.mean())}
