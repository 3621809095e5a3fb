"""Results by how much each forgotten record had been memorised.

Most records are predicted right by models that never saw them: leaving them out changes nothing,
and a mean over the forget set hides the few that were learned by heart (Zhao et al., RUM, NeurIPS
2024). Memorisation of a record (Feldman 2020) is the gain in its class probability from being
learned:

    memorisation = mean p_y of the original models - mean p_y of the oracles in the first half

Terciles low, mid and high of the forget set by that value; records of equal value go by position.
Per tercile:

    accuracy_*      share predicted right; the target is that of the oracles in the second half
    margin_gap_*    mean over records of |margin - mean margin of the oracles in the second half|

An oracle that helps to choose the terciles judges no estimate: a record that the first half gets
wrong by chance ranks high, and would be easy for fresh models. The original models cannot be
spared that way, so their own accuracy in the high tercile is a little flattered.

Shapes: M members, N forget records.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.audit.context import ORACLE, ORIGINAL, AuditContext
from forgetflow.audit.intervals import mean_interval
from forgetflow.audit.protocol import DISTANCE, SHARE, Estimate, Range
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

TABLE = "memorisation.csv"

TERCILES = ("low", "mid", "high")


class Memorisation:
    """Accuracy and distance of margins per memorisation tercile."""

    name: ClassVar[str] = "memorisation"
    title: ClassVar[str] = "By memorisation of the forgotten records"
    reading: ClassVar[str] = (
        "In every tercile as a retrained model. Accuracy tells who forgets in the high tercile, "
        "margins in the low one, too: there predictions are saturated, margins are not."
    )
    ranges: ClassVar[Mapping[str, Range]] = {
        "accuracy_low": SHARE,
        "accuracy_mid": SHARE,
        "accuracy_high": SHARE,
        "margin_gap_low": DISTANCE,
        "margin_gap_mid": DISTANCE,
        "margin_gap_high": DISTANCE,
    }

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return accuracy (oracle too) and margin gap per tercile of the forget set."""
        reason = _missing(context)
        if reason:
            return [
                Estimate(self.name, contender, "forget", f"{kind}_{tercile}", None, reason=reason)
                for contender in context.contenders
                for kind in _kinds(contender)
                for tercile in TERCILES
            ]
        groups = dict(zip(TERCILES, terciles(memorisation(context)), strict=True))
        found: list[Estimate] = []
        for contender in context.contenders:
            for kind in _kinds(contender):
                for tercile, chosen in groups.items():
                    place = (self.name, contender, "forget", f"{kind}_{tercile}")
                    if kind == "accuracy":
                        target = float(accuracies(context, ORACLE, chosen).mean())
                        interval = mean_interval(accuracies(context, contender, chosen))
                        found.append(Estimate(*place, *interval, target=target))
                    else:
                        interval = mean_interval(margin_gaps(context, contender, chosen))
                        found.append(Estimate(*place, *interval))
        return found

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:
        """Return the size and mean memorisation of the terciles."""
        if _missing(context):
            return {TABLE: []}
        values = memorisation(context)
        return {
            TABLE: [
                {
                    "tercile": tercile,
                    "records": len(chosen),
                    "memorisation": float(values[chosen].mean()),
                }
                for tercile, chosen in zip(TERCILES, terciles(values), strict=True)
            ]
        }


def memorisation(context: AuditContext) -> NDArray[np.float64]:
    """Return the memorisation of every forget record, (N,), -1 to 1."""
    where, labels = np.arange(len(context.sets["forget"])), context.labels("forget")
    learned = context.probabilities(ORIGINAL, "forget")[:, where, labels]
    unseen = context.probabilities(ORACLE, "forget")[:, where, labels]
    return learned.mean(axis=0) - unseen[: _half(context)].mean(axis=0)


def terciles(values: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Return positions of the lowest, middle and highest third of (N,); sizes differ by one."""
    return np.array_split(np.argsort(values, kind="stable"), len(TERCILES))


def accuracies(
    context: AuditContext, contender: str, chosen: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the share of chosen forget records predicted right, (M,); oracle: second half."""
    judges = slice(_half(context), None) if contender == ORACLE else slice(None)
    return context.correct(contender, "forget")[judges][:, chosen].mean(axis=1)


def margin_gaps(
    context: AuditContext, contender: str, chosen: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the mean distance of margins to those of the judging oracles, (M,), in nats."""
    reference = context.margins(ORACLE, "forget")[_half(context) :, chosen].mean(axis=0)
    return np.abs(context.margins(contender, "forget")[:, chosen] - reference).mean(axis=1)


def _half(context: AuditContext) -> int:
    """Return how many oracles choose the terciles; the others judge."""
    return context.members(ORACLE) // 2


def _kinds(contender: str) -> tuple[str, ...]:
    return ("accuracy",) if contender == ORACLE else ("accuracy", "margin_gap")


def _missing(context: AuditContext) -> str:
    if ORIGINAL not in context.contenders:
        return "no original models: memorisation is their gain over the oracles"
    if context.members(ORACLE) < 2:
        return "one oracle: terciles and estimates need different ones"
    if len(context.sets["forget"]) < len(TERCILES) * SMALLEST_GROUP:
        return (
            f"withheld: the forget set has fewer than {len(TERCILES) * SMALLEST_GROUP} records, "
            f"{SMALLEST_GROUP} per tercile"
        )
    return ""
