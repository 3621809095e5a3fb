"""No attribution: what is left where a model has no gradients to attribute by."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgetflow.attribution.protocol import Prepared
from forgetflow.attribution.task import Source, Task
from forgetflow.config.attribution import AttributionSettings


@dataclass(frozen=True)
class NoAttribution:
    """Explains nothing, and is only asked about nothing."""

    name: str = "none"
    sources: frozenset[Source] = frozenset()

    def prepare(self, task: Task, settings: AttributionSettings) -> Prepared:  # noqa: ARG002
        """There is nothing to prepare."""
        return {}

    def scores(
        self,
        task: Task,
        classes: NDArray[np.int64],
        prepared: Prepared,  # noqa: ARG002
        settings: AttributionSettings,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Return no score at all, float32 (0, 0, K) for the empty task that it is given."""
        return np.empty((len(task.train), *classes.shape), np.float32)
