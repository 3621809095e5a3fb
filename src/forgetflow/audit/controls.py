"""Do the controls behave? An audit whose controls misbehave says nothing about anybody else.

    second oracle   never saw the forget set: every measure must clear it
    none            changed nothing: unless it can be told from the oracles, the audit has no
                    power over this forget set, and passing it proves nothing
    finetune        learned on: must not have lost the retain set
    ascent          damaged on purpose: its loss on the forget set must not have fallen

`no power` is a finding about the forget set, not a mistake: oracles predict most randomly chosen
records just as well as the original does. It blocks approximate methods, for which the audit is
all the evidence there is, and not exact ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forgetflow.audit.context import FLOOR, ORACLE, ORIGINAL, SETS, AuditContext
from forgetflow.audit.intervals import Interval, mean_interval
from forgetflow.audit.protocol import Estimate

Outcome = Literal["behaves", "misbehaves", "no power"]

CHANCE = 0.5
SLACK = 0.05
"""Shares (accuracies, 0 to 1) closer than this are not told apart: small pools have coarse
intervals."""


@dataclass(frozen=True)
class Control:
    """One check of one control.

    Attributes:
        contender: the control.
        outcome: behaves, misbehaves or no power.
        sentence: what was found.
    """

    contender: str
    outcome: Outcome
    sentence: str


def check_controls(context: AuditContext, estimates: Sequence[Estimate]) -> list[Control]:
    """Return one finding per control that is among the contenders.

    Args:
        context: contenders and sets.
        estimates: of all measures; U-LiRA's accuracy on the forget set is needed.
    """
    found = [_second_oracle(context, estimates)]
    if "none" in context.contenders:
        found.append(_nothing_done(context, estimates))
    if "finetune" in context.contenders and ORIGINAL in context.contenders:
        found.append(_fine_tuned(context))
    if "ascent" in context.contenders and "none" in context.contenders:
        found.append(_ascended(context))
    return found


def _second_oracle(context: AuditContext, estimates: Sequence[Estimate]) -> Control:
    for name in SETS:
        one, other = _accuracy(context, ORACLE, name), _accuracy(context, FLOOR, name)
        if abs(one.value - other.value) > SLACK and _apart(one, other):
            return Control(
                FLOOR,
                "misbehaves",
                f"the two oracles differ on the {name} set ({one.value:.3f} and "
                f"{other.value:.3f}): they are not two samples of one procedure",
            )
    attack = _find(estimates, "ulira", FLOOR, "forget", "accuracy")
    if attack and attack.value is not None:
        low = attack.value if attack.low is None else attack.low
        if low > CHANCE + SLACK:
            return Control(
                FLOOR,
                "misbehaves",
                f"U-LiRA tells the two oracles apart ({attack.value:.3f}, chance is 0.5): the "
                "attack finds differences that are not there",
            )
    return Control(FLOOR, "behaves", "the two oracles cannot be told apart")


def _nothing_done(context: AuditContext, estimates: Sequence[Estimate]) -> Control:
    mine = _find(estimates, "ulira", "none", "forget", "accuracy")
    floor = _find(estimates, "ulira", FLOOR, "forget", "accuracy")
    if mine and floor and mine.value is not None and floor.value is not None:
        low = mine.value if mine.low is None else mine.low
        if low > max(floor.value, CHANCE):
            return Control(
                "none",
                "behaves",
                f"doing nothing is found out: U-LiRA {mine.value:.3f}, oracles {floor.value:.3f}",
            )
    one, other = _accuracy(context, "none", "forget"), _accuracy(context, ORACLE, "forget")
    if abs(one.value - other.value) > SLACK and _apart(one, other):
        return Control(
            "none",
            "behaves",
            f"doing nothing is found out: accuracy on the forget set {one.value:.3f}, "
            f"oracles {other.value:.3f}",
        )
    return Control(
        "none",
        "no power",
        "doing nothing cannot be told from retraining on this forget set: passing proves nothing",
    )


def _fine_tuned(context: AuditContext) -> Control:
    mine = _accuracy(context, "finetune", "retain").value
    before = _accuracy(context, ORIGINAL, "retain").value
    if mine < before - SLACK:
        return Control(
            "finetune",
            "misbehaves",
            f"fine-tuning lost the retain set ({before:.3f} to {mine:.3f}): "
            "lower unlearn.finetune.learning_rate",
        )
    return Control("finetune", "behaves", f"fine-tuning keeps the retain set ({mine:.3f})")


def _ascended(context: AuditContext) -> Control:
    mine = context.losses("ascent", "forget").mean(axis=1)
    before = context.losses("none", "forget").mean(axis=1)  # same seeds: compared in pairs
    change = mean_interval(mine - before)
    moved = f"({before.mean():.3g} to {mine.mean():.3g} nats)"
    high = change.value if change.high is None else change.high
    low = change.value if change.low is None else change.low
    if high < 0:
        sentence = f"ascent lowered the loss on the forget set {moved}: it works the wrong way"
        return Control("ascent", "misbehaves", sentence)
    if low <= 0:
        return Control("ascent", "behaves", f"ascent hardly moves the forget loss {moved}")
    return Control("ascent", "behaves", f"ascent raises the forget loss {moved}")


def _accuracy(context: AuditContext, contender: str, name: str) -> Interval:
    return mean_interval(context.correct(contender, name).mean(axis=1))


def _apart(one: Interval, other: Interval) -> bool:
    """Return whether two intervals do not overlap; single values never do."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low > other.high or other.low > one.high


def _find(
    estimates: Sequence[Estimate], measure: str, contender: str, name: str, statistic: str
) -> Estimate | None:
    wanted = (measure, contender, name, statistic)
    return next(
        (f for f in estimates if (f.measure, f.contender, f.set, f.statistic) == wanted), None
    )
