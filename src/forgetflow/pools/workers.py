"""Warm one-thread processes: importing torch costs more than training a hundred small models.

Started once per process and kept. They inherit the numeric environment that `forgetflow` sets
before torch is imported, so their bits are those of this process.
"""

import atexit
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import cache


@cache
def warm_workers(count: int) -> ProcessPoolExecutor:
    """Return an executor of `count` processes, the same one at every call.

    Spawned, not forked: a fork copies locks that torch's threads may hold.
    """
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_prepare)
    atexit.register(executor.shutdown, wait=False, cancel_futures=True)
    return executor


def _prepare() -> None:
    import torch

    torch.set_num_threads(1)
