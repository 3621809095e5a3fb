"""Small tables of records, and forests over parts of them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from forgetflow.forest import Forest, ForestSettings, Grid
from forgetflow.forest.layout import FEATURE, SLOT

VARIANTS = {
    "plain": {},
    "random layers": {"random_depth": 2},
    "all random": {"random_depth": 30},
    "leaves of 3": {"min_leaf": 3},
    "random layers, leaves of 4": {"random_depth": 2, "min_leaf": 4},
    "one threshold": {"thresholds": 1},
    "all thresholds and features": {"thresholds": 300, "features": 6},
    "shared out": {"share": 0.6},
    "shallow": {"max_depth": 2},
    "one leaf": {"max_depth": 0},
}


@dataclass(frozen=True)
class Records:
    digests: NDArray[np.uint8]
    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    grid: Grid
    classes: int
    settings: ForestSettings = field(default_factory=lambda: ForestSettings(trees=2))

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows) -> tuple:
        return self.digests[rows], self.features[rows], self.labels[rows]

    def fit(self, rows=slice(None), threads: int = 1) -> Forest:
        return Forest.fit(
            *self.part(rows),
            grid=self.grid,
            classes=self.classes,
            settings=self.settings,
            threads=threads,
        )


def digests_of(count: int, salt: str = "") -> NDArray[np.uint8]:
    data = b"".join(hashlib.sha256(f"{salt}{i}".encode()).digest() for i in range(count))
    return np.frombuffer(data, np.uint8).reshape(count, 32)


@pytest.fixture(scope="session")
def make_records() -> Callable[..., Records]:
    """Return a maker of awkward records: ties, duplicates, constants, missing values, noise."""

    def make(count: int, *, columns: int = 6, classes: int = 3, seed: int = 0, **settings):
        draw = np.random.default_rng(seed)
        table = draw.normal(size=(count, columns))
        score = table[:, 0] + table[:, 1] * table[:, 2] + draw.normal(scale=0.5, size=count)
        labels = np.digitize(score, np.linspace(-1, 1, classes - 1)) if classes > 1 else score
        table[:, 3] = 7.0  # constant
        table[:, 4] = draw.integers(0, 2, count)  # two values
        table[draw.random(count) < 0.1, 5] = np.nan
        twins = draw.integers(0, count, count // 5)  # equal values, other digests, other labels
        table[: len(twins)] = table[twins]
        return Records(
            digests_of(count, f"{seed}-"),
            table,
            labels,
            Grid.uniform(np.full(columns, -2.0), np.full(columns, 2.0), 21),
            classes,
            ForestSettings(**{"trees": 2, "seed": seed, **settings}),
        )

    return make


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def settings(request) -> dict:
    return request.param


@pytest.fixture(scope="session")
def assert_slots_sound() -> Callable[[Forest], None]:
    """Return a check that every slot is free or held by exactly one split."""

    def check(forest: Forest) -> None:
        for tree in forest._trees:
            lines = tree.nodes[: tree.used]
            held = lines[(lines[:, FEATURE] >= 0) & (lines[:, SLOT] >= 0), SLOT].tolist()
            free = tree._slots.free[1 : 1 + tree._slots.free[0]].tolist()
            assert sorted(held + free) == list(range(len(tree._slots.facts) - 1))

    return check
