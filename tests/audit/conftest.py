"""Hand-made pools: a record's only feature is its row in each member's table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from forgetflow.audit.context import FLOOR, ORACLE, AuditContext
from forgetflow.config.evaluate import AuditSettings
from forgetflow.records.record_set import RecordSet, build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures
from forgetflow.training.abilities import Ability


class TableNetwork(nn.Module):
    """Log-probabilities of record i are row i of a trainable table."""

    def __init__(self, table: NDArray[np.float64]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.from_numpy(np.log(np.maximum(table, 1e-30))).float())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.table[inputs[:, 0].long()].log_softmax(dim=1)


@dataclass(eq=False)
class TablePool:
    """Member m returns row i of tables[m] for a record whose feature is i; tables (M, N, C)."""

    tables: NDArray[np.float64]
    votes: int | None = None
    lacks: Mapping[Ability, str] = field(default_factory=dict)

    @property
    def members(self) -> int:
        return len(self.tables)

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.tables[:, inputs[:, 0].astype(int)]

    def network(self, member: int) -> nn.Module:
        return TableNetwork(self.tables[member]).eval()


def records(labels: ArrayLike, start: int, classes: int) -> RecordSet:
    """Return records with given labels whose features count up from `start`."""
    labels = np.asarray(labels)
    schema = RecordSchema(
        tuple(f"class-{index}" for index in range(classes)), TensorFeatures((1,), "float32")
    )
    names = [f"{start + i:05d}" for i in range(len(labels))]
    return build_record_set(
        schema,
        record_ids=[f"record-{name}" for name in names],
        subject_ids=[f"subject-{name}" for name in names],
        labels=[int(one) for one in labels],
        features=np.arange(start, start + len(labels), dtype=np.float32).reshape(-1, 1),
        where="test",
    )


@pytest.fixture
def make_context() -> Callable[..., AuditContext]:
    """Return a maker of contexts from tables (M, N, C) per contender.

    Rows of a table are the retain records, then the forget records, then the test records; the
    labels of the three sets are given in that order. `oracle` and `second_oracle` are needed.
    `votes` and `lacks` are those of every pool.
    """

    def make(
        retain: ArrayLike,
        forget: ArrayLike,
        test: ArrayLike,
        *,
        settings: dict[str, Any] | None = None,
        untrained: NDArray[np.float64] | None = None,
        votes: int | None = None,
        lacks: Mapping[Ability, str] | None = None,
        **tables: NDArray[np.float64],
    ) -> AuditContext:
        first = next(iter(tables.values()))
        classes = first.shape[2]
        sets, start = {}, 0
        for name, labels in (("retain", retain), ("forget", forget), ("test", test)):
            sets[name] = records(labels, start, classes)
            start += len(np.asarray(labels))
        pools = {
            name.replace("second_oracle", FLOOR): TablePool(table, votes, lacks or {})
            for name, table in tables.items()
        }
        ordered = {ORACLE: pools.pop(ORACLE), FLOOR: pools.pop(FLOOR), **pools}
        uniform = np.full((1, *first.shape[1:]), 1 / classes)
        return AuditContext(
            ordered,
            sets,
            TablePool(uniform if untrained is None else untrained),
            AuditSettings.model_validate(settings or {}),
        )

    return make
