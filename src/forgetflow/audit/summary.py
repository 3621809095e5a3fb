"""The estimates of an audit that stand in `metrics.json`, where the gate and MLflow read them."""

from typing import Any

from forgetflow.audit.audit import Audit
from forgetflow.audit.context import FLOOR

HEADLINES = {
    "ulira": ("ulira", "forget", "accuracy"),
    "klom_p95": ("klom", "forget", "p95"),
    "klom_p95_retain": ("klom", "retain", "p95"),
    "klom_p95_test": ("klom", "test", "p95"),
    "gaussian_p95": ("klom", "forget", "gaussian_p95"),
    "js": ("divergence", "forget", "js"),
    "tow": ("performance", "all", "tow"),
}
"""Name in `metrics.json` -> measure, set, statistic."""


def headline(audit: Audit, contender: str) -> dict[str, Any]:
    """Return a contender's main estimates beside the second oracle's, as nested numbers.

    Returns:
        `members`, `misbehaving` (controls), `no_power` (0 or 1), and name -> `value`, `low`,
        `high`, `floor`, `none` (the lower end of doing nothing's); a missing estimate is None
        beside a `reason`.
    """
    estimates: dict[str, Any] = {
        "members": audit.members[contender],
        "misbehaving": len(audit.misbehaving),
        "no_power": int(audit.powerless),
    }
    for name, (measure, group, statistic) in HEADLINES.items():
        mine = audit.estimate(measure, contender, group, statistic)
        floor = audit.estimate(measure, FLOOR, group, statistic)
        if mine is None or mine.value is None:
            reason = (mine.reason if mine else "") or "not measured"
            estimates[name] = {"value": None, "reason": reason}
            continue
        found = {"value": mine.value, "low": mine.low, "high": mine.high}
        idle = audit.estimate(measure, "none", group, statistic)
        found["floor"] = floor.value if floor else None
        found["none"] = (idle.value if idle.low is None else idle.low) if idle else None
        estimates[name] = {key: value for key, value in found.items() if value is not None}
    return estimates
