"""One forest of the study: fit, ask for deletions, compare with a forest fit without them.

Times are processor seconds of the one thread that computes: on an idle machine what a clock
shows, on a busy one without what others took.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.model import ForestSettings
from forgetflow.files.jsonable import to_json
from forgetflow.keys.digests import keyed_hash
from forgetflow.models.forest import grid_of, library, settings_of
from forgetflow.records.record_set import RecordSet
from forgetflow.studies.forest_grid import ForestGrid
from forgetflow.studies.protocol import StudyData

if TYPE_CHECKING:  # numba is an extra
    from forgetflow.forest import Forest, Grid

KINDS = ("single", "worst", "batch", "subject")
"""Who leaves: a record; the costliest of many, an adversary's; several together; a person."""

WARM_UP = 40
"""Records of the forest on which every kernel is compiled before the clock runs."""

R = TypeVar("R")


@dataclass(frozen=True)
class Deletion:
    """What one deletion took.

    Attributes:
        kind: see `KINDS`.
        records: records deleted.
        rows: rows grown again, over all trees.
        subtrees: subtrees grown again.
        seconds: processor seconds.
        refit_rows: rows of a refit without the records, over all trees.
        candidates: of an adversary: the mean rows of the candidates that were priced.
    """

    kind: str
    records: int
    rows: int
    subtrees: int
    seconds: float
    refit_rows: int
    candidates: float | None = None


@dataclass(frozen=True)
class Measured:
    """One forest and all that was deleted from it.

    Attributes:
        random_depth: layers whose splits ignore labels.
        number: seed number.
        accuracy: on the test records, before any deletion.
        fit_seconds: of the fit on all records.
        refit_seconds: of the fit on what was left in the end.
        nodes: lines of all trees, before any deletion.
        megabytes: size of the stored forest then.
        deletions: in the order they were made.
        equal: whether the forest in the end has the bytes of the refit.
    """

    random_depth: int
    number: int
    accuracy: float
    fit_seconds: float
    refit_seconds: float
    nodes: int
    megabytes: float
    deletions: tuple[Deletion, ...]
    equal: bool


class Material:
    """Records as a forest takes them: numbers (N, D), class numbers (N,), digests (N, 32)."""

    def __init__(self, data: StudyData) -> None:
        records, test = data.records, data.test
        self.digests, self.labels = records.digests, records.labels
        self.inputs = flat(records)
        self.subjects = np.array(records.subject_ids, str)
        self.test_inputs, self.test_labels = flat(test), test.labels
        self.classes = len(records.schema.class_names)
        self.grid = cuts_of(data)

    def fit(self, settings: ForestSettings, seed: int, rows: NDArray[Any]) -> "Forest":
        """Return the forest of the records at `rows`, grown on one thread."""
        found: Forest = library().Forest.fit(
            self.digests[rows],
            self.inputs[rows],
            self.labels[rows],
            grid=self.grid,
            classes=self.classes,
            settings=settings_of(settings, seed),
        )
        return found

    def warm_up(self, settings: ForestSettings) -> None:
        """Compile every kernel, or load it, so that no measured time holds that."""
        small = settings.model_copy(update={"trees": 1})
        forest = self.fit(small, 0, np.arange(min(WARM_UP, len(self.labels))))
        forest.price(self.digests[:1])
        forest.delete(self.digests[:1])
        forest.predict(self.inputs[:1])


def flat(records: RecordSet) -> NDArray[np.float32]:
    """Return the inputs of records as a table, float32 (N, D)."""
    return records.inputs.reshape(len(records), -1)


def cuts_of(data: StudyData) -> "Grid":
    """Return the thresholds that splits are chosen from."""
    return grid_of(data.settings.model.forest, flat(data.records).shape[1], data.root)


