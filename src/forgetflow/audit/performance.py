"""Accuracy of every contender beside that of the oracle, and what the field sums it up to.

- `accuracy` per set. The value to aim for is the oracle's, neither 0 nor 1: a model that never saw
  a record still gets most of its kind right.
- `gap`: accuracy minus the oracle's, sign kept.
- `tow`, tug of war (Zhao et al., RUM, NeurIPS 2024): the product over the three sets of
  1 - |accuracy - oracle's accuracy|; 1 is best.
- `average_gap` (Jia et al., Unlearn-Sparse, NeurIPS 2023): the mean of |difference to the oracle|
  over the accuracies on the forget, retain and test set and the `member_rate` of `attacks`. Theirs
  is the rate of an SVC on confidences, so published values are near, not equal.

`tow` and `average_gap` fold seed noise into |.|, so a perfect procedure stays a little away from
1 and 0; the second oracle shows how far. Where the forget set is a random part of the training
set, doing nothing scores almost as well: neither estimate is evidence of forgetting by itself.
"""

from collections.abc import Mapping
from math import sqrt
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.audit.attacks import MEMBER_RATE, member_rates, withheld
from forgetflow.audit.context import ORACLE, SETS, AuditContext
from forgetflow.audit.intervals import Interval, mean_interval, student
from forgetflow.audit.protocol import SHARE, Estimate, Range
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

TABLE = "audit_accuracy.csv"
CLASS_TABLE = "audit_accuracy_by_class.csv"


class Performance:
    """Accuracy per set, gap to the oracle, tug of war and average gap."""

    name: ClassVar[str] = "performance"
    title: ClassVar[str] = "Accuracy against retraining"
    reading: ClassVar[str] = (
        "Accuracies should be those of a retrained model; gaps 0, tug of war 1 or what the second "
        "oracle reaches."
    )
    ranges: ClassVar[Mapping[str, Range]] = {
        "accuracy": SHARE,
        "gap": (-1.0, 1.0),
        "tow": SHARE,
        "average_gap": SHARE,
    }

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return `accuracy` and `gap` per set, `tow` and `average_gap` over all sets."""
        oracle = {name: accuracies(context, ORACLE, name) for name in SETS}
        found: list[Estimate] = []
        for contender in context.contenders:
            own = {name: accuracies(context, contender, name) for name in SETS}
            for name in SETS:
                target = float(oracle[name].mean())
                interval = mean_interval(own[name])
                found.append(Estimate(self.name, contender, name, "accuracy", *interval, target))
            if contender == ORACLE:
                continue
            for name in SETS:
                interval = difference_interval(own[name], oracle[name])
                found.append(Estimate(self.name, contender, name, "gap", *interval, 0.0))
            differences = np.array([np.abs(own[name] - oracle[name].mean()) for name in SETS])
            found.append(Estimate(self.name, contender, "all", "tow", *tug_of_war(differences)))
            found.append(_average_gap(context, contender, differences))
        return found

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:
        """Return accuracies per set, and per class where a class has enough records."""
        rows: list[Row] = []
        classes: list[Row] = []
        for contender in context.contenders:
            for name in SETS:
                value, low, high = mean_interval(accuracies(context, contender, name))
                rows.append(
                    {
                        "contender": contender,
                        "set": name,
                        "accuracy": value,
                        "low": low,
                        "high": high,
                    }
                )
                classes += _class_rows(context, contender, name)
        return {TABLE: rows, CLASS_TABLE: classes}


def accuracies(context: AuditContext, contender: str, name: str) -> NDArray[np.float64]:
    """Return the share of records of a set that each member predicts right, (M,)."""
    return context.correct(contender, name).mean(axis=1)


def tug_of_war(differences: NDArray[np.float64]) -> Interval:
    """Return mean and interval of prod (1 - difference) for |differences| (sets, M), 0 to 1."""
    return mean_interval(np.prod(1 - differences, axis=0))


def difference_interval(left: NDArray[np.float64], right: NDArray[np.float64]) -> Interval:
    """Return mean(left) - mean(right) with Welch's interval, for (M,) and (m,).

    The freedom is rounded down, to 1 at least, which widens the interval.
    """
    difference = float(left.mean() - right.mean())
    if min(len(left), len(right)) < 2:
        return Interval(difference, None, None)
    parts = [float(side.var(ddof=1)) / len(side) for side in (left, right)]
    total = sum(parts)
    if total == 0:
        return Interval(difference, difference, difference)
    shares = [(p / total) ** 2 / (len(s) - 1) for p, s in zip(parts, (left, right), strict=True)]
    half = student(max(1, int(1 / sum(shares)))) * sqrt(total)
    return Interval(difference, difference - half, difference + half)


def _average_gap(
    context: AuditContext, contender: str, differences: NDArray[np.float64]
) -> Estimate:
    reason = withheld(context, MEMBER_RATE)
    if reason:
        return Estimate(Performance.name, contender, "all", "average_gap", None, reason=reason)
    attack = np.abs(member_rates(context, contender) - member_rates(context, ORACLE).mean())
    interval = mean_interval(np.vstack([differences, attack]).mean(axis=0))
    return Estimate(Performance.name, contender, "all", "average_gap", *interval)


def _class_rows(context: AuditContext, contender: str, name: str) -> list[Row]:
    correct, labels = context.correct(contender, name), context.labels(name)
    rows: list[Row] = []
    for index, class_name in enumerate(context.sets[name].schema.class_names):
        mine = labels == index
        enough = mine.sum() >= SMALLEST_GROUP
        rows.append(
            {
                "contender": contender,
                "set": name,
                "class": class_name,
                "records": int(mine.sum()),
                "accuracy": float(correct[:, mine].mean()) if enough else None,
            }
        )
    return rows
