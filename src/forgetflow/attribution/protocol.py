"""What an attributor is: how much each training record moves each output of each query.

Every attributor follows one sign convention: a positive score says that learning from the record
raises the margin of that class on the query. It declares its sources and is handed only those.

Shapes: N train records, Q queries, K classes explained per query.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forgetflow.attribution.task import Source, Task
from forgetflow.config.attribution import AttributionSettings

Prepared = Mapping[str, NDArray[np.generic]]
"""What an attributor works out before it knows the queries, by name."""


class Attributor(Protocol):
    """One file, one registry line, one test."""

    @property
    def name(self) -> str:
        """What it is called in `attribution.method`."""

    @property
    def sources(self) -> frozenset[Source]:
        """What it looks at besides records."""

    def prepare(self, task: Task, settings: AttributionSettings) -> Prepared:
        """Return what does not depend on the queries; empty where there is nothing of the kind."""

    def scores(
        self,
        task: Task,
        classes: NDArray[np.int64],
        prepared: Prepared,
        settings: AttributionSettings,
    ) -> NDArray[np.float32]:
        """Return how much each record raises each margin, float32 (N, Q, K).

        Args:
            task: rows as `task.train`, columns as `task.queries`.
            classes: whose margins are explained, (Q, K): all C, or the query's own alone.
            prepared: from `prepare`.
            settings: the `attribution` block.
        """
