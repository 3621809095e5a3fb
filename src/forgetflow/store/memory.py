"""A store in memory, for checkpoints that nobody needs afterwards: members of a pool."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from forgetflow.errors import VerdictError
from forgetflow.keys.digests import Digests, set_digest
from forgetflow.store.receipt import Receipt
from forgetflow.store.store import Store, to_bytes


class MemoryStore(Store):
    """`Store` without a folder. Training leaves finished states here and nothing else."""

    keeps_only_finished = True

    def __init__(self) -> None:
        super().__init__(Path())
        self._data: dict[str, tuple[Receipt, bytes]] = {}
        self._members: dict[str, Digests] = {}

    def put(
        self,
        key: str,
        tensors: Mapping[str, Tensor],
        *,
        kind: str,
        learned_from: Iterable[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Keep `tensors` under `key` and return the receipt."""
        data = to_bytes(tensors)
        receipt = Receipt.of(data, key, kind, learned_from, facts)
        self._data[key] = (receipt, data)
        return receipt

    def receipt(self, key: str) -> Receipt | None:
        """Return the receipt of `key`, or None."""
        return self._data[key][0] if key in self._data else None

    def remove(self, key: str) -> None:
        """Drop the object; removing what is not there is a no-op."""
        self._data.pop(key, None)

    def receipts(self) -> Iterator[Receipt]:
        """Yield every receipt, in key order."""
        for key in sorted(self._data):
            yield self._data[key][0]

    def put_members(self, digests: Digests) -> str:
        """Remember a record set and return its `set_digest`."""
        name = set_digest(digests)
        self._members[name] = digests
        return name

    def members(self, name: str) -> Digests:
        """Return the record digests of a set, uint8 (N, 32).

        Raises:
            VerdictError: the set is unknown.
        """
        if name not in self._members:
            raise VerdictError(f"record set {name[:12]} is not in the store")
        return self._members[name]

    def knows(self, name: str) -> bool:
        """Return whether a record set is here."""
        return name in self._members

    def _bytes(self, receipt: Receipt) -> bytes | None:
        return self._data[receipt.key][1] if receipt.key in self._data else None
