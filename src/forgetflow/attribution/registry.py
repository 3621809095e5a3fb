"""Attributors: one file each in this room, one line here.

Every engine follows one sign convention: a positive score says that learning from the record
raises the margin of the query.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from forgetflow.attribution import grad_dot, none
from forgetflow.attribution.task import Task
from forgetflow.config.attribution import AttributionSettings

Engine = Callable[[Task, AttributionSettings], NDArray[np.float32]]
"""Returns float32 (N, Q): rows as `Task.train`, columns as `Task.queries`."""

ENGINES: dict[str, Engine] = {"grad_dot": grad_dot.scores, "none": none.scores}
