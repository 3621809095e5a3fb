"""ZRF, zero retrain forgetting: how much predictions on forgotten records look like ignorance.

ZRF = 1 - mean over forget records of JS(model, untrained network), in bits (Chundawat et al., Bad
Teacher, AAAI 2023). A network that knows nothing of a record predicts like one with random initial
weights and reaches 1. But a retrained network knows the *kind* of its forgotten records, so the
value to aim for is the oracle's; above it a procedure has forgotten more than the records.

Published values disagree: code in circulation takes KL(m || p) and averages over classes, which
gives a nearly certain model of 10 classes .90 in place of .28 beside a uniform teacher; and one
library calls a cosine of logits by this name.

Member i is compared with untrained network i mod K.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.audit.context import ORACLE, AuditContext
from forgetflow.audit.divergence import paired
from forgetflow.audit.intervals import mean_interval
from forgetflow.audit.protocol import SHARE, Estimate, Range
from forgetflow.evaluation.distance import jensen_shannon
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

STATISTIC = "zrf"


class Zrf:
    """ZRF of every contender and of the oracle, forget set only."""

    name: ClassVar[str] = "zrf"
    title: ClassVar[str] = "ZRF: likeness to an untrained network"
    reading: ClassVar[str] = (
        "1 is a network that knows nothing of the forgotten records; the oracle's value is ideal, "
        "below it something is remembered, above it too much is forgotten."
    )
    ranges: ClassVar[Mapping[str, Range]] = {"zrf": SHARE}

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return `zrf`, mean over members with a t interval; the target is the oracles' mean."""
        forget = context.sets["forget"]
        reason = context.lacks("parameters")  # without any, there is no untrained network
        if len(forget) < SMALLEST_GROUP:
            reason = f"withheld: the forget set has fewer than {SMALLEST_GROUP} records"
        if reason:
            return [
                Estimate(self.name, contender, "forget", STATISTIC, None, reason=reason)
                for contender in context.contenders
            ]
        teachers = context.untrained.probabilities(forget.inputs)
        values = {
            contender: zrf(context.probabilities(contender, "forget"), teachers)
            for contender in context.contenders
        }
        target = float(values[ORACLE].mean())
        return [
            Estimate(self.name, contender, "forget", STATISTIC, *mean_interval(own), target=target)
            for contender, own in values.items()
        ]

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:  # noqa: ARG002
        """No table: the estimates say it all."""
        return {}


def zrf(probabilities: NDArray[np.float64], teachers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ZRF of every member, (M,), 0 to 1.

    Args:
        probabilities: of the members on the forget records, (M, N, C).
        teachers: of untrained networks on the same records, (K, N, C).
    """
    return 1 - paired(jensen_shannon, probabilities, teachers)
