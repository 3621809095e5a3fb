"""What an audit measure is: a judge of a *procedure* by many of its models, not of one model.

Whether an algorithm forgets cannot be seen in a single model (Thudi et al., USENIX Security 2022):
two retrained models differ by their seeds alone. So every measure here sees a pool of models per
contender and reports each estimate beside that of the second oracle, its noise floor.

An estimate is an aggregate: nothing handed out may hold an id, a feature or a value of one record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from forgetflow.audit.context import AuditContext
from forgetflow.files.formats import Row

Range = tuple[float | None, float | None]
"""Least and largest possible value of a statistic."""

SHARE: Range = (0.0, 1.0)
DISTANCE: Range = (0.0, None)


@dataclass(frozen=True)
class Estimate:
    """One estimate of one contender.

    Attributes:
        measure: name of the measure, e.g. `klom`.
        contender: whose estimate, e.g. `finetune` or `second oracle`.
        set: retain, forget or test; `all` where an estimate is not of one set.
        statistic: what was computed, e.g. `p95`.
        value: the estimate; None if it cannot be had.
        low, high: 95 % interval over seeds; None where there is none.
        target: the value of a perfect procedure where that is not the second oracle's estimate
            (e.g. the oracles' accuracy); None: compare with the second oracle.
        reason: why `value` is None, or what a reader must know of it; else empty.
    """

    measure: str
    contender: str
    set: str
    statistic: str
    value: float | None
    low: float | None = None
    high: float | None = None
    target: float | None = None
    reason: str = ""

    def within(self, bounds: Range) -> "Estimate":
        """Return the estimate with its interval cut at what is possible."""
        least, largest = bounds
        low, high = self.low, self.high
        if low is not None and least is not None:
            low = max(low, least)
        if high is not None and largest is not None:
            high = min(high, largest)
        return replace(self, low=low, high=high)


class AuditMeasure(Protocol):
    """One file, one class, one registry line, one test.

    Attributes:
        name: what it is called everywhere.
        title: how the report calls it.
        reading: one sentence: what the estimate says, which value is ideal.
        ranges: statistic -> least and largest possible value, None where there is none; an
            interval is cut there, since a symmetric one knows nothing of it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reading: ClassVar[str]
    ranges: ClassVar[Mapping[str, Range]]

    def estimates(self, context: AuditContext) -> list[Estimate]:
        """Return estimates of every contender but the oracle, the reference of all comparisons.

        Measures of a value rather than of a difference (accuracy, attack rates) report the oracle
        too.
        """

    def tables(self, context: AuditContext) -> Mapping[str, list[Row]]:
        """Return file name -> rows for plots; every row has the same columns."""
