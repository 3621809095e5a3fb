"""Offline LiRA: how unusual a record's margin is among models that never saw the record.

The oracles' margins of a record give a normal law; a model's margin m scores (m - mean) / deviation
there, and high scores mean membership. Carlini et al. (IEEE S&P 2022, section VI) report
Phi(score), which ranks alike but ties at 1 far out. Every member is attacked by itself: forget
records against as many test records of the same classes, which no contender has seen.

- `auc`: chance that of a forget and a test record the forget record scores higher, ties half;
- `tpr_at_1pct_fpr`: share of forget records above all but 1 % of the test scores: what an attacker
  gets who must be sure.

The oracle is attacked too, each of its members by the fit of the others, else it would be compared
with itself. Nobody reaches 0.5 exactly; the second oracle's estimate is the one to aim for, and
below it is as telling as above.

With fewer than `ALONE` margins per fit, one deviation is shared by all records, as the paper
advises. Intervals are over the members attacked; the oracles' fit is taken as given.

Shapes: M members attacked, K oracles, n record pairs.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.audit.context import ORACLE, AuditContext
from forgetflow.audit.intervals import mean_interval
from forgetflow.audit.klom import MIN_DEVIATION
from forgetflow.audit.protocol import SHARE, Estimate, Range
from forgetflow.evaluation.auc import auc
from forgetflow.evaluation.membership import matched
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

FALSE_RATE = 0.01
ALONE = 32
"""Margins from which a record has a deviation of its own; Carlini et al. (section VI) share one
where fewer than 64 shadow models, 32 for either law, are at hand."""
LEAST = 3
"""Oracles needed: two for a deviation beside the one that is attacked."""
FEW = 20
"""Oracles below which the fits are called rough."""

Margins = NDArray[np.float64]


class Lira:
    """The attack on every contender and on the oracle, forget set only."""

    name: ClassVar[str] = "lira"
    title: ClassVar[str] = "Offline LiRA: membership record by record"
    reading: ClassVar[str] = (
        "Attacks that know each record should do as well as on the second oracle, close to 0.5 "
        "(AUC); below it is as telling as above it. With fewer than 100 test records the true "
        "positive rate is that at no false positive."
    )
    ranges: ClassVar[Mapping[str, Range]] = {"auc": SHARE, "tpr_at_1pct_fpr": SHARE}

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return `auc` and `tpr_at_1pct_fpr`, means over members with t intervals."""
        forget, test = matched(context.sets["forget"], context.sets["test"], context.seed)
        pairs = len(forget)
        refused, reasons = _reasons(pairs, context.members(ORACLE))
        found: list[Estimate] = []

        def margins(contender: str) -> Margins:
            return np.concatenate(
                [
                    context.margins(contender, "forget")[:, forget],
                    context.margins(contender, "test")[:, test],
                ],
                axis=1,
            )

        oracle = margins(ORACLE)
        for contender in context.contenders:
            if refused:
                found += [
                    Estimate(self.name, contender, "forget", statistic, None, reason=refused)
                    for statistic in reasons
                ]
                continue
            scored = (
                leave_one_out(oracle)
                if contender == ORACLE
                else scores(margins(contender), oracle, alone=len(oracle) >= ALONE)
            )
            mine, theirs = scored[:, :pairs], scored[:, pairs:]
            # `auc` asks which side is lower, as for losses.
            areas = np.array([auc(-f, -t) for f, t in zip(mine, theirs, strict=True)])
            rates = np.array([true_positives(f, t) for f, t in zip(mine, theirs, strict=True)])
            for (statistic, reason), values in zip(reasons.items(), (areas, rates), strict=True):
                interval = mean_interval(values)
                found.append(
                    Estimate(self.name, contender, "forget", statistic, *interval, reason=reason)
                )
        return found

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:  # noqa: ARG002
        """No table: scores belong to single records."""
        return {}


def scores(margins: Margins, out: Margins, *, alone: bool) -> NDArray[np.float64]:
    """Return how many deviations margins (M, N) lie above those of models without the records.

    Args:
        margins: of the models attacked, (M, N).
        out: of models that never saw the records, (K, N), K >= 2.
        alone: as in `deviations`.
    """
    return (margins - out.mean(axis=0)) / deviations(out, alone=alone)


def leave_one_out(out: Margins) -> NDArray[np.float64]:
    """Return `scores` of every model of a pool under the fit of the others, (K, N), K >= 3.

    An increasing function, one for all records, maps the scores under the full fit to these, so
    ranks within a member are the same; only the values would be too small.
    """
    everyone, alone = np.arange(len(out)), len(out) >= ALONE
    rows = [scores(out[k : k + 1], out[everyone != k], alone=alone) for k in everyone]
    return np.concatenate(rows)


def deviations(margins: Margins, *, alone: bool) -> NDArray[np.float64]:
    """Return the standard deviation over members of every record, (N,), at least `MIN_DEVIATION`.

    Args:
        margins: (K, N), K >= 2.
        alone: every record's own; else the root of the mean variance for all of them.
    """
    variance = margins.var(axis=0, ddof=1)
    if not alone:
        variance = np.full_like(variance, variance.mean())
    return np.maximum(np.sqrt(variance), MIN_DEVIATION)


def true_positives(forget: NDArray[np.float64], test: NDArray[np.float64]) -> float:
    """Return the share of forget scores (m,) above all but `FALSE_RATE` of the test scores (n,).

    With n < 100 none may be above; ties are not above.
    """
    allowed = int(FALSE_RATE * len(test))
    return float((forget > np.sort(test)[-1 - allowed]).mean())


def _reasons(pairs: int, oracles: int) -> tuple[str, dict[str, str]]:
    """Return why there are no estimates, else empty, and what to know of each statistic."""
    refused, rough = "", ""
    if pairs < SMALLEST_GROUP:
        refused = f"withheld: only {pairs} forget record(s) have a test record of the same class"
    elif oracles < LEAST:
        refused = f"the margins of {oracles} oracle(s) make no law; {LEAST} are the least"
    if oracles < FEW:
        rough = f"each record's law is fitted to only {oracles} oracles"
    none = f"{pairs} test records allow no false positive" if pairs * FALSE_RATE < 1 else ""
    both = "; ".join(part for part in (rough, none) if part)
    return refused, {"auc": rough, "tpr_at_1pct_fpr": both}
