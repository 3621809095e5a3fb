"""No attribution: what is left where a model has no gradients to attribute by."""

import numpy as np
from numpy.typing import NDArray

from forgetflow.attribution.task import Task
from forgetflow.config.attribution import AttributionSettings


def scores(task: Task, settings: AttributionSettings) -> NDArray[np.float32]:  # noqa: ARG001
    """Return no score at all, float32 (0, 0) for the empty task that it is given."""
    return np.empty((len(task.train), len(task.queries)), np.float32)
