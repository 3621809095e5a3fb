"""Digests and keyed hashes: the names under which everything is stored.

Three families, never mixed:

- `digest_of` names a JSON-like value (settings, receipts) by its canonical form;
- `set_digest` names a set of records by their digests, whatever their order;
- `keyed_hash` and `keyed_order` turn (seed, stable ids) into placement, seeds and data order.

Nothing here looks at positions, file names or clocks.

Shapes: N records; a record digest is 32 bytes, so N digests are uint8 (N, 32).
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint8]
"""Record digests, uint8 (N, 32)."""


def canonical_json(value: Any) -> bytes:
    """Return the one JSON encoding of `value`: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(value: Any) -> str:
    """Return the sha256 hex digest of a JSON-like value."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def bytes_digest(data: bytes) -> str:
    """Return the sha256 hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def canonical_order(digests: Digests) -> NDArray[np.intp]:
    """Return the indices that sort records by digest: the order nobody has to agree on."""
    rows = np.ascontiguousarray(digests).view("S32").ravel() if len(digests) else np.empty(0, "S32")
    # "S32" strips trailing NUL bytes in comparisons, which cannot change an order.
    return np.argsort(rows, kind="stable")


def set_digest(digests: Digests) -> str:
    """Return the digest of a set of records; the order of the rows does not matter."""
    ordered = np.ascontiguousarray(digests[canonical_order(digests)])
    return hashlib.sha256(b"records:%d:" % len(ordered) + ordered.tobytes()).hexdigest()


def keyed_hash(seed: int, domain: str, *parts: str | int) -> int:
    """Return a 64-bit hash of `parts` under `seed`, separate for every `domain`.

    Parts are length-prefixed, so ("ab", "c") and ("a", "bc") differ.
    """
    message = b"".join(b"%d:%s" % (len(part), part) for part in (str(p).encode() for p in parts))
    key = f"{seed}:{domain}".encode()
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    return int.from_bytes(hashlib.blake2b(message, digest_size=8, key=key).digest(), "big")


def keyed_hashes(seed: int, domain: str, ids: Iterable[str]) -> NDArray[np.uint64]:
    """Return `keyed_hash(seed, domain, id)` for every id, as uint64 (N,)."""
    return np.fromiter((keyed_hash(seed, domain, one) for one in ids), dtype=np.uint64)


def keyed_order(digests: Digests, epoch_seed: int) -> NDArray[np.intp]:
    """Return a pseudo-random visiting order of records that depends on their digests alone.

    Record i is placed by mix(first 8 digest bytes xor epoch_seed). Rows must already be in
    `canonical_order`, so that ties (two digests sharing 8 bytes) fall the same way whatever
    else is in the set. Removing a record keeps the relative order of all others.

    Args:
        digests: uint8 (N, 32), canonically ordered.
        epoch_seed: 64-bit value, from `keyed_hash`.
    """
    if len(digests) == 0:
        return np.empty(0, np.intp)
    head = np.ascontiguousarray(digests[:, :8]).view(">u8").ravel().astype(np.uint64)
    place = _mix(head ^ np.uint64(epoch_seed))
    order = np.argsort(place)
    found = place[order]
    if (found[1:] == found[:-1]).any():  # rare, and a stable sort takes several times as long
        return np.argsort(place, kind="stable")
    return order


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finalise 64-bit values (splitmix64, Steele et al. 2014); arithmetic wraps on purpose."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
