"""Content keys of one constituent: a digest chain over its slices.

    recipe ── k0 ──► k1 = H(k0, slice 1's records) ──► k2 = H(k1, slice 2's records) ──► ...

Key r names the state after slice r and depends on everything that made it: settings, seed, code,
numeric environment and the records of slices 1 to r. Deleting a record of slice r leaves keys
before r as they were (cache hits) and changes key r and all after it (to be trained). There is
no other logic of retraining.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from forgetflow.keys.digests import Digests, digest_of, set_digest
from forgetflow.records.record_set import RecordSet


@dataclass(frozen=True, eq=False)
class Samples:
    """Records as a learner sees them.

    Attributes:
        inputs: float32 (N, *input_shape).
        labels: class indices int64 (N,), or None where the learner has no right to them.
        digests: uint8 (N, 32).
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    digests: Digests

    @classmethod
    def of(cls, records: RecordSet, where: NDArray[np.intp], *, labels: bool = True) -> "Samples":
        """Return the records at `where`, with or without their classes."""
        known = records.labels[where] if labels else None
        return cls(records.inputs[where], known, records.digests[where])

    def __len__(self) -> int:
        return len(self.digests)


@dataclass(frozen=True, eq=False)
class Chain:
    """The training of one constituent: R slices, one content key after each.

    Attributes:
        shard: number of the shard.
        slices: the records of each slice, in canonical order.
        recipe_digest: digest of everything else.
    """

    shard: int
    slices: Sequence[Samples]
    recipe_digest: str

    @cached_property
    def slice_digests(self) -> list[str]:
        """Digest of each slice's record set."""
        return [set_digest(part.digests) for part in self.slices]

    @cached_property
    def keys(self) -> list[str]:
        """Content key of the state after each slice."""
        return chain_keys(self.recipe_digest, self.shard, self.slice_digests)

    @property
    def key(self) -> str:
        """Content key of the finished constituent."""
        return self.keys[-1]

    @property
    def records(self) -> int:
        """Number of records the constituent learns from."""
        return sum(len(part) for part in self.slices)


def chain_keys(recipe_digest: str, shard: int, slice_digests: Sequence[str]) -> list[str]:
    """Return the content keys of a chain from digests alone."""
    key = digest_of(["chain", recipe_digest, shard, len(slice_digests)])
    keys = []
    for number, members in enumerate(slice_digests):
        key = digest_of(["slice", key, number, members])
        keys.append(key)
    return keys
