"""Forests as functions of the set of their records, and deletion that keeps them so.

    >>> forest = Forest.fit(digests, features, labels, grid=grid, classes=3)
    >>> forest.delete(digests[:10]).records
    10
    >>> forest.digest() == Forest.fit(digests[10:], features[10:], labels[10:], ...).digest()
    True

Guarantee: `delete` and `add` leave the bytes that `fit` makes from the records then held, with
the same settings, grid and classes. It rests on three facts: node statistics are integer
counts; a split is a function of the node's key and of the rows under it as a set; the state is
the nodes in preorder without anything that depends on how they came about. The paper's DaRE
promises equality in distribution only.

Shapes: N records, D features, C classes, M nodes of all trees, T trees.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forgetflow.errors import InputError
from forgetflow.forest.grid import Grid
from forgetflow.forest.layout import ROWS, Ints, Work
from forgetflow.forest.route import add_shares
from forgetflow.forest.rows import Rows
from forgetflow.forest.settings import ForestSettings
from forgetflow.forest.state import pack, unpack
from forgetflow.forest.tree import Tree, new_work
from forgetflow.keys.digests import Digests, set_digest

R = TypeVar("R")


@dataclass(frozen=True)
class Change:
    """What a deletion or an addition took.

    Attributes:
        records: records deleted or added.
        rows_regrown: rows under all subtrees grown again, over all trees.
        subtrees_regrown: number of these subtrees.
    """

    records: int
    rows_regrown: int
    subtrees_regrown: int


class Forest:
    """A random forest over a set of records, from `fit` or `from_state`.

    Attributes:
        settings, grid, classes: with the records, they determine every byte.
        threads: threads over trees; the bytes do not depend on it.
    """

    def __init__(
        self, *, grid: Grid, classes: int, settings: ForestSettings, threads: int = 1
    ) -> None:
        if not 2 <= classes <= 65_536:
            raise InputError(f"{classes} classes: a classifier needs 2 to 65536")
        self.settings, self.grid, self.classes = settings, grid, classes
        self.threads = threads
        self._rows: Rows | None = Rows(grid, classes)
        self._trees = [Tree(index, settings, grid, classes) for index in range(settings.trees)]
        self._record_set = set_digest(np.empty((0, 32), np.uint8))

    @classmethod
    def fit(
        cls,
        digests: Digests,
        features: ArrayLike,
        labels: ArrayLike,
        *,
        grid: Grid,
        classes: int,
        settings: ForestSettings | None = None,
        threads: int = 1,
    ) -> "Forest":
        """Grow a forest; the order of the records does not matter.

        Args:
            digests: uint8 (N, 32), all different.
            features: (N, D) numbers, NaN where missing.
            labels: integers (N,), 0 to `classes` - 1.
            grid: thresholds that do not depend on these records.
            classes: number of classes, from the schema, not from these labels.
            settings: size of the forest and its seed.
            threads: trees are grown on this many threads.

        Raises:
            InputError: digests, features or labels cannot be used.
        """
        settings = settings or ForestSettings()
        forest = cls(grid=grid, classes=classes, settings=settings, threads=threads)
        rows = forest._held("fit")
        rows.put(digests, features, labels)
        places = rows.places()
        forest._each(lambda tree, work: tree.fit(rows, places, work))
        return forest

    def __len__(self) -> int:
        return len(self._held("count its records"))

    @property
    def rows(self) -> int:
        """Rows under the roots of all trees: what fitting anew would grow."""
        return sum(int(tree.nodes[0, ROWS]) for tree in self._trees if tree.used)

    def delete(self, digests: Digests) -> Change:
        """Delete records: afterwards the forest is the one fit without them, byte for byte.

        All digests are checked before anything changes. A change that is interrupted leaves the
        forest half changed: load its stored state again.

        Args:
            digests: uint8 (k, 32).

        Raises:
            InputError: a record is absent, deleted already, or listed twice.
        """
        rows = self._held("delete")
        places = rows.find(digests)
        change = self._change(rows, places, -1)
        rows.drop(places)
        return change

    def price(self, digests: Digests) -> Change:
        """Return what `delete` of these records would take; the forest stays as it is.

        Args:
            digests: uint8 (k, 32).

        Raises:
            InputError: as `delete`.
        """
        rows = self._held("price a deletion")
        places = rows.find(digests)
        return _total(len(places), self._each(lambda tree, work: tree.price(rows, places, work)))

    def add(self, digests: Digests, features: ArrayLike, labels: ArrayLike) -> Change:
        """Add records: afterwards the forest is the one fit with them, byte for byte.

        Raises:
            InputError: a record is held already or listed twice, or its values cannot be used.
        """
        rows = self._held("add")
        return self._change(rows, rows.put(digests, features, labels), 1)

    def predict_proba(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the mean over trees of the class shares in each row's leaf, (N, C).

        Summed tree after tree, so equal forests give equal bits.
        """
        codes = self.grid.codes(features)
        out = np.zeros((codes.shape[1], self.classes))
        for tree in self._trees:
            add_shares(tree.nodes, codes, out)
        return out / len(self._trees)

    def predict(self, features: ArrayLike) -> NDArray[np.intp]:
        """Return the most probable class of each row; the lowest wins a tie."""
        return self.predict_proba(features).argmax(axis=1)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the forest as arrays; equal sets of records give equal bytes.

        The records are not in it, only the digest of their set: see `state.pack`.
        """
        if self._rows is not None:
            self._record_set = set_digest(self._rows.digests)
        nodes = [tree.nodes[: tree.used] for tree in self._trees]
        return pack(self.settings, self.grid, self.classes, nodes, self._record_set)

    def digest(self) -> str:
        """Return the sha256 hex digest of the state: what a certificate of deletion compares."""
        out = hashlib.sha256()
        for name, array in sorted(self.state().items()):
            out.update(f"{name}:{array.dtype.str}:{array.shape}:".encode())
            out.update(np.ascontiguousarray(array).tobytes())
        return out.hexdigest()

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, NDArray[np.generic]],
        records: tuple[Digests, ArrayLike, ArrayLike] | None = None,
        *,
        threads: int = 1,
    ) -> "Forest":
        """Return the forest of `state`; `from_state(f.state()).state()` equals `f.state()`.

        Args:
            state: from `state`.
            records: digests, features and labels the forest was trained on, less those deleted
                since; without them it predicts but cannot delete or add.
            threads: as in `fit`.

        Raises:
            InputError: the state is damaged, or the records are not those of the forest.
        """
        settings, grid, classes, nodes, record_set = unpack(state)
        forest = cls(grid=grid, classes=classes, settings=settings, threads=threads)
        for tree, lines in zip(forest._trees, nodes, strict=True):
            tree.nodes, tree.used = lines, len(lines)
        forest._record_set = record_set
        if records is None:
            forest._rows = None
            return forest
        rows = forest._held("take records")
        rows.put(*records)
        if set_digest(rows.digests) != record_set:
            raise InputError(
                "the records are not those the forest was trained on: give the rows it learned "
                "from, less those deleted since"
            )
        places = rows.places()
        forest._each(lambda tree, _: tree.attach(rows, places))
        return forest

    def _held(self, purpose: str) -> Rows:
        if self._rows is None:
            raise InputError(
                f"the forest was loaded without its records and cannot {purpose}: give them to "
                "Forest.from_state"
            )
        return self._rows

    def _change(self, rows: Rows, places: Ints, sign: int) -> Change:
        costs = self._each(lambda tree, work: tree.change(rows, places, sign, work))
        return _total(len(places), costs)

    def _each(self, act: Callable[[Tree, Work], R]) -> list[R]:
        """Return `act(tree, scratch)` for every tree, in order of the trees."""
        threads = min(self.threads, len(self._trees))
        rows = self._held("change").capacity

        def run(part: list[Tree]) -> list[R]:
            work = new_work(rows, self.grid, self.classes)
            return [act(tree, work) for tree in part]

        if threads <= 1:
            return run(self._trees)
        size = -(-len(self._trees) // threads)
        parts = [self._trees[i : i + size] for i in range(0, len(self._trees), size)]
        with ThreadPoolExecutor(threads) as pool:
            return [result for part in pool.map(run, parts) for result in part]


def _total(records: int, costs: Sequence[tuple[int, int]]) -> Change:
    """Return the change whose trees took (rows, subtrees) each."""
    regrown, subtrees = (sum(column) for column in zip(*costs, strict=True))
    return Change(records, regrown, subtrees)
