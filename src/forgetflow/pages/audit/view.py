"""How an audit is looked at: who stands in which row, and how an estimate stands to the floor."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from forgetflow.audit.audit import Audit
from forgetflow.audit.context import CONTROLS, FLOOR, ORACLE, ORIGINAL
from forgetflow.audit.klom import MEMBERS_NEEDED
from forgetflow.audit.protocol import Estimate
from forgetflow.pages.audit.columns import RANGES, Place, is_distance

Side = Literal["above", "below", "within"]

ROLES = {
    ORIGINAL: "control: first build",
    "none": "control: nothing done",
    "finetune": "control: trained on, kept records",
    "ascent": "control: trained against forgotten",
    FLOOR: "noise floor",
    ORACLE: "reference",
}

ROUNDING = 1e-9
"""Differences below it come from summing in another order."""


@dataclass(frozen=True, eq=False)
class View:
    """An audit with its contenders in reading order.

    Attributes:
        audit: what was found.
    """

    audit: Audit

    @cached_property
    def methods(self) -> list[str]:
        """Contenders under audit: all that are no control, and controls listed before the others.

        A method that is a control as well is listed with the methods, ahead of the first build.
        """
        listed = [name for name in self._listed if name not in (ORACLE, FLOOR)]
        ahead = listed[: listed.index(ORIGINAL)] if ORIGINAL in listed else []
        return [name for name in listed if name in ahead or name not in CONTROLS]

    @cached_property
    def contenders(self) -> list[str]:
        """Methods under audit, then controls, the second oracle, the oracle."""
        controls = [name for name in CONTROLS if name in self._listed and name not in self.methods]
        return [*self.methods, *controls, FLOOR, ORACLE]

    @cached_property
    def members(self) -> tuple[int, int]:
        """Smallest and largest number of models of a contender."""
        counts = self.audit.members.values()
        return min(counts), max(counts)

    @cached_property
    def distance(self) -> Place:
        """The distance to the oracles on forgotten records that stands for all others.

        That of margins, and where they have no normal laws the Jensen-Shannon divergence.
        """
        if self.margins.statistic == "ks_p95":
            return Place("divergence", "forget", "js")
        return self.margins

    @cached_property
    def margins(self) -> Place:
        """The distance of margins that stands for the others.

        KLoM; with too few members its Gaussian counterpart, and where margins have no normal laws
        the Kolmogorov-Smirnov distance, which reaches 1 as soon as two sides do not meet.
        """
        if self.members[0] >= MEMBERS_NEEDED:
            return Place("klom", "forget", "p95")
        gaussian, ks = (Place("klom", "forget", s) for s in ("gaussian_p95", "ks_p95"))
        without = [place for place in (gaussian, ks) if not self._known(place)]
        return ks if without == [gaussian] else gaussian

    def _known(self, place: Place) -> bool:
        return any(self.value(name, place) is not None for name in self.methods)

    def role(self, contender: str) -> str:
        """Return what a contender is in this audit, in a few words."""
        if contender not in self.methods:
            return ROLES[contender]
        return "under audit, and a control" if contender in CONTROLS else "under audit"

    def estimate(self, contender: str, place: Place) -> Estimate | None:
        """Return the estimate of a contender, or None if it was not measured."""
        return self._estimates.get((contender, place))

    def value(self, contender: str, place: Place) -> float | None:
        """Return the value of an estimate, or None if there is none."""
        estimate = self.estimate(contender, place)
        return estimate.value if estimate else None

    def places(self, measure: str) -> list[Place]:
        """Return what a measure reports, in its own order."""
        return list(dict.fromkeys(p for _, p in self._estimates if p.measure == measure))

    def band(self, place: Place) -> tuple[float, float] | None:
        """Return what retrained models reach: from the lowest to the highest of both oracles.

        The intervals of both and the target are part of it. None if neither has an interval.
        """
        oracles = [f for name in (ORACLE, FLOOR) if (f := self.estimate(name, place))]
        ends = [end for f in oracles for end in (f.low, f.high) if end is not None]
        if not ends:
            return None
        targets = [f.target for f in oracles if f.target is not None]
        return min([*ends, *targets]), max([*ends, *targets])

    def side(self, contender: str, place: Place) -> Side | None:
        """Return where an estimate's interval lies to the band; None if that cannot be said."""
        estimate, band = self.estimate(contender, place), self.band(place)
        if estimate is None or band is None or estimate.low is None or estimate.high is None:
            return None
        if place.measure in RANGES and estimate.low == estimate.high and band[0] == band[1]:
            return None  # a range of one run says nothing of others
        if estimate.low > band[1] + ROUNDING:
            return "above"
        return "below" if estimate.high < band[0] - ROUNDING else "within"

    def times_floor(self, contender: str, place: Place) -> float | None:
        """Return a distance as a multiple of the second oracle's; None for other estimates."""
        value, floor = self.value(contender, place), self.value(FLOOR, place)
        if not is_distance(place) or contender == FLOOR or value is None or not floor:
            return None
        return value / floor

    @cached_property
    def _estimates(self) -> Mapping[tuple[str, Place], Estimate]:
        return {
            (f.contender, Place(f.measure, f.set, f.statistic)): f for f in self.audit.estimates
        }

    @cached_property
    def _listed(self) -> list[str]:
        """All contenders as the measures list them; a file of an audit sorts `members`."""
        return list(
            dict.fromkeys([*(f.contender for f in self.audit.estimates), *self.audit.members])
        )