def measure_forest(
    data: StudyData, grid: ForestGrid, random_depth: int, number: int
) -> dict[str, Any]:
    """Fit a forest, delete from it what is asked, and compare with a refit.

    Args:
        data: records, and `model.forest`, whose own `random_depth` is not used.
        grid: what to delete.
        random_depth: layers whose splits ignore labels.
        number: seed number, added to the run seed.

    Returns:
        `Measured`, JSON-ready.
    """
    material = Material(data)
    chosen = data.settings.model.forest.model_copy(update={"random_depth": random_depth})
    own = (data.settings.run.seed + number) % 2**63
    material.warm_up(chosen)
    everyone = np.arange(len(material.labels))
    fit_seconds, forest = timed(lambda: material.fit(chosen, own, everyone))
    accuracy = float((forest.predict(material.test_inputs) == material.test_labels).mean())
    state = forest.state()
    deleting = _Deleting(material, forest, keyed_hash(own, "study forest"))
    deletions = deleting.all(grid)
    left = np.flatnonzero(deleting.held)
    refit_seconds, fresh = timed(lambda: material.fit(chosen, own, left))
    found = Measured(
        random_depth=random_depth,
        number=number,
        accuracy=accuracy,
        fit_seconds=fit_seconds,
        refit_seconds=refit_seconds,
        nodes=len(state["feature"]),
        megabytes=sum(array.nbytes for array in state.values()) / 1e6,
        deletions=deletions,
        equal=forest.digest() == fresh.digest(),
    )
    jsonable: dict[str, Any] = to_json(found)
    return jsonable


class _Deleting:
    """Deletions from one forest, one after another; `held` is who is left."""

    def __init__(self, material: Material, forest: "Forest", seed: int) -> None:
        self.material, self.forest = material, forest
        self.held = np.ones(len(material.labels), bool)
        self.draw = np.random.default_rng(seed)

    def all(self, asked: ForestGrid) -> tuple[Deletion, ...]:
        """Make every deletion that is asked for."""
        found = [self.delete("single", self.left(1)) for _ in range(asked.singles)]
        found += [self.worst(asked.candidates) for _ in range(asked.rounds)]
        found += [self.delete("batch", self.left(size)) for size in asked.batches]
        for _ in range(asked.subjects):
            person = self.draw.choice(np.unique(self.material.subjects[self.held]))
            rows = np.flatnonzero(self.held & (self.material.subjects == person))
            found.append(self.delete("subject", rows))
        return tuple(found)

    def left(self, count: int) -> NDArray[np.intp]:
        """Draw records that are left, at most `count`."""
        return self.draw.permutation(np.flatnonzero(self.held))[:count]

    def worst(self, candidates: int) -> Deletion:
        """Delete the costliest of drawn records, as an adversary who knows the forest would."""
        rows = self.left(candidates)
        prices = [self.forest.price(self.material.digests[[row]]).rows_regrown for row in rows]
        return self.delete("worst", rows[[int(np.argmax(prices))]], float(np.mean(prices)))

    def delete(
        self, kind: str, rows: NDArray[np.intp], candidates: float | None = None
    ) -> Deletion:
        """Delete the records at `rows` together."""
        digests = self.material.digests[rows]
        seconds, change = timed(lambda: self.forest.delete(digests))
        self.held[rows] = False
        return Deletion(
            kind=kind,
            records=change.records,
            rows=change.rows_regrown,
            subtrees=change.subtrees_regrown,
            seconds=seconds,
            refit_rows=self.forest.rows,
            candidates=candidates,
        )


def measure_reference(data: StudyData, grid: ForestGrid, number: int) -> dict[str, float]:  # noqa: ARG001
    """Return accuracy and fit seconds of scikit-learn's random forest of equal size.

    Equal in trees, depth, features tried per node, records per leaf and share of the records;
    it tries every threshold of the records and draws records with replacement, as it does
    unless told otherwise.
    """
    from sklearn.ensemble import RandomForestClassifier

    settings, inputs = data.settings.model.forest, flat(data.records)
    columns = inputs.shape[1]
    forest = RandomForestClassifier(
        settings.trees,
        max_depth=settings.max_depth,
        max_features=min(settings.features, columns) if settings.features else "sqrt",
        min_samples_leaf=settings.min_leaf,
        max_samples=settings.share if settings.share < 1 else None,
        n_jobs=1,
        random_state=(data.settings.run.seed + number) % 2**32,
    )
    seconds, _ = timed(lambda: forest.fit(inputs, data.records.labels))
    right = forest.predict(flat(data.test)) == data.test.labels
    return {"accuracy": float(right.mean()), "fit_seconds": seconds}


def timed(act: Callable[[], R]) -> tuple[float, R]:
    """Return the processor seconds this thread took for `act`, and its result."""
    start = time.thread_time()
    result = act()
    return time.thread_time() - start, result
