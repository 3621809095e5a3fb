"""Variables of the process that select reproducible numeric kernels."""

PINNED = {"MKL_CBWR": "AUTO,STRICT", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Name -> value set unless the user chose another; both are part of every content key."""
