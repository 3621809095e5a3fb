"""Population membership inference: one attacker for all records, tried on every member.

- `auc_loss`, `auc_entropy`, `auc_confidence`: the chance that of a forgotten and an unseen record
  of the same class the forgotten one has the lower loss, the lower entropy, or the higher largest
  probability; ties count half. The probability of the true class would only repeat the loss, so
  confidence is that of the predicted class: it and the entropy need no labels.
- `member_rate`: the share of forgotten records that an attacker calls members who learned, on
  equally many retain (member) and test (non-member) records of the same classes, up to which
  entropy a record was trained on. It is the attack of Bad Teacher (Chundawat et al., AAAI 2023)
  and SSD (Foster et al., AAAI 2024), with one threshold in place of a logistic regression or SVC.
  Where a model is as sure of test as of retain records the threshold falls anywhere, and the rate
  with it: mind the interval.

Read both ways against the oracle. A retrained model has neither 0.5 nor 0, since forget and test
records differ by chance and by kind; and methods that push forgotten records to uncertain outputs
fall *below* the oracle, which gives the records away as surely as memory does and which a
one-sided reading (the lower the better) would reward.

An attacker for all records is weak: it overstates privacy (Hayes et al., SaTML 2025).

Shapes: M members, N records, C classes.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.audit.context import ORACLE, AuditContext
from forgetflow.audit.intervals import mean_interval
from forgetflow.audit.protocol import SHARE, Estimate, Range
from forgetflow.evaluation.auc import auc
from forgetflow.evaluation.membership import matched
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

SIGNALS = ("loss", "entropy", "confidence")
MEMBER_RATE = "member_rate"
STATISTICS = (*(f"auc_{signal}" for signal in SIGNALS), MEMBER_RATE)

PerMember = NDArray[np.float64]
"""One value per member, (M,)."""


class Attacks:
    """Three attacks on forget against test, and the entropy attacker fitted on retain."""

    name: ClassVar[str] = "attacks"
    title: ClassVar[str] = "Membership inference over all records"
    reading: ClassVar[str] = (
        "Attacks should do as well as on a retrained model; below it is as telling as above it."
    )
    ranges: ClassVar[Mapping[str, Range]] = {
        "auc_loss": SHARE,
        "auc_entropy": SHARE,
        "auc_confidence": SHARE,
        "member_rate": SHARE,
    }

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return the AUC per signal and the member rate, on the forget set, oracle included."""
        found: list[Estimate] = []
        for statistic in STATISTICS:
            reason = withheld(context, statistic)
            rates = {} if reason else {c: _rates(context, c, statistic) for c in context.contenders}
            for contender in context.contenders:
                if reason:
                    one = Estimate(self.name, contender, "forget", statistic, None, reason=reason)
                else:
                    target = float(rates[ORACLE].mean())
                    interval = mean_interval(rates[contender])
                    one = Estimate(self.name, contender, "forget", statistic, *interval, target)
                found.append(one)
        return found

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:  # noqa: ARG002
        """No table: the estimates say it all."""
        return {}


def withheld(context: AuditContext, statistic: str) -> str:
    """Return why one of `STATISTICS` cannot be had; empty if it can."""
    if len(context.sets["forget"]) < SMALLEST_GROUP:
        return f"withheld: the forget set has fewer than {SMALLEST_GROUP} records"
    inside = "retain" if statistic == MEMBER_RATE else "forget"
    pairs = len(_pairs(context, inside)[0])
    if pairs < SMALLEST_GROUP:
        return (
            f"only {pairs} {inside} record(s) have a test record of the same class; "
            f"{SMALLEST_GROUP} are the least to say anything"
        )
    return ""


def attack_aucs(context: AuditContext, contender: str, signal: str) -> PerMember:
    """Return the AUC of one of `SIGNALS`, forget against test, per member, (M,)."""
    forget, test = _pairs(context, "forget")
    left = _signal(context, contender, "forget", signal)[:, forget]
    right = _signal(context, contender, "test", signal)[:, test]
    return np.array([auc(*sides) for sides in zip(left, right, strict=True)])


def member_rates(context: AuditContext, contender: str) -> PerMember:
    """Return the share of forgotten records called members, per member, (M,)."""
    retain, test = _pairs(context, "retain")
    inside = _signal(context, contender, "retain", "entropy")[:, retain]
    outside = _signal(context, contender, "test", "entropy")[:, test]
    limits = [entropy_threshold(*sides) for sides in zip(inside, outside, strict=True)]
    forgotten = _signal(context, contender, "forget", "entropy")
    return (forgotten <= np.array(limits)[:, None]).mean(axis=1)


def entropy_threshold(members: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the entropy up to which a record is best called a member, for (n,) and (n,).

    It maximises true minus false positive rate, among the gaps between observed values; the lowest
    of equals. -inf, nobody is a member, if no threshold does better than guessing.
    """
    values = np.unique(np.concatenate([members, others]))
    candidates = np.concatenate([[-np.inf], (values[1:] + values[:-1]) / 2])
    true = np.searchsorted(np.sort(members), candidates, side="right") / len(members)
    false = np.searchsorted(np.sort(others), candidates, side="right") / len(others)
    return float(candidates[int((true - false).argmax())])


def entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy in nats, (...), of distributions (..., C)."""
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return -(probabilities * logs).sum(axis=-1)


def _rates(context: AuditContext, contender: str, statistic: str) -> PerMember:
    if statistic == MEMBER_RATE:
        return member_rates(context, contender)
    return attack_aucs(context, contender, statistic.removeprefix("auc_"))


def _pairs(context: AuditContext, name: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return positions in a set and in the test set, class by class as many, (n,) each."""
    return matched(context.sets[name], context.sets["test"], context.seed)


def _signal(context: AuditContext, contender: str, name: str, signal: str) -> NDArray[np.float64]:
    """Return what the attacker sees, (M, N); low values speak for membership."""
    if signal == "loss":
        return context.losses(contender, name)
    probabilities = context.probabilities(contender, name)
    if signal == "entropy":
        return entropy(probabilities)
    return -probabilities.max(axis=2)
