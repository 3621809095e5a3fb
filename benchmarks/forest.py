"""What exact deletion from a forest costs: beside fitting, beside scikit-learn, at its worst.

Grows a forest over 50,000 records with 20 features, deletes records one by one, in a batch, and
as an adversary would: the record, of 1,000 drawn, whose deletion grows most rows again. At the
end the forest must be byte-equal to one fit without the deleted records. Then compares accuracy
with scikit-learn's forest of equal size on its handwritten digits, over several splits.

    python benchmarks/forest.py [--records 50000] [--trees 100] [--random-depth 0] [--rounds 5]

`forgetflow study forest` asks the same of a project's own records.
"""

import argparse
import hashlib
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from forgetflow.forest import Forest, ForestSettings, Grid

FEATURES, THRESHOLDS, PUBLIC, TESTED = 20, 64, 5_000, 20_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--random-depth", type=int, default=0)
    parser.add_argument("--singles", type=int, default=500, help="deletions one by one")
    parser.add_argument("--rounds", type=int, default=5, help="deletions by the adversary")
    parser.add_argument("--candidates", type=int, default=1_000, help="drawn in each round")
    parser.add_argument("--splits", type=int, default=5, help="splits of the digits")
    options = parser.parse_args()
    settings = ForestSettings(trees=options.trees, random_depth=options.random_depth)
    print_environment(options, settings)
    Measured(options.records, settings).run(options)
    compare_on_digits(settings, options.splits)


def print_environment(options: argparse.Namespace, settings: ForestSettings) -> None:
    """Print hardware, versions, load and sizes."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), cpu)
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "scikit-learn"))
    print(f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; processor time")
    print(f"Python {platform.python_version()}, {packages}")
    print(f"{options.records} records, {FEATURES} features, 2 classes; {settings}")


class Measured:
    """A forest, the records it was fit on, and those already deleted."""

    def __init__(self, records: int, settings: ForestSettings) -> None:
        features, labels = make_classification(
            records + PUBLIC + TESTED,
            FEATURES,
            n_informative=10,
            n_redundant=4,
            flip_y=0.05,
            class_sep=0.8,
            random_state=0,
        )
        self.features, self.labels = features[:records], labels[:records]
        self.test = features[-TESTED:], labels[-TESTED:]
        self.grid = Grid.from_public(features[records : records + PUBLIC], THRESHOLDS)
        self.digests = digests_of(records)
        self.settings = settings
        self.held = np.ones(records, bool)
        self.draw = np.random.default_rng(0)

    def run(self, options: argparse.Namespace) -> None:
        """Print every figure, then check the bytes."""
        compiling, _ = timed(self.compile)
        print(f"compiling or loading compiled code: {compiling:.1f} s")
        self.fit_seconds, self.forest = timed(self.fit)
        self.compare_fit()
        self.delete_singles(options.singles)
        self.delete_batch(1_000)
        self.delete_worst(options.rounds, options.candidates)
        again, fresh = timed(self.fit)
        equal = fresh.digest() == self.forest.digest()
        print(f"fit without the deleted: {again:.2f} s; byte-equal: {equal}")
        if not equal:
            raise SystemExit(3)

    def compile(self) -> None:
        """Run every kernel once on a few records."""
        rows = np.arange(500)
        forest = self.fit(rows)
        forest.price(self.digests[:2])
        forest.delete(self.digests[:2])
        forest.add(self.digests[:2], self.features[:2], self.labels[:2])
        forest.predict(self.features[:2])

    def fit(self, rows: Any = None) -> Forest:
        """Fit a forest on the records not deleted, or on `rows`."""
        rows = np.flatnonzero(self.held) if rows is None else rows
        return Forest.fit(
            self.digests[rows],
            self.features[rows],
            self.labels[rows],
            grid=self.grid,
            classes=2,
            settings=self.settings,
        )

    def compare_fit(self) -> None:
        """Print fitting time and accuracy beside scikit-learn's."""
        other = RandomForestClassifier(
            self.settings.trees, max_depth=self.settings.max_depth, n_jobs=1, random_state=0
        )
        seconds, _ = timed(lambda: other.fit(self.features, self.labels))
        features, labels = self.test
        ours = (self.forest.predict(features) == labels).mean()
        theirs = (other.predict(features) == labels).mean()
        ratio = self.fit_seconds / seconds
        print(
            f"fit: {self.fit_seconds:.2f} s, scikit-learn {seconds:.2f} s, ratio {ratio:.2f}; "
            f"accuracy {ours:.4f}, scikit-learn {theirs:.4f} (n={TESTED})"
        )
        size = sum(array.nbytes for array in self.forest.state().values())
        print(f"state: {size / 1e6:.0f} MB")

    def delete(self, rows: Any) -> tuple[float, int]:
        """Delete `rows`; return seconds and rows grown again."""
        seconds, change = timed(lambda: self.forest.delete(self.digests[rows]))
        self.held[rows] = False
        return seconds, change.rows_regrown

    def delete_singles(self, count: int) -> None:
        """Print what random records cost, one by one."""
        rows = self.draw.permutation(np.flatnonzero(self.held))[:count]
        costs = np.array([self.delete([row]) for row in rows])
        seconds, regrown = costs.T
        print(
            f"delete one (n={count}): mean {seconds.mean() * 1e3:.2f} ms, "
            f"median {np.median(seconds) * 1e3:.2f} ms, largest {seconds.max() * 1e3:.1f} ms; "
            f"{self.fit_seconds / seconds.mean():.0f} times faster than refitting "
            f"(median {self.fit_seconds / np.median(seconds):.0f}); "
            f"rows grown again {regrown.mean():.0f} of {self.settings.trees * len(self.held)}"
        )

    def delete_batch(self, count: int) -> None:
        """Print what a batch costs."""
        rows = self.draw.permutation(np.flatnonzero(self.held))[:count]
        seconds, _ = self.delete(rows)
        print(
            f"delete {count} at once: {seconds:.2f} s, {self.fit_seconds / seconds:.1f} times "
            f"faster than refitting, {seconds / count * 1e3:.2f} ms a record"
        )

    def delete_worst(self, rounds: int, candidates: int) -> None:
        """Print what an adversary's deletions cost: in each round the costliest of many."""
        costs, pricing = [], 0.0
        for _ in range(rounds):
            rows = self.draw.permutation(np.flatnonzero(self.held))[:candidates]
            seconds, prices = timed(lambda rows=rows: [self.price(row) for row in rows])
            pricing += seconds
            costs.append(self.delete([rows[int(np.argmax(prices))]]))
        seconds, grown = np.array(costs).T
        print(
            f"delete the worst of {candidates} (n={rounds}): mean {seconds.mean() * 1e3:.1f} ms, "
            f"largest {seconds.max() * 1e3:.1f} ms; {self.fit_seconds / seconds.mean():.0f} times "
            f"faster than refitting (least {self.fit_seconds / seconds.max():.0f}); "
            f"rows grown again {grown.mean():.0f}; "
            f"pricing a record {pricing / rounds / candidates * 1e3:.2f} ms"
        )

    def price(self, row: int) -> int:
        """Return the rows that deleting one record would grow again."""
        return self.forest.price(self.digests[[row]]).rows_regrown


