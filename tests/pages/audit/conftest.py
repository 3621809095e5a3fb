"""Audits with estimates of every measure, drawn at random."""

import random
from collections.abc import Callable

import pytest

from forgetflow.audit.audit import Audit
from forgetflow.audit.context import FLOOR, ORACLE
from forgetflow.audit.controls import Control
from forgetflow.audit.protocol import Estimate

STATISTICS = {
    "performance": {
        "forget": ("accuracy", "gap"),
        "retain": ("accuracy", "gap"),
        "test": ("accuracy", "gap"),
        "all": ("tow", "average_gap"),
    },
    "klom": dict.fromkeys(("retain", "forget"), ("p95", "mean", "gaussian_p95", "ks_p95")),
    "ulira": dict.fromkeys(("retain", "forget"), ("accuracy", "auc", "p95_accuracy")),
    "divergence": dict.fromkeys(
        ("retain", "forget", "test"),
        ("js", "kl_to_oracle", "kl_from_oracle", "activation_distance", "completeness"),
    ),
    "attacks": {"forget": ("auc_loss", "auc_entropy", "auc_confidence", "member_rate")},
    "lira": {"forget": ("auc", "tpr_at_1pct_fpr")},
    "relearn": {"forget": ("steps", "anamnesis_index")},
    "memorisation": {
        "forget": tuple(
            f"{kind}_{third}" for kind in ("accuracy", "margin_gap") for third in ("low", "high")
        )
    },
    "confusion": {"test": ("error", "confusion", "confusion_tv"), "forget": ("error",)},
    "zrf": {"forget": ("zrf",)},
    "inversion": {"forget": ("judge_confidence", "own_confidence")},
    "weights": {"all": ("relative_distance",)},
}
VALUES = {("performance", "accuracy"), ("relearn", "steps"), ("zrf", "zrf"), ("lira", "auc")}
"""Some of the statistics that the oracle has as well."""


def audit_of(
    methods=("sisa",),
    controls=("original", "none", "finetune", "ascent"),
    members=12,
    outcome="behaves",
    seed=0,
    **changes,
) -> Audit:
    """Return an audit with estimates of every measure, drawn at random but alike for one seed."""
    draw = random.Random(seed)
    contenders = [ORACLE, FLOOR, *methods, *controls]
    estimates = []
    for measure, sets in STATISTICS.items():
        for name, statistics in sets.items():
            for statistic in statistics:
                valued = (measure, statistic) in VALUES
                target = 0.5 if measure == "ulira" else 0.8 if valued else None
                for contender in contenders if valued else contenders[1:]:
                    value = draw.uniform(0.05, 0.95)
                    half = 0.01 * draw.random()
                    bounds = (value - half, value + half) if members > 1 else (None, None)
                    place = (measure, contender, name, statistic)
                    estimates.append(Estimate(*place, value, *bounds, target=target))
    edges = [-100.0, *map(float, range(-15, 26)), 100.0]
    margins, accuracy = [], []
    for shift, contender in enumerate(contenders):
        weights = [max(0.0, 6 - abs(low - shift % 5)) for low in edges[:-1]]
        margins += [
            {"contender": contender, "bin_low": low, "bin_high": high, "share": w / sum(weights)}
            for low, high, w in zip(edges, edges[1:], weights, strict=False)
        ]
        for name in ("retain", "forget", "test"):
            estimate = next(
                f
                for f in estimates
                if (f.contender, f.set, f.statistic) == (contender, name, "accuracy")
            )
            accuracy.append(
                {
                    "contender": contender,
                    "set": name,
                    "accuracy": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                }
            )
    confusion = [
        {"contender": contender, "true": true, "predicted": guess, "share": draw.random()}
        for contender in contenders
        for true in ("cat", "dog", "rare")
        for guess in ("cat", "dog", "rare")
    ]
    for row in confusion:
        row["share"] = None if row["true"] == "rare" else row["share"]
    parts = {
        "batch": "class 8, 40 records",
        "members": dict.fromkeys(contenders, members),
        "records": {"retain": 1342, "forget": 40, "test": 415},
        "estimates": estimates,
        "controls": [Control(FLOOR, "behaves", "the oracles cannot be told apart")]
        + [Control("none", outcome, f"nothing done: {outcome}")] * ("none" in controls),
        "tables": {
            "margins.csv": margins,
            "audit_accuracy.csv": accuracy,
            "confusion.csv": confusion,
            "memorisation.csv": [{"tercile": "low", "records": 14, "memorisation": 0.021}],
            "relearn_settings.csv": [{"unit": "mini-batch steps", "max_steps": 300}],
        },
        "costs": {
            name: {
                "seconds": 0.1 * number,
                "samples": 1000.0 * number,
                "steps": 10.0,
                "bytes": 9.0,
                "passes": 1.0,
                "of_retrain": number / len(contenders),
            }
            for number, name in enumerate(contenders)
        },
        "facts": {
            "model": {"architecture": "mlp", "hidden": [128]},
            "environment": {"torch": "2.9", "nested": {"threads": 2}},
        },
    }
    return Audit(**(parts | changes))


@pytest.fixture(name="make_audit")
def _make_audit() -> Callable[..., Audit]:
    """Return a maker of audits, alike for one seed."""
    return audit_of
