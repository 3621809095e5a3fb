"""One tree: its nodes, its rows, and the counts that make changing it cheap."""

import numpy as np

from forgetflow.errors import InputError
from forgetflow.forest.draw import drawn
from forgetflow.forest.grid import Grid
from forgetflow.forest.grow import grow
from forgetflow.forest.layout import (
    COUNTS,
    FEATURE,
    ROWS,
    SLOT,
    Context,
    Ints,
    Slots,
    TreeSpec,
    Work,
)
from forgetflow.forest.price import price
from forgetflow.forest.route import link_rows
from forgetflow.forest.rows import Rows
from forgetflow.forest.settings import ForestSettings
from forgetflow.forest.update import update
from forgetflow.keys.digests import keyed_hash

SLOT_ROWS = 32
"""Fewest rows for which a node keeps its counts; below, counting anew is as fast."""


class Tree:
    """Tree number `index` of a forest: a function of settings, grid and set of records.

    Attributes:
        nodes: int32 (M, COUNTS + C) in preorder, see `layout`; `used` lines count.
    """

    def __init__(self, index: int, settings: ForestSettings, grid: Grid, classes: int) -> None:
        self._spec = spec_of(index, settings, grid, classes)
        self._classes = classes
        self._share_key = np.uint64(keyed_hash(settings.seed, "forest-share", index))
        self._share_limit = int(settings.share * 2**64)
        self._slots = free_slots(0, self._spec, classes)
        self._after: Ints = np.empty(0, np.int32)
        self.nodes: Ints = np.empty((0, COUNTS + classes), np.int32)
        self.used = 0
        self._room = 0

    def fit(self, rows: Rows, places: Ints, work: Work) -> None:
        """Grow the tree from the records at `places`, forgetting what it was."""
        members = self._start(rows, places).copy()
        grown, self.used = grow(self._context(rows, work), members, self._spec.key, 0)
        self.nodes = grown[: self.used].copy()

    def attach(self, rows: Rows, places: Ints) -> None:
        """Find the rows of each leaf of a stored tree.

        Raises:
            InputError: the tree did not grow from these records.
        """
        members = self._start(rows, places)
        if not link_rows(rows.table, self.nodes, self._after, members):
            raise InputError(
                "the records are not those the forest was trained on: their features or labels "
                "differ; give the rows it learned from, less those deleted since"
            )

    def change(self, rows: Rows, places: Ints, sign: int, work: Work) -> tuple[int, int]:
        """Delete (-1) or add (+1) the records at `places`.

        Returns:
            Rows and subtrees grown again.
        """
        changed = self._members(rows, places).copy()
        if len(self._after) < rows.capacity:
            self._after = np.resize(self._after, rows.capacity)
        self.nodes, self.used, regrown, subtrees = update(
            self._context(rows, work), self.nodes, self.used, changed, sign
        )
        self._make_room(self.nodes[0, ROWS])
        return regrown, subtrees

    def price(self, rows: Rows, places: Ints, work: Work) -> tuple[int, int]:
        """Return the rows and subtrees that deleting the records at `places` would grow again."""
        changed = self._members(rows, places).copy()
        return price(self._context(rows, work), self.nodes, self.used, changed)

    def _context(self, rows: Rows, work: Work) -> Context:
        return Context(rows.table, self._spec, work, self._slots, self._after)

    def _members(self, rows: Rows, places: Ints) -> Ints:
        """Return those of `places` whose records this tree learns from."""
        if self._share_limit >= 2**64:
            return places
        return drawn(rows.heads, places, self._share_key, np.uint64(self._share_limit))

    def _start(self, rows: Rows, places: Ints) -> Ints:
        """Make links and slots for the tree's share of `places`, and return that share."""
        members = self._members(rows, places)
        self._after = np.empty(rows.capacity, np.int32)
        self._room = 0
        self._make_room(len(members))
        return members

    def _make_room(self, rows: int) -> None:
        """Make slots, empty ones, when the tree has outgrown those it has."""
        if rows > 2 * self._room:
            self._room = rows
            slots = 4 * rows // self._spec.slot_rows
            self._slots = free_slots(slots, self._spec, self._classes)
            splits = self.nodes[:, FEATURE] >= 0
            self.nodes[splits, SLOT] = -1


def spec_of(index: int, settings: ForestSettings, grid: Grid, classes: int) -> TreeSpec:
    """Return what tree `index` is drawn from."""
    widths = np.array([len(cuts) + 1 for cuts in grid.thresholds], np.int64)
    features = settings.features or max(1, int(len(widths) ** 0.5))
    tries = min(settings.thresholds, int(widths.max()))
    return TreeSpec(
        key=np.uint64(keyed_hash(settings.seed, "forest-node", index)),
        max_depth=settings.max_depth,
        random_depth=settings.random_depth,
        min_leaf=settings.min_leaf,
        features=min(features, len(widths)),
        thresholds=tries,
        slot_rows=max(SLOT_ROWS, tries * classes),
        feature_bits=(len(widths) - 1).bit_length(),
        widths=widths,
        bits=np.array([(int(width) - 1).bit_length() for width in widths], np.int64),
    )


def codes_in(grid: Grid) -> int:
    """Return the codes a feature can have, at most: thresholds + 1, and missing."""
    return max(len(cuts) for cuts in grid.thresholds) + 2


def free_slots(slots: int, spec: TreeSpec, classes: int) -> Slots:
    """Return `slots` free slots and the scratch slot."""
    features, tries = spec.features, spec.thresholds

    def ints(*shape: int) -> Ints:
        return np.empty((slots + 1, *shape), np.int32)

    return Slots(
        left=ints(features, tries, classes),
        thresholds=np.empty((slots + 1, features, tries), np.uint8),
        lengths=ints(features),
        edges=ints(features, 4),
        features=ints(features),
        facts=ints(3),
        free=np.concatenate([[slots], np.arange(slots)]).astype(np.int32),
    )


def new_work(rows: int, grid: Grid, classes: int) -> Work:
    """Return scratch for one thread over at most `rows` rows."""
    return Work(
        rows=np.empty(rows, np.int32),
        spare=np.empty(rows, np.int32),
        labels=np.empty(rows, np.int32),
        codes=np.empty(rows, np.uint8),
        below=np.empty((codes_in(grid), classes), np.int32),
    )
