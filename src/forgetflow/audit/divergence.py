"""How differently a contender's models and retrained ones predict, record by record.

Member i of a contender is compared with oracle i mod K; seeds differ within every pair, so exact
procedures do not reach the ideal values either: the second oracle shows what seeds alone do.

- `js`: Jensen-Shannon divergence of the class probabilities in bits, 0 to 1: the divergence, not
  its square root, summed over classes (copies in circulation average them, or take KL(m || p));
- `kl_to_oracle`: KL(contender || oracle) in nats;
- `kl_from_oracle`: KL(oracle || contender) in nats;
- `activation_distance`: mean L2 norm of the difference of probabilities, 0 to sqrt(2)
  (Chundawat et al., Bad Teacher, AAAI 2023; Golatkar et al. take the L1 norm, so published values
  cannot be compared across repositories);
- `completeness`: share of records with the same predicted class (Cao & Yang, IEEE S&P 2015).

Intervals are over pairs; with more members than oracles, oracles are used again, and the intervals
are a little too narrow.

Shapes: N records, C classes, K oracles.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.audit.context import ORACLE, SETS, AuditContext
from forgetflow.audit.intervals import mean_interval
from forgetflow.audit.protocol import DISTANCE, SHARE, Estimate, Range
from forgetflow.evaluation.distance import jensen_shannon
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

FLOOR = 1e-12
"""Least probability a logarithm is taken of where the other side has some: caps a KL divergence
at 27.6 nats, where a zero would make it infinite."""

Probabilities = NDArray[np.float64]


class Divergence:
    """Distances of the predictions from the oracle's, per set."""

    name: ClassVar[str] = "divergence"
    title: ClassVar[str] = "Predictions against retraining"
    reading: ClassVar[str] = (
        "How differently a procedure and retraining predict; divergences and distance as low, "
        "completeness as high as the second oracle's are ideal."
    )
    ranges: ClassVar[Mapping[str, Range]] = {
        "js": SHARE,
        "kl_to_oracle": DISTANCE,
        "kl_from_oracle": DISTANCE,
        "activation_distance": (0.0, 2**0.5),
        "completeness": SHARE,
    }

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return every statistic per contender and set, means over pairs with t intervals."""
        found: list[Estimate] = []
        for contender in context.names:
            for name in SETS:
                if len(context.sets[name]) < SMALLEST_GROUP:
                    reason = f"withheld: the {name} set has fewer than {SMALLEST_GROUP} records"
                    found += [
                        Estimate(self.name, contender, name, statistic, None, reason=reason)
                        for statistic in STATISTICS
                    ]
                    continue
                for statistic, compare in STATISTICS.items():
                    of = context.smoothed if statistic in LOGARITHMS else context.probabilities
                    own, oracle = of(contender, name), of(ORACLE, name)
                    interval = mean_interval(paired(compare, own, oracle))
                    found.append(Estimate(self.name, contender, name, statistic, *interval))
        return found

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:  # noqa: ARG002
        """No table: the estimates say it all."""
        return {}


LOGARITHMS = ("kl_to_oracle", "kl_from_oracle")
"""Statistics that a probability of 0 makes infinite: shares of votes are smoothed for them."""


def paired(
    compare: Callable[[Probabilities, Probabilities], NDArray[np.float64]],
    own: Probabilities,
    other: Probabilities,
) -> NDArray[np.float64]:
    """Return the mean over records of a comparison of member i with other i mod K, (M,).

    Args:
        compare: of class probabilities (N, C) and (N, C); one value per record, (N,).
        own: (M, N, C).
        other: (K, N, C).
    """
    return np.array([compare(p, other[i % len(other)]).mean() for i, p in enumerate(own)])


def kullback_leibler(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Return KL(p || q) in nats, (N,) for rows of (N, C); q counts as at least `FLOOR`."""
    ratio = np.divide(p, np.maximum(q, FLOOR), out=np.ones_like(p), where=p > 0)
    return (p * np.log(ratio)).sum(axis=1)


def activation_distance(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Return the L2 norm of p - q, (N,) for rows of (N, C)."""
    return np.sqrt(((p - q) ** 2).sum(axis=1))


def same_class(p: Probabilities, q: Probabilities) -> NDArray[np.float64]:
    """Return 1 where both predict the same class, else 0, (N,); ties go to the lowest class."""
    return (p.argmax(axis=1) == q.argmax(axis=1)).astype(np.float64)


STATISTICS: dict[str, Callable[[Probabilities, Probabilities], NDArray[np.float64]]] = {
    "js": jensen_shannon,
    "kl_to_oracle": kullback_leibler,
    "kl_from_oracle": lambda p, q: kullback_leibler(q, p),
    "activation_distance": activation_distance,
    "completeness": same_class,
}
