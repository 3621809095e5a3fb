"""One writer at a time, across processes. An OS lock, so a killed process never leaves it taken.

Order when several are taken: seal, then inbox, then requests or ledger.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import filelock

from forgetflow.errors import ForgetflowError

PATIENCE = 120.0
"""Seconds to wait for another writer before giving up."""


LockName = Literal["seal", "inbox", "requests", "ledger", "lineage", "mlflow"]


@contextmanager
def locked(folder: Path, name: LockName) -> Iterator[None]:
    """Hold the lock `name` of a folder of locks, waiting for whoever has it.

    Raises:
        ForgetflowError: another process kept the lock for longer than `PATIENCE`.
    """
    path = folder / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, timeout=PATIENCE, poll_interval=0.01)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ForgetflowError(
            f"another process has held {path} for {PATIENCE:.0f} s: let it finish and try again"
        ) from None
    try:
        yield
    finally:
        lock.release()
