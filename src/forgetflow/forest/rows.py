"""The records a forest holds: checked, coded, and found by digest.

Shapes: N records, D features.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forgetflow.errors import InputError
from forgetflow.forest.grid import Grid
from forgetflow.forest.layout import Ints, Table
from forgetflow.keys.digests import Digests

MAX_ROWS = 2**21
"""Beyond, products of counts would leave 64 bits (`split.gini_score`)."""


class Rows:
    """Records under places that stay while they are held; a deleted record leaves zeros.

    Attributes:
        table: the records as the kernels see them, with spare places.
        heads: the first 8 bytes of the digest at each place, uint64 (places,).
    """

    def __init__(self, grid: Grid, classes: int) -> None:
        self._grid, self._classes = grid, classes
        self._places: dict[bytes, int] = {}
        self._free: list[int] = []
        self._digests: Digests = np.empty((0, 32), np.uint8)
        self.heads: NDArray[np.uint64] = np.empty(0, np.uint64)
        self.table = Table(
            codes=np.empty((len(grid.thresholds), 0), np.uint8),
            labels=np.empty(0, np.int32),
        )

    def __len__(self) -> int:
        return len(self._places)

    @property
    def capacity(self) -> int:
        """Places, taken or free."""
        return len(self.table.labels)

    @property
    def digests(self) -> Digests:
        """Digests of the records held, uint8 (N, 32)."""
        return self._digests[self.places()]

    def places(self) -> Ints:
        """Return the places of all records held."""
        return np.fromiter(self._places.values(), np.int32, len(self._places))

    def find(self, digests: Digests) -> Ints:
        """Return the places of records.

        Raises:
            InputError: a digest is not held, or given twice.
        """
        names = _names(digests)
        for name in names:
            if name not in self._places:
                raise InputError(
                    f"record {name.hex()[:12]} is not in the forest: it was never added or is "
                    "deleted already; take it off the list and run again"
                )
        return np.array([self._places[name] for name in names], np.int32)

    def put(self, digests: Digests, features: ArrayLike, labels: ArrayLike) -> Ints:
        """Take records in and return their places.

        Raises:
            InputError: a record is held already or given twice, or its values cannot be used.
        """
        names = _names(digests)
        for name in names:
            if name in self._places:
                raise InputError(
                    f"record {name.hex()[:12]} is in the forest already: take it off the list "
                    "and run again"
                )
        classes = checked_labels(labels, self._classes, len(names))
        codes = self._grid.codes(features)
        if codes.shape[1] != len(names):
            raise InputError(
                f"{len(names)} digests but {codes.shape[1]} rows of features: give one per record"
            )
        self._reserve(len(names))
        places = np.array([self._free.pop() for _ in names], np.int32)
        self._digests[places] = digests
        self.heads[places] = self._digests[places, :8].view(">u8").ravel()
        self.table.codes[:, places] = codes
        self.table.labels[places] = classes
        self._places.update(zip(names, places.tolist(), strict=True))
        return places

    def drop(self, places: Ints) -> None:
        """Forget the records at `places` and overwrite them with zeros."""
        for place in places.tolist():
            del self._places[self._digests[place].tobytes()]
        self._free.extend(places.tolist()[::-1])
        self._digests[places] = 0
        self.heads[places] = 0
        self.table.codes[:, places] = 0
        self.table.labels[places] = 0

    def _reserve(self, more: int) -> None:
        """Make room for `more` records."""
        if len(self) + more > MAX_ROWS:
            raise InputError(f"a forest holds at most {MAX_ROWS} records: split them, as SISA does")
        if len(self._free) >= more:
            return
        room = max(more - len(self._free), self.capacity // 4)
        self._free[:0] = range(self.capacity + room - 1, self.capacity - 1, -1)
        self._digests = np.concatenate([self._digests, np.zeros((room, 32), np.uint8)])
        self.heads = np.concatenate([self.heads, np.zeros(room, np.uint64)])
        codes, labels = self.table
        self.table = Table(
            codes=np.concatenate([codes, np.zeros((len(codes), room), np.uint8)], axis=1),
            labels=np.concatenate([labels, np.zeros(room, np.int32)]),
        )


def checked_labels(labels: ArrayLike, classes: int, count: int) -> Ints:
    """Return labels as int32 (N,).

    Raises:
        InputError: they are not `count` integers from 0 to `classes` - 1.
    """
    values = np.asarray(labels)
    if values.shape != (count,):
        raise InputError(
            f"labels have the shape {values.shape}: give one class number for each of the "
            f"{count} records"
        )
    if not np.issubdtype(values.dtype, np.integer):
        raise InputError(
            f"labels are {values.dtype}, not integers: this forest classifies and does not do "
            "regression; number the classes from 0, or retrain a regressor without the records"
        )
    if count and (values.min() < 0 or values.max() >= classes):
        raise InputError(
            f"labels run from {values.min()} to {values.max()}, the forest has {classes} "
            f"classes: number them 0 to {classes - 1}, or fit with more classes"
        )
    return values.astype(np.int32)


def _names(digests: Digests) -> list[bytes]:
    values = np.asarray(digests)
    if values.ndim != 2 or values.shape[1] != 32 or values.dtype != np.uint8:
        raise InputError(
            f"record digests are {values.dtype} {values.shape}: give 32 bytes each, uint8 (N, 32)"
        )
    names = [row.tobytes() for row in values]
    if len(set(names)) < len(names):
        raise InputError("a record is listed twice: list every digest once")
    return names
