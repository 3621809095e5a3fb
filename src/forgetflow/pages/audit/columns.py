"""Title, unit and kind of every estimate that the measures report.

An estimate that is not listed here is shown all the same, under its own name and as a plain number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from forgetflow.pages.numbers import NBSP, decimal, fixed, pp, significant


class Place(NamedTuple):
    """Where an estimate stands in an audit, apart from whose it is."""

    measure: str
    set: str
    statistic: str


@dataclass(frozen=True)
class Unit:
    """How numbers of one kind are written.

    Attributes:
        bare: the number alone.
        suffix: what follows it where it stands alone.
    """

    bare: Callable[[float], str]
    suffix: str = ""

    def __call__(self, value: float) -> str:
        """Return a number with its unit."""
        return f"{self.bare(value)}{self.suffix}"

    def interval(self, low: float, high: float) -> str:
        """Return both bounds as `[low, high]`."""
        return f"[{self.bare(low)}, {self.bare(high)}]"


PLAIN = Unit(significant)
DECIMAL = Unit(decimal)
SHARE = Unit(lambda value: fixed(100 * value, 1), f"{NBSP}%")
PP = Unit(pp, f"{NBSP}pp")
STEPS = Unit(lambda value: f"{value:g}")


@dataclass(frozen=True)
class Column:
    """One statistic in a table.

    Attributes:
        title: a few words, with the unit where it has one.
        unit: how it is written.
        distance: 0 is no difference to the oracles, and multiples of the floor mean something.
    """

    title: str
    unit: Unit = PLAIN
    distance: bool = False


COLUMNS: dict[tuple[str, str], Column] = {
    ("performance", "accuracy"): Column("accuracy", SHARE),
    ("performance", "gap"): Column("gap to the oracle", PP),
    ("performance", "tow"): Column("tug of war", DECIMAL),
    ("performance", "average_gap"): Column("average gap", SHARE, distance=True),
    ("klom", "p95"): Column("KLoM, 95th percentile (nats)", distance=True),
    ("klom", "mean"): Column("KLoM, mean (nats)", distance=True),
    ("klom", "gaussian_p95"): Column("Gaussian KL, 95th percentile (nats)", distance=True),
    ("klom", "ks_p95"): Column("Kolmogorov-Smirnov, 95th percentile", distance=True),
    ("klom", "easydub_p95"): Column("KLoM as in EasyDUB (nats)", distance=True),
    ("ulira", "accuracy"): Column("attack accuracy", DECIMAL),
    ("ulira", "auc"): Column("AUC", DECIMAL),
    ("ulira", "p95_accuracy"): Column("accuracy, 95th percentile", DECIMAL),
    ("divergence", "js"): Column("Jensen-Shannon (bits)", distance=True),
    ("divergence", "kl_to_oracle"): Column("KL to the oracle (nats)", distance=True),
    ("divergence", "kl_from_oracle"): Column("KL from the oracle (nats)", distance=True),
    ("divergence", "activation_distance"): Column("activation distance", distance=True),
    ("divergence", "completeness"): Column("same class as the oracle", SHARE),
    ("attacks", "auc_loss"): Column("AUC of the loss", DECIMAL),
    ("attacks", "auc_entropy"): Column("AUC of the entropy", DECIMAL),
    ("attacks", "auc_confidence"): Column("AUC of the confidence", DECIMAL),
    ("attacks", "member_rate"): Column("called members", SHARE),
    ("lira", "auc"): Column("AUC", DECIMAL),
    ("lira", "tpr_at_1pct_fpr"): Column("true positives at 1 % false ones", SHARE),
    ("relearn", "steps"): Column("steps", STEPS),
    ("relearn", "anamnesis_index"): Column("anamnesis index"),
    ("memorisation", "accuracy_low"): Column("accuracy, low tercile", SHARE),
    ("memorisation", "accuracy_mid"): Column("accuracy, middle tercile", SHARE),
    ("memorisation", "accuracy_high"): Column("accuracy, high tercile", SHARE),
    ("memorisation", "margin_gap_low"): Column("margin gap, low (nats)", distance=True),
    ("memorisation", "margin_gap_mid"): Column("margin gap, middle (nats)", distance=True),
    ("memorisation", "margin_gap_high"): Column("margin gap, high (nats)", distance=True),
    ("confusion", "error"): Column("error", SHARE),
    ("confusion", "confusion"): Column("confused among the forgotten classes", SHARE),
    ("confusion", "confused_with_forgotten"): Column("others taken for forgotten classes", SHARE),
    ("confusion", "confusion_tv"): Column("distance of confusion matrices", distance=True),
    ("zrf", "zrf"): Column("ZRF", DECIMAL),
    ("inversion", "judge_confidence"): Column("confidence of the judge", SHARE),
    ("inversion", "own_confidence"): Column("confidence of the model itself", SHARE),
    ("weights", "relative_distance"): Column("distance over the oracle's norm", distance=True),
}

SETS = {
    "forget": "Forgotten records",
    "retain": "Kept records",
    "test": "Test records",
    "all": "All sets",
}
"""Sets in reading order and how they are called."""

RANGES = frozenset({"relearn"})
"""Measures whose bounds are the range over members, not an interval."""


def column(place: Place) -> Column:
    """Return how an estimate is shown."""
    plain = Column(place.statistic.replace("_", " "))
    return COLUMNS.get((place.measure, place.statistic), plain)


def is_distance(place: Place) -> bool:
    """Return whether an estimate is a distance to the oracles."""
    return column(place).distance


def set_title(name: str) -> str:
    """Return how a set is called."""
    return SETS.get(name, name)
