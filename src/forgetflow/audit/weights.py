"""How far weights lie from those of a retrained model.

`relative_distance` = |w - w_oracle| / |w_oracle| over all parameters, Euclidean norm, for member i
of a contender and of the oracle (a verification error in the sense of Wu et al., DeltaGrad, ICML
2020).

Weights are not what a model does. Two retrainings with other seeds lie about sqrt(2) norms apart,
since hidden units have no order; that is the noise floor, and nothing below it speaks for
forgetting. Only with convex models, or far above the floor, does the estimate say something.
"""

from collections.abc import Mapping
from math import sqrt
from typing import ClassVar

import numpy as np
from torch import Tensor

from forgetflow.audit.context import ORACLE, AuditContext
from forgetflow.audit.intervals import mean_interval
from forgetflow.audit.protocol import DISTANCE, Estimate, Range
from forgetflow.files.formats import Row

MEMBERS = 16
"""Pairs of models that are compared, at most."""

Parameters = Mapping[str, Tensor]
"""Parameters by name, float64 on the CPU."""


class Weights:
    """Relative distance of all parameters to the oracle's."""

    name: ClassVar[str] = "weights"
    title: ClassVar[str] = "Distance of weights"
    reading: ClassVar[str] = (
        "Should be that of the second oracle: retrained models lie far from each other, too."
    )
    ranges: ClassVar[Mapping[str, Range]] = {"relative_distance": DISTANCE}

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return the distance of every contender to the oracle, as a share of its norm."""
        reason = context.lacks("parameters")
        if reason:
            place = "all", "relative_distance", None
            return [Estimate(self.name, one, *place, reason=reason) for one in context.names]
        distances: dict[str, list[float | None]] = {name: [] for name in context.names}
        for member in range(min(MEMBERS, context.members(ORACLE))):
            oracle = parameters(context, ORACLE, member)
            for name in context.names:
                if member < context.members(name):
                    own = parameters(context, name, member)
                    distances[name].append(relative_distance(own, oracle))
        return [_estimate(name, values) for name, values in distances.items()]

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:  # noqa: ARG002
        """No table: there is one estimate per contender."""
        return {}


def parameters(context: AuditContext, contender: str, member: int) -> Parameters:
    """Return the parameters of one model, sorted by name."""
    named = context.contenders[contender].network(member).named_parameters()
    return {name: one.detach().cpu().double() for name, one in sorted(named)}


def relative_distance(own: Parameters, oracle: Parameters) -> float | None:
    """Return |own - oracle| / |oracle|; None if their names or shapes differ."""
    if {n: p.shape for n, p in own.items()} != {n: p.shape for n, p in oracle.items()}:
        return None
    difference = sum(float((one - oracle[name]).square().sum()) for name, one in own.items())
    return sqrt(difference / sum(float(one.square().sum()) for one in oracle.values()))


def _estimate(contender: str, distances: list[float | None]) -> Estimate:
    known = np.array([one for one in distances if one is not None])
    place = (Weights.name, contender, "all", "relative_distance")
    if len(known) < len(distances):
        reason = (
            f"{len(distances) - len(known)} of {len(distances)} pairs have other parameters: "
            "a shard is empty in one of the two"
        )
        return Estimate(*place, None, reason=reason)
    return Estimate(*place, *mean_interval(known))