def compare_on_digits(settings: ForestSettings, splits: int) -> None:
    """Print accuracy beside scikit-learn's on its digits, a quarter held out, over splits."""
    features, labels = load_digits(return_X_y=True)
    digests, grid = digests_of(len(labels)), Grid.of([np.arange(16) + 0.5] * 64)
    ours, theirs = [], []
    for seed in range(splits):
        train, test = train_test_split(
            np.arange(len(labels)), test_size=0.25, stratify=labels, random_state=seed
        )
        forest = Forest.fit(
            digests[train],
            features[train],
            labels[train],
            grid=grid,
            classes=10,
            settings=settings.model_copy(update={"seed": seed}),
        )
        other = RandomForestClassifier(
            settings.trees, max_depth=settings.max_depth, n_jobs=1, random_state=seed
        ).fit(features[train], labels[train])
        ours.append((forest.predict(features[test]) == labels[test]).mean())
        theirs.append((other.predict(features[test]) == labels[test]).mean())
    apart = 100 * (np.array(ours) - np.array(theirs))
    print(
        f"digits (n={splits} splits, {len(train)} + {len(test)} records): accuracy "
        f"{np.mean(ours):.4f}, scikit-learn {np.mean(theirs):.4f}, difference {apart.mean():+.2f} "
        f"points, standard deviation {apart.std(ddof=1):.2f}"
    )


def digests_of(records: int) -> Any:
    """Return made-up record digests, uint8 (N, 32)."""
    data = b"".join(hashlib.sha256(b"%d" % row).digest() for row in range(records))
    return np.frombuffer(data, np.uint8).reshape(records, 32)


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of processor time `act` took, and its result.

    One thread on an idle machine waits for nothing, so this is what a clock shows there; on a
    busy machine it leaves out what others took.
    """
    start = time.process_time()
    result = act()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
