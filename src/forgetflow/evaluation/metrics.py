"""Nested metrics: numbers under dotted paths, and reasons for those that are missing.

{"membership": {"unlearned": {"auc": 0.52}}}    ->  "membership.unlearned.auc" is 0.52
{"membership": {"oracle": None, "reason": "…"}} ->  no number; reason at "membership"
"""

import math
from collections.abc import Mapping
from typing import Any


def metric(metrics: Mapping[str, Any], path: str) -> float | int | None:
    """Return the number at a dotted path, or None if there is none."""
    value: Any = metrics
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) else None


def reason_for(reasons: Mapping[str, str], path: str) -> str | None:
    """Return the reason given for a dotted path, or for the closest mapping around it."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        found = reasons.get(".".join(parts[:length]))
        if found:
            return found
    return None


def part(metrics: Mapping[str, Any], path: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """Part metrics as measures return them into numbers and reasons.

    Nones and mappings without a number fall away, so that what is left is all that a reader of
    plain metrics (DVC, MLflow) understands.

    Raises:
        ValueError: a leaf is neither a finite number, None, nor a reason.
    """
    numbers: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name, value in metrics.items():
        here = f"{path}.{name}" if path else name
        if name == "reason" and isinstance(value, str):
            reasons[path] = value
        elif isinstance(value, Mapping):
            below, why = part(value, here)
            reasons |= why
            if below:
                numbers[name] = below
        elif isinstance(value, int | float) and math.isfinite(value):
            numbers[name] = value
        elif value is not None:
            raise ValueError(f"{here} must be a finite number, not {value!r}")
    return numbers, reasons
