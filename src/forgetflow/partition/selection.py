"""Representative records: which ones of a class its one-class model learns from (ARCANE, Sec. 3.2).

    threshold   a record's own information entropy reaches a bound; nobody else has a say, so a
                deletion never changes who else is selected
    joint       the share of a class that carries most information beside the rest of it, chosen
                again from whoever is left; or, `frozen`, chosen once from everybody

The paper selects by joint entropy and keeps its choice after deletions; its rule is not public in
detail, so this one is derived. Values are counted in bins of a declared range. Under the product
of the class's own bin frequencies, a record's information is the sum over its values of -ln(share
of the class in the same bin), and the mean of it over the class is the joint entropy of the
values if they were independent. `joint` keeps the records with most of it; ties go by digest.

Shapes: N records of D values, B bins.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.partition import SelectionSettings
from forgetflow.keys.digests import canonical_order
from forgetflow.records.record_set import RecordSet

Mask = NDArray[np.bool_]

CHUNK = 2**24
"""Values looked at in one go."""

REMEMBERED = 8
"""Answers kept: a deletion asks about few sets of records, many times each."""


def own_entropy(codes: NDArray[np.uint8], bins: int) -> NDArray[np.float64]:
    """Return the entropy of each record's values in nats, (N,), for bins (N, D)."""
    width = codes.shape[1]
    found = np.zeros(len(codes))
    for number in range(bins):
        share = (codes == number).sum(axis=1) / width
        found -= np.where(share > 0, share * np.log(np.where(share > 0, share, 1.0)), 0.0)
    return found


def information(codes: NDArray[np.uint8], bins: int) -> NDArray[np.float64]:
    """Return the information of each record among these, in nats, (N,), for bins (N, D)."""
    count, width = codes.shape
    places, step = np.arange(width), max(1, CHUNK // max(width, 1))
    counts = np.zeros(width * bins, np.int64)
    for start in range(0, count, step):
        cells = codes[start : start + step] + places * bins
        counts += np.bincount(cells.ravel(), minlength=width * bins)
    surprise = -np.log(np.maximum(counts, 1).reshape(width, bins) / max(count, 1))
    found = np.empty(count)
    for start in range(0, count, step):
        found[start : start + step] = surprise[places, codes[start : start + step]].sum(axis=1)
    return found


@dataclass(eq=False)
class Selection:
    """Who is learned from, as a function of who is left.

    Attributes:
        records: all N records.
        settings: the rule.
        codes: bin of every value, (N, D).
    """

    records: RecordSet
    settings: SelectionSettings
    codes: NDArray[np.uint8] = field(init=False, repr=False)
    _order: NDArray[np.intp] = field(init=False, repr=False)
    _latest: dict[bytes, Mask] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        rows = self.records.inputs.reshape(len(self.records), -1)
        low, high, bins = self.settings.low, self.settings.high, self.settings.bins
        scaled = (rows - low) * (bins / (high - low))
        self.codes = np.clip(np.floor(scaled), 0, bins - 1).astype(np.uint8)
        self._order = canonical_order(self.records.digests)

    def of(self, keep: Mask) -> Mask:
        """Return which of the kept records are selected, bool (N,).

        Args:
            keep: records that are left, bool (N,).
        """
        place = keep.tobytes()
        found = self._latest.get(place)
        if found is None:
            found = self._select(keep)
            found.flags.writeable = False
            for old in list(self._latest)[: 1 - REMEMBERED]:  # threads of a flow share this
                self._latest.pop(old, None)
            self._latest[place] = found
        return found

    def _select(self, keep: Mask) -> Mask:
        settings = self.settings
        if settings.mode == "threshold":
            return keep & (own_entropy(self.codes, settings.bins) >= settings.threshold)
        if settings.mode == "joint":
            return keep & self._chosen(np.ones_like(keep) if settings.frozen else keep)
        return keep.copy()

    def _chosen(self, among: Mask) -> Mask:
        """Return the `share` of each class with most information, at least one record of each."""
        found = np.zeros(len(among), bool)
        labels = self.records.labels[self._order]
        there = among[self._order]
        for label in np.unique(labels[there]):
            where = self._order[there & (labels == label)]
            worth = information(self.codes[where], self.settings.bins)
            first = np.argsort(-worth, kind="stable")  # of equals, the first in canonical order
            found[where[first[: max(1, round(self.settings.share * len(where)))]]] = True
        return found
