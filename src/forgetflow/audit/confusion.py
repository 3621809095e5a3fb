"""What records of the forgotten classes are taken for.

After the interclass confusion test (Goel et al., "Towards adversarial evaluations for inexact
machine unlearning", 2022), in which the forget set holds records mislabelled between two classes:
what the model learned from them shows in the classes being confused on clean records. Here K, the
classes found in the forget set, takes the place of the two, and shares that of counts:

    error                     share of the records of K predicted wrong           (IC-ERR)
    confusion                 share of the records of K predicted as another of K (FGT-ERR)
    confused_with_forgotten   share of all other records predicted as one of K
    confusion_tv              total variation between the row-normalised confusion matrices of
                              contender and oracle, each the mean of its members, averaged over
                              the classes of the test set

The first two are had on test and forget, the others on test. All are read both ways against the
oracle: a method that no longer predicts K at all errs as much as one that still confuses it. A
set of forgotten records over all classes has no other records, and of one class no confusion.

Shapes: M members, N records, C classes.
"""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.audit.context import ORACLE, AuditContext
from forgetflow.audit.intervals import jackknife, mean_interval
from forgetflow.audit.protocol import SHARE, Estimate, Range
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

TABLE = "confusion.csv"

PLACES = (
    ("test", "error"),
    ("forget", "error"),
    ("test", "confusion"),
    ("forget", "confusion"),
    ("test", "confused_with_forgotten"),
)


class Confusion:
    """Errors on and between the forgotten classes, and the distance of confusion matrices."""

    name: ClassVar[str] = "confusion"
    title: ClassVar[str] = "Confusion of the forgotten classes"
    reading: ClassVar[str] = (
        "Forgotten classes should be confused as often, and with the same classes, as by a "
        "retrained model."
    )
    ranges: ClassVar[Mapping[str, Range]] = {
        "error": SHARE,
        "confusion": SHARE,
        "confused_with_forgotten": SHARE,
        "confusion_tv": SHARE,
    }

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return the shares of every contender, oracle too, and the distances to the oracle."""
        found: list[Estimate] = []
        for name, statistic in PLACES:
            reason = _missing(context, name, statistic)
            for contender in context.contenders:
                place = (self.name, contender, name, statistic)
                if reason:
                    found.append(Estimate(*place, None, reason=reason))
                    continue
                target = float(shares(context, ORACLE, name, statistic).mean())
                interval = mean_interval(shares(context, contender, name, statistic))
                found.append(Estimate(*place, *interval, target=target))
        oracle = _matrices(context, ORACLE)
        for contender in context.names:
            own = _matrices(context, contender)
            interval = jackknife(partial(_variation_of, own, oracle), len(own))
            found.append(Estimate(self.name, contender, "test", "confusion_tv", *interval))
        return found

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:
        """Return what each class of the test set is predicted as, by the mean member.

        Shares of one contender and true class sum to 1; classes of few records are withheld.
        """
        names = context.sets["test"].schema.class_names
        counts = np.bincount(context.labels("test"), minlength=context.classes)
        rows: list[Row] = []
        for contender in context.contenders:
            mean = _matrices(context, contender).mean(axis=0)
            for true, predicted in np.ndindex(mean.shape):
                rows.append(
                    {
                        "contender": contender,
                        "true": names[true],
                        "predicted": names[predicted],
                        "share": float(mean[true, predicted])
                        if counts[true] >= SMALLEST_GROUP
                        else None,
                    }
                )
        return {TABLE: rows}


def shares(context: AuditContext, contender: str, name: str, statistic: str) -> NDArray[np.float64]:
    """Return `error`, `confusion` or `confused_with_forgotten` on a set, per member, (M,)."""
    forgotten = np.unique(context.labels("forget"))
    labels, predicted = context.labels(name), context.predictions(contender, name)
    within = np.isin(labels, forgotten)
    if statistic == "confused_with_forgotten":
        return np.isin(predicted[:, ~within], forgotten).mean(axis=1)
    wrong = predicted[:, within] != labels[within]
    if statistic == "confusion":
        wrong &= np.isin(predicted[:, within], forgotten)
    return wrong.mean(axis=1)


def confusion_matrices(
    labels: NDArray[np.int64], predicted: NDArray[np.intp], classes: int
) -> NDArray[np.float64]:
    """Return the share of each true class (rows) predicted as each class, (M, C, C).

    Args:
        labels: true classes, (N,).
        predicted: predicted classes, (M, N).
        classes: number of classes C; rows of classes without records are 0.
    """
    cells = labels * classes + predicted
    counts = np.array([np.bincount(one, minlength=classes**2) for one in cells], np.float64)
    counts = counts.reshape(-1, classes, classes)
    return counts / np.maximum(counts.sum(axis=2, keepdims=True), 1)


def total_variation(own: NDArray[np.float64], oracle: NDArray[np.float64]) -> float:
    """Return the total variation of the mean matrices, 0 to 1, for (m, C, C) and (M, C, C).

    Half the L1 distance of two rows, averaged over the rows of classes with records.
    """
    left, right = own.mean(axis=0), oracle.mean(axis=0)
    present = right.sum(axis=1) > 0
    return float(np.abs(left - right)[present].sum(axis=1).mean() / 2)


def _variation_of(
    own: NDArray[np.float64], oracle: NDArray[np.float64], chosen: NDArray[np.intp]
) -> float:
    return total_variation(own[chosen], oracle)


def _matrices(context: AuditContext, contender: str) -> NDArray[np.float64]:
    predicted = context.predictions(contender, "test")
    return confusion_matrices(context.labels("test"), predicted, context.classes)


def _missing(context: AuditContext, name: str, statistic: str) -> str:
    """Return why a share cannot be had; empty if it can."""
    forgotten = np.unique(context.labels("forget"))
    within = np.isin(context.labels(name), forgotten)
    if statistic == "confusion" and len(forgotten) < 2:
        return "the forget set has one class: there is no other to confuse it with"
    if statistic == "confused_with_forgotten":
        count, what = int((~within).sum()), "other"
    else:
        count, what = int(within.sum()), "forgotten"
    if count < SMALLEST_GROUP:
        return (
            f"the {name} set has {count} record(s) of {what} classes, fewer than {SMALLEST_GROUP}"
        )
    return ""
