"""U-LiRA: can an attacker who knows a record tell unlearned models from retrained ones?

For every record, normal laws are fitted to its margins under half of the contender's members and
half of the oracles. The likelihood ratio then decides for each of the other members where it came
from; the halves change places and both rounds are averaged, so no member is judged by a fit that
it is part of. Attackers per record are much stronger than one for all (Hayes et al., SaTML 2025,
arXiv 2403.01218), whose finding that unlearning can expose *retained* records is why the retain
set is attacked as well.

- `accuracy`: share of right decisions, both sides weighing the same; 0.5 is guessing, ideal;
- `auc`: chance that an unlearned model has the higher ratio, over members and records; 0.5 ideal;
- `p95_accuracy`: 95th percentile over records of the accuracy on one record. With few members
  chance alone lifts it far above 0.5: compare with the second oracle.

In the game of the paper both sides run the unlearning algorithm, so one that returns constant
margins scores a perfect 0.5. Here the other side is retrained and a constant is found out. But it
remains a test of margins on the attacked records alone: utility must stand beside it.

As Carlini et al. (IEEE S&P 2022) advise, fits to fewer than 32 members share one variance over all
records, one per side. Intervals are delete-a-group jackknifes over members, halves kept; close to
0.5 they err on the wide side (`jackknife_pools`).

Shapes: p_margins (M1, N) of a contender, q_margins (M2, N) of the oracle; M members, N records.
"""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forgetflow.audit.context import ORACLE, AuditContext
from forgetflow.audit.intervals import Interval, jackknife_pools
from forgetflow.audit.klom import p95
from forgetflow.audit.lira import ALONE, deviations
from forgetflow.audit.protocol import SHARE, Estimate, Range
from forgetflow.evaluation.auc import auc
from forgetflow.evaluation.protocol import SMALLEST_GROUP
from forgetflow.files.formats import Row

ATTACKED = ("retain", "forget")
TARGETS = {"accuracy": 0.5, "auc": 0.5, "p95_accuracy": None}
LEAST = 4
"""Members a side: two to fit a law, two to test it."""
LEAST_FOR_BOUNDS = 6
"""Members a side with which every half can spare one for the jackknife."""
FEW = 20
"""Members a side below which the fits are called rough."""

Margins = NDArray[np.float64]


class Attack(NamedTuple):
    """Outcome of the attack.

    Attributes:
        accuracy: per record, (N,).
        auc: over members and records.
    """

    accuracy: NDArray[np.float64]
    auc: float


class Ulira:
    """The attack on every contender, on forget and retain records."""

    name: ClassVar[str] = "ulira"
    title: ClassVar[str] = "U-LiRA: unlearned or retrained?"
    reading: ClassVar[str] = (
        "Share of models an attacker who knows the record tells from retrained ones; 0.5 is ideal, "
        "as long as accuracy stands: margins are judged, not utility."
    )
    ranges: ClassVar[Mapping[str, Range]] = {"accuracy": SHARE, "auc": SHARE, "p95_accuracy": SHARE}

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return `accuracy`, `auc` and `p95_accuracy` per contender and set."""
        oracle = {name: context.margins(ORACLE, name) for name in ATTACKED}
        found: list[Estimate] = []
        for contender in context.names:
            for name in ATTACKED:
                own = context.margins(contender, name)
                refused, rough = _reasons(min(len(own), len(oracle[name])), own.shape[1])
                for statistic, target in TARGETS.items():
                    of = (self.name, contender, name, statistic)
                    if refused:
                        found.append(Estimate(*of, None, target=target, reason=refused))
                        continue
                    interval = attack_interval(own, oracle[name], statistic)
                    found.append(Estimate(*of, *interval, target=target, reason=rough))
        return found

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:  # noqa: ARG002
        """No table: ratios belong to single records."""
        return {}


def attack(p_margins: Margins, q_margins: Margins) -> Attack:
    """Return how well the cross-fitted attack tells both sides apart; four members a side."""
    return _attack(p_margins, q_margins, np.arange(len(p_margins)), np.arange(len(q_margins)))


def attack_interval(p_margins: Margins, q_margins: Margins, statistic: str) -> Interval:
    """Return one of `TARGETS` with its jackknife interval."""

    def of(mine: NDArray[np.intp], theirs: NDArray[np.intp]) -> float:
        outcome = _attack(p_margins, q_margins, mine, theirs)
        if statistic == "auc":
            return outcome.auc
        each = outcome.accuracy
        return p95(each) if statistic == "p95_accuracy" else float(each.mean())

    return jackknife_pools(of, (len(p_margins), len(q_margins)), LEAST_FOR_BOUNDS)


def log_ratios(
    margins: Margins, p_fit: Margins, q_fit: Margins, *, alone: bool
) -> NDArray[np.float64]:
    """Return ln N(margin; p_fit) - ln N(margin; q_fit), (m, N) like `margins`, in nats.

    Args:
        margins: of the models to decide on, (m, N).
        p_fit: margins that make the law of unlearned models, (m1, N), m1 >= 2.
        q_fit: margins that make the law of retrained models, (m2, N), m2 >= 2.
        alone: every record has its own deviations; else all share one per law.
    """

    def log_density(fit: Margins) -> NDArray[np.float64]:
        deviation = deviations(fit, alone=alone)
        return -(((margins - fit.mean(axis=0)) / deviation) ** 2) / 2 - np.log(deviation)

    return log_density(p_fit) - log_density(q_fit)


def _attack(
    p_margins: Margins, q_margins: Margins, mine: NDArray[np.intp], theirs: NDArray[np.intp]
) -> Attack:
    """Attack the members at given positions; halves and kind of fit are those of the full pools."""
    alone = min(len(p_margins), len(q_margins)) // 2 >= ALONE
    sides = []
    for margins, at in ((p_margins, mine), (q_margins, theirs)):
        early = at < (len(margins) + 1) // 2
        sides.append((margins[at[early]], margins[at[~early]]))
    accuracy, areas = [], []
    for fit, held in ((0, 1), (1, 0)):
        p, q = (log_ratios(s[held], sides[0][fit], sides[1][fit], alone=alone) for s in sides)
        right_p = (p > 0).mean(axis=0) + (p == 0).mean(axis=0) / 2
        right_q = (q < 0).mean(axis=0) + (q == 0).mean(axis=0) / 2
        accuracy.append((right_p + right_q) / 2)
        areas.append(auc(-p.ravel(), -q.ravel()))  # `auc` asks which side is lower
    return Attack(np.mean(accuracy, axis=0), float(np.mean(areas)))


def _reasons(members: int, records: int) -> tuple[str, str]:
    """Return why there is no estimate, else empty, and what to know of it."""
    if records < SMALLEST_GROUP:
        return f"withheld: the set has fewer than {SMALLEST_GROUP} records", ""
    if members < LEAST:
        return f"{members} member(s) a side; {LEAST} are the least to fit and test", ""
    if members < FEW:
        return "", f"laws fitted to halves of {members} members a side: a weak attacker"
    return "", ""
