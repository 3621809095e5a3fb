"""Hand-made records and models: a record's only feature is its row in a model's table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from forgetflow.config.settings import Settings
from forgetflow.evaluation.context import EvaluationContext
from forgetflow.records.record_set import RecordSet, build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.training.card import ModelCard
from forgetflow.training.promise import Exact

MakeRecords = Callable[..., RecordSet]


@dataclass
class TableModel:
    """Returns row i of `table` for a record whose feature is i."""

    table: NDArray[np.float64]
    calls: list[int] = field(default_factory=list)

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        self.calls.append(len(inputs))
        return self.table[inputs[:, 0].astype(int)]


@pytest.fixture
def make_records() -> MakeRecords:
    """Return a maker of records with given labels whose features count up from `start`."""

    def make(labels: Sequence[int], start: int = 0, classes: int = 2) -> RecordSet:
        count = len(labels)
        schema = RecordSchema(
            tuple(f"class-{index}" for index in range(classes)), TensorFeatures((1,), "float32")
        )
        return build_record_set(
            schema,
            record_ids=[f"record-{start + i:05d}" for i in range(count)],
            subject_ids=[f"subject-{start + i:05d}" for i in range(count)],
            labels=labels,
            features=np.arange(start, start + count, dtype=np.float32).reshape(-1, 1),
            where="test",
        )

    return make


@pytest.fixture
def model_with_losses() -> Callable[..., TableModel]:
    """Return a maker of two-class models that have given losses on records of given labels."""

    def make(labels: Sequence[int], losses: Sequence[float]) -> TableModel:
        own = np.exp(-np.asarray(losses, np.float64))
        table = np.empty((len(own), 2))
        rows = np.arange(len(own))
        table[rows, np.asarray(labels)] = own
        table[rows, 1 - np.asarray(labels)] = 1 - own
        return TableModel(table)

    return make


@pytest.fixture
def attacked(
    make_records: MakeRecords, model_with_losses: Callable[..., TableModel]
) -> Callable[..., EvaluationContext]:
    """Return a maker of contexts with 20 forget and 20 test records and chosen losses."""

    def make(settings: dict[str, Any] | None = None, **losses: Any) -> EvaluationContext:
        labels = [0, 1] * 10
        models = {
            name: model_with_losses(labels * 2, np.concatenate(sides))
            for name, sides in losses.items()
        }
        sets = {"forget": make_records(labels), "test": make_records(labels, start=20)}
        return EvaluationContext(models, sets, Settings.model_validate(settings or {}))

    return make


@pytest.fixture
def make_card() -> Callable[..., ModelCard]:
    """Return a maker of model cards."""

    def make(generation: str = "original", **changes: Any) -> ModelCard:
        values: dict[str, Any] = {
            "generation": generation,
            "parent": None,
            "method": "build",
            "promise": Exact(),
            "aggregation": "mean",
            "class_names": ("a", "b"),
            "input_shape": (1,),
            "architecture": {},
            "records": 100,
            "retain_digest": "0" * 64,
            "forgotten": 0,
            "manifests": (),
            "environment": {},
            "recipe": "0" * 64,
            "constituents": (),
            "features": TensorFeatures((1,), "float32"),
        }
        return ModelCard(**(values | changes))

    return make
