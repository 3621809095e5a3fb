"""The gate: what a model must hold before it is published (block `gate` of params.yaml).

The gate trusts metrics, not claims: an exact method is held to the same bounds, because a metric
out of bounds there is the first sign that something (a preprocessing step fitted elsewhere, a
stale file) lies outside the guarantee. A bound whose metric is missing is `skipped` with the
reason; it never counts as passed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from forgetflow.config.gate import GateSettings
from forgetflow.evaluation.metrics import metric, reason_for
from forgetflow.training.promise import Guarantee

Outcome = Literal["passed", "failed", "skipped"]

KLOM_MEMBERS = 80
"""Members from which KLoM no longer depends on their number."""

ROUNDING = 1e-9
"""Differences of shares carry float error; a bound met up to this is met."""


@dataclass(frozen=True)
class Check:
    """One bound.

    Attributes:
        name: the bound's name in params.yaml.
        value: the metric; None if it is missing.
        bound: the bound; None if it is not set.
        outcome: passed, failed or skipped.
        reason: one sentence.
        note: what a reader should know of a check that passed; empty if nothing.
    """

    name: str
    value: float | None
    bound: float | None
    outcome: Outcome
    reason: str
    note: str = ""


@dataclass(frozen=True)
class GateVerdict:
    """All checks of one model.

    Attributes:
        passed: no check failed.
        checks: one per bound, in the order of params.yaml.
    """

    passed: bool
    checks: tuple[Check, ...]

    @property
    def skipped(self) -> tuple[Check, ...]:
        """Checks that could not be made."""
        return tuple(check for check in self.checks if check.outcome == "skipped")

    @property
    def words(self) -> str:
        """The verdict in words, e.g. `passed (1 of 3 skipped)`."""
        verdict = "passed" if self.passed else "failed"
        if self.passed and len(self.skipped) == len(self.checks):
            return "nothing checked"
        if self.skipped:
            return f"{verdict} ({len(self.skipped)} of {len(self.checks)} skipped)"
        return verdict


def check_gate(
    metrics: Mapping[str, Any],
    gate: GateSettings,
    guarantee: str,
    forget_records: int,
    reasons: Mapping[str, str] | None = None,
) -> GateVerdict:
    """Hold the metrics of a model against the gate.

    Args:
        metrics: `Evaluation.metrics`. The model is `unlearned`, or `original` without one.
        gate: the bounds.
        guarantee: exact, certified or approximate; decides what a failure is said to mean.
        forget_records: records forgotten by this batch.
        reasons: `Evaluation.reasons`, quoted for missing metrics.
    """
    model = "unlearned" if "unlearned" in metrics.get("accuracy", {}) else "original"
    test, before = f"accuracy.{model}.test", "accuracy.parent.test"
    attack, oracle = f"membership.{model}.auc", "membership.oracle.auc"

    def difference(first: str, second: str) -> float | None:
        one, other = metric(metrics, first), metric(metrics, second)
        return None if one is None or other is None else one - other

    def missing(*paths: str) -> str | None:
        gone = next((path for path in paths if metric(metrics, path) is None), None)
        if gone is None:
            return None
        if gone == before and model == "original":
            return "the first build has no parent to compare with"
        return reason_for(reasons or {}, gone) or f"{gone} was not measured"

    accuracy = _check(
        "min_test_accuracy",
        gate.min_test_accuracy,
        metric(metrics, test),
        missing(test),
        fact="test accuracy is",
        upper=False,
    )
    drop = _check(
        "max_test_accuracy_drop",
        gate.max_test_accuracy_drop,
        difference(before, test),
        missing(before, test),
        fact="the drop of test accuracy against the parent is",
    )
    least, distance = gate.min_forget_records, difference(attack, oracle)
    too_few = f"{forget_records} forgotten record(s) are fewer than the {least} this bound needs"
    gap = _check(
        "max_membership_gap",
        gate.max_membership_gap,
        None if distance is None else abs(distance),
        too_few if 0 < forget_records < least else missing(attack, oracle),
        fact="the attack AUC's distance to the oracle's is",
    )
    idle = difference("membership.parent.auc", oracle)
    if gap.outcome == "failed":
        gap = replace(gap, reason=f"{gap.reason}; {_MEANING[Guarantee(guarantee)]}")
    elif gap.outcome == "passed" and idle is not None and abs(idle) <= (gap.bound or 0):
        gap = replace(gap, note=f"the parent's is {abs(idle):.4f}, so {_NO_POWER}")
    small = too_few if 0 < forget_records < least else None
    checks = [accuracy, drop, gap, _ulira(metrics, gate, small or missing("audit.ulira.value"))]
    if gate.max_klom_p95 is not None:
        checks.append(_klom(metrics, gate, small or missing("audit.klom_p95.value")))
    checks.append(_controls(metrics, gate, guarantee, small or missing("audit.misbehaving")))
    return GateVerdict(all(check.outcome != "failed" for check in checks), tuple(checks))


def _ulira(metrics: Mapping[str, Any], gate: GateSettings, missing: str | None) -> Check:
    value = metric(metrics, "audit.ulira.value")
    low = metric(metrics, "audit.ulira.low")
    idle = metric(metrics, "audit.ulira.none")
    check = _check(
        "max_ulira_accuracy",
        gate.max_ulira_accuracy,
        value if low is None else low,
        missing,
        fact=f"U-LiRA is right in {value or 0:.4f} of its guesses, at least",
    )
    if check.outcome == "passed" and idle is not None and idle <= (check.bound or 0):
        return replace(check, note=f"the parent's is at least {idle:.4f}, so {_NO_POWER}")
    return check


def _klom(metrics: Mapping[str, Any], gate: GateSettings, missing: str | None) -> Check:
    members = metric(metrics, "audit.members") or 0
    if missing is None and members < KLOM_MEMBERS:
        missing = f"{members} members are too few: below {KLOM_MEMBERS} KLoM is inflated"
    return _check(
        "max_klom_p95",
        gate.max_klom_p95,
        metric(metrics, "audit.klom_p95.value"),
        missing,
        fact="KLoM on the forget set (95th percentile) is",
    )


def _controls(
    metrics: Mapping[str, Any], gate: GateSettings, guarantee: str, missing: str | None
) -> Check:
    name = "controls"
    if not gate.controls:
        return Check(name, None, None, "skipped", "not asked for in params.yaml")
    if missing:
        return Check(name, None, 0, "skipped", missing)
    wrong = metric(metrics, "audit.misbehaving") or 0
    if wrong:
        reason = f"{wrong:g} control(s) misbehave, so the audit says nothing: see its page"
        return Check(name, wrong, 0, "failed", reason)
    if metric(metrics, "audit.no_power") and guarantee == Guarantee.APPROXIMATE:
        return Check(name, 0, 0, "failed", f"the controls behave, but {_POWERLESS}")
    note = f"but {_POWERLESS}" if metric(metrics, "audit.no_power") else ""
    return Check(name, 0, 0, "passed", "all controls behave", note)


_POWERLESS = (
    "doing nothing cannot be told from retraining on this forget set, so an approximate method "
    "has no evidence for it"
)

_NO_POWER = "publishing it unchanged would have passed too and this check says little here"

_MEANING = {
    Guarantee.EXACT: "the method is exact, so run `forgetflow verify`: if the bytes agree, this "
    "is chance and the bound is too tight for a forget set of this size",
    Guarantee.CERTIFIED: "the method is certified, so check its budget and its assumptions",
    Guarantee.APPROXIMATE: "the forgotten records are still treated unlike records that were "
    "never seen: use more steps, another method, or an exact one",
}


def _check(
    name: str,
    bound: float | None,
    value: float | None,
    missing: str | None,
    *,
    fact: str,
    upper: bool = True,
) -> Check:
    """Compare a metric with its bound, or say why that cannot be done."""
    if bound is None:
        return Check(name, value, None, "skipped", "no bound is set in params.yaml")
    if missing or value is None:
        return Check(name, value, bound, "skipped", missing or "not measured")
    excess = value - bound if upper else bound - value
    reason = f"{fact} {value:.4f}; the bound is at {'most' if upper else 'least'} {bound:g}"
    return Check(name, value, bound, "passed" if excess <= ROUNDING else "failed", reason)
