"""Random choices without a generator: each is a hash of where in the forest it is made.

A node is known by its path from the root of its tree; `child_key` turns the path into 64 bits.
From that key alone follow the orders in which features and thresholds are tried. Nothing
depends on what was drawn before, so a node that exists in two forests makes the same choices in
both, whatever happened to either of them.
"""

import numpy as np
from numpy.typing import NDArray

from forgetflow.forest.jit import jit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
SIDE = np.uint64(0xD1B54A32D192ED03)


@jit
def mix(x: np.uint64) -> np.uint64:
    """Return the splitmix64 hash of 64 bits (Steele, Lea and Flood 2014); a bijection."""
    x = x + GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@jit
def child_key(key: np.uint64, right: int) -> np.uint64:
    """Return the key of the left (0) or right (1) child of the node with `key`."""
    return mix(key ^ (SIDE * np.uint64(1 + right)))


@jit
def feature_key(key: np.uint64, feature: int) -> np.uint64:
    """Return the key from which a node draws the thresholds of `feature`."""
    return mix(key + GOLDEN * np.uint64(feature + 1))


@jit
def nth(key: np.uint64, bits: int, turn: int) -> int:
    """Return which of 2**bits items is tried at `turn`: a permutation drawn by `key`.

    Two rounds of an odd multiplication, an addition and a shift, each a bijection on `bits`
    bits. Items that do not exist (2**bits is rounded up) are for the caller to skip.

    Args:
        key: a hash, read as four numbers of 16 bits.
        bits: 0 to 16.
        turn: 0 to 2**bits - 1.
    """
    one = np.uint64(1)
    mask = (one << np.uint64(bits)) - one
    half = np.uint64((bits + 1) // 2)
    x = np.uint64(turn)
    x = (x * (key | one) + (key >> np.uint64(16))) & mask
    x ^= x >> half
    x = (x * ((key >> np.uint64(32)) | one) + (key >> np.uint64(48))) & mask
    return np.int64(x ^ (x >> half))  # type: ignore[return-value]


@jit
def drawn(
    heads: NDArray[np.uint64], places: NDArray[np.int32], key: np.uint64, limit: np.uint64
) -> NDArray[np.int32]:
    """Return those of `places` whose record hashes below `limit`: a share drawn by digest.

    Args:
        heads: uint64 (N,), the first 8 bytes of each digest.
        places: int32 (n,).
        key: key of the drawing.
        limit: the share times 2**64.
    """
    out = np.empty(len(places), np.int32)
    n = 0
    for i in range(len(places)):
        if mix(heads[places[i]] ^ key) < limit:
            out[n] = places[i]
            n += 1
    return out[:n]
