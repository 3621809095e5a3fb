"""Machine unlearning as a data pipeline: a model is a pure function of the records that are left.

>>> import forgetflow
>>> pipeline = forgetflow.Pipeline.create(
...     "digits", partition={"shards": 4, "slices": 2}, train={"epochs": 8}
... )
>>> pipeline.build().records  # scikit-learn's digits; a fifth of the writers are the test set
1382
>>> request = pipeline.request(subject="writer-007", reason="asked to be forgotten")
>>> batch = pipeline.seal()
>>> sorted(pipeline.plan(batch).shards)  # who is affected: one of four shards
[0]
>>> pipeline.forget(batch).guarantee.value
'exact'
>>> pipeline.verify(batch).passed  # trained again from nothing, byte for byte
True
>>> [(card.generation, card.records) for card in pipeline.lineage()]
[('original', 1382), ('b1', 1377)]

The same project folder can be driven by `dvc repro`, by Prefect flows and from the command line.

Importing the package pins the numeric libraries to reproducible code paths. It has to
happen here because MKL and cuBLAS read these variables once, when torch is first imported.
A value the user has set wins; it becomes part of every content key (`training.environment`).
"""

import os
import sys
from typing import TYPE_CHECKING, Any

from forgetflow.training.pinned import PINNED

if TYPE_CHECKING:
    from forgetflow.api.pipeline import Pipeline

__version__ = "0.1.0"
__all__ = ["Pipeline", "__version__"]

if "torch" not in sys.modules:
    for _name, _value in PINNED.items():
        os.environ.setdefault(_name, _value)


def __getattr__(name: str) -> Any:
    """Load the pipeline when it is first asked for: the command line does without it."""
    if name == "Pipeline":
        from forgetflow.api.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module 'forgetflow' has no attribute '{name}'")
