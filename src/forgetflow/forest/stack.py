"""The stack on which trees are walked depth first: five numbers an entry, the first a key."""

import numpy as np
from numpy.typing import NDArray

from forgetflow.forest.jit import jit

Stack = NDArray[np.int64]


@jit
def new_stack(size: int) -> Stack:
    """Return room for `size` entries."""
    return np.empty((size, 5), np.int64)


@jit
def push(stack: Stack, top: int, key: np.uint64, a: int, b: int, c: int, d: int) -> int:
    """Write entry `top`; return the number of entries."""
    stack[top, 0] = np.int64(key)  # the same 64 bits
    stack[top, 1], stack[top, 2], stack[top, 3], stack[top, 4] = a, b, c, d
    return top + 1


@jit
def pop(stack: Stack, top: int) -> tuple[np.uint64, int, int, int, int]:
    """Return entry `top`."""
    return np.uint64(stack[top, 0]), stack[top, 1], stack[top, 2], stack[top, 3], stack[top, 4]
