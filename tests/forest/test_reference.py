"""The compiled forest against one written the slow way: lists, dictionaries, fractions.

The reference shares nothing with the package but the keyed hash of the root and the codes.
"""

from fractions import Fraction

import numpy as np
import pytest

from forgetflow.keys.digests import keyed_hash

MASK = 2**64 - 1
GOLDEN, SIDE = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03


def mix(x: int) -> int:
    x = (x + GOLDEN) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def permutation(key: int, items: int) -> list[int]:
    bits = (items - 1).bit_length()
    size, half = 2**bits, (bits + 1) // 2
    order = []
    for turn in range(size):
        x = (turn * (key | 1) + (key >> 16)) % size
        x ^= x >> half
        x = (x * ((key >> 32) | 1) + (key >> 48)) % size
        order.append(x ^ (x >> half))
    return [item for item in order if item < items]


class ReferenceTree:
    def __init__(self, records, index: int):
        self.settings, self.classes = records.settings, records.classes
        self.codes = records.grid.codes(records.features).T.tolist()
        self.labels = records.labels.tolist()
        self.widths = [len(cuts) + 1 for cuts in records.grid.thresholds]
        key = keyed_hash(self.settings.seed, "forest-node", index)
        self.root = self.grow(list(range(len(records))), key, 0)

    def grow(self, rows: list[int], key: int, depth: int) -> dict:
        counts = [sum(self.labels[r] == c for r in rows) for c in range(self.classes)]
        node = {"counts": counts}
        whole = depth >= self.settings.max_depth or len(rows) < 2 * self.settings.min_leaf
        if whole or sum(c > 0 for c in counts) < 2:
            return node
        choose = self.draw if depth < self.settings.random_depth else self.best
        split = choose(rows, key)
        if split is None:
            return node
        feature, threshold = split
        left = [r for r in rows if self.codes[r][feature] <= threshold]
        right = [r for r in rows if self.codes[r][feature] > threshold]
        node["split"] = split
        node["left"] = self.grow(left, mix(key ^ SIDE), depth + 1)
        node["right"] = self.grow(right, mix(key ^ ((2 * SIDE) & MASK)), depth + 1)
        return node

    def valid(self, rows, feature) -> set[int]:
        least = self.settings.min_leaf
        codes = [self.codes[r][feature] for r in rows]
        return {
            t
            for t in range(self.widths[feature])
            if sum(c <= t for c in codes) >= least and sum(c > t for c in codes) >= least
        }

    def thresholds(self, rows, key, feature) -> list[int]:
        valid = self.valid(rows, feature)
        own = mix((key + GOLDEN * (feature + 1)) & MASK)
        return [t for t in permutation(own, self.widths[feature]) if t in valid]

    def draw(self, rows, key):
        for feature in permutation(key, len(self.widths)):
            for threshold in self.thresholds(rows, key, feature):
                return feature, threshold
        return None

    def best(self, rows, key):
        n = len(rows)
        features = self.settings.features or int(len(self.widths) ** 0.5)
        tries = min(self.settings.thresholds, max(self.widths))
        tries = min(tries, 2 * n) if n <= 64 else max(1, tries * 64 // n)
        best, split, tried = None, None, 0
        for feature in permutation(key, len(self.widths)):
            candidates = self.thresholds(rows, key, feature)[:tries]
            for threshold in candidates:
                score = self.score(rows, feature, threshold)
                if best is None or score < best:
                    best, split = score, (feature, threshold)
            tried += bool(candidates)
            if tried == features:
                break
        return split

    def score(self, rows, feature, threshold) -> Fraction:
        total = Fraction(0)
        for side in (True, False):
            labels = [self.labels[r] for r in rows if (self.codes[r][feature] <= threshold) == side]
            shares = [Fraction(labels.count(c), len(labels)) for c in range(self.classes)]
            total += len(labels) * (1 - sum(share**2 for share in shares))
        return total

    def shares(self, codes: list[int]) -> list[float]:
        node = self.root
        while "split" in node:
            feature, threshold = node["split"]
            node = node["left"] if codes[feature] <= threshold else node["right"]
        return [c / sum(node["counts"]) for c in node["counts"]]

    def lines(self, node=None) -> list:
        node = node or self.root
        if "split" not in node:
            return [(-1, 0, node["counts"])]
        below = self.lines(node["left"]) + self.lines(node["right"])
        return [(*node["split"], node["counts"]), *below]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"random_depth": 2},
        {"min_leaf": 4, "features": 3},
        {"min_leaf": 3, "random_depth": 3, "max_depth": 5},
        {"thresholds": 2, "features": 6},
        {"thresholds": 100, "features": 100},
    ],
)
@pytest.mark.parametrize("classes", [2, 4])
def test_forest_equals_the_reference(make_records, settings, classes):
    records = make_records(160, classes=classes, seed=11, **settings)
    forest = records.fit()
    references = [ReferenceTree(records, index) for index in range(2)]
    state = forest.state()
    lines = list(
        zip(
            state["feature"].tolist(),
            state["threshold"].tolist(),
            state["counts"].tolist(),
            strict=True,
        )
    )
    assert lines == [line for tree in references for line in tree.lines()]
    rows = records.grid.codes(records.features).T.tolist()
    expected = [[tree.shares(row) for tree in references] for row in rows]
    expected = np.array([[(a + b) / 2 for a, b in zip(*two, strict=True)] for two in expected])
    assert forest.predict_proba(records.features).tobytes() == expected.tobytes()
