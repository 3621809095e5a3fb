"""What a reader of an audit must know of its models before reading an estimate.

Probabilities that are shares of votes, training without randomness, margins beyond what measures
look at, and classes whose one-class model went with its records.
"""

import numpy as np

from forgetflow.audit.context import MAX_MARGIN, ORACLE, SETS, AuditContext

CUT_SHARE = 0.01
"""Share of the oracle's margins at the cut from which it is worth a sentence."""


def remarks(context: AuditContext) -> list[str]:
    """Return sentences, without their full stop; none for pools of ordinary networks."""
    found = [_shares(context), _one_model(context), _cut(context), _no_model(context)]
    return [one for one in found if one]


def _shares(context: AuditContext) -> str:
    if context.votes is None:
        return ""
    return (
        f"Probabilities are shares of {context.votes:,} votes (of trees, or constituents) "
        "and often exactly 0 or 1; for margins, losses and KL divergences one vote spread evenly "
        "over the classes is added, so that no estimate hangs on a vote too few"
    )


def _one_model(context: AuditContext) -> str:
    if context.members(ORACLE) < 2:
        return ""
    if any(np.ptp(context.probabilities(ORACLE, name), axis=0).any() for name in SETS):
        return ""
    return (
        "All models of the oracle predict alike: this training draws nothing at random. Pools are "
        "copies of one model, intervals have no width, and any difference at all stands apart"
    )


def _cut(context: AuditContext) -> str:
    every = np.concatenate([context.margins(ORACLE, name) for name in SETS], axis=1)
    share = float((np.abs(every) >= MAX_MARGIN).mean())
    if share < CUT_SHARE:
        return ""
    return (
        f"{100 * share:.1f}\N{NO-BREAK SPACE}% of the oracle's margins lie beyond "
        f"\N{PLUS-MINUS SIGN}{MAX_MARGIN:g} nats and are cut there; differences farther out are "
        "not seen"
    )


def _no_model(context: AuditContext) -> str:
    """Say which classes the oracle gives exactly no probability to, whatever the record."""
    if context.votes is not None:
        return ""
    largest = np.zeros(context.classes)
    for name in SETS:
        probabilities = context.probabilities(ORACLE, name)
        largest = np.maximum(largest, probabilities.max(axis=(0, 1)))
    names = [
        class_name
        for class_name, most in zip(context.sets["test"].schema.class_names, largest, strict=True)
        if most == 0
    ]
    if not names:
        return ""
    return (
        f"Retrained models have no model of class {', '.join(names)} left: they never predict it, "
        f"its records have margins and losses at the cut of {MAX_MARGIN:g} nats, and the distance "
        "to them there is that of having a model to having none"
    )
