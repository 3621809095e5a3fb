"""Machine unlearning as a data pipeline: a model is a pure function of the records that are left.

Importing the package pins the numeric libraries to reproducible code paths. It has to
happen here because MKL and cuBLAS read these variables once, when torch is first imported.
A value the user has set wins; it becomes part of every content key (`training.environment`).
"""

import os
import sys

__version__ = "0.1.0"

PINNED = {"MKL_CBWR": "AUTO,STRICT", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Variables that select reproducible kernels, and the values set unless the user chose others."""

if "torch" not in sys.modules:
    for _name, _value in PINNED.items():
        os.environ.setdefault(_name, _value)
