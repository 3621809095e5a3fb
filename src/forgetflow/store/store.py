"""Content-addressed store of checkpoints: put, get, verify, remove by key.

A key says what an object was made from; the receipt beside it says which bytes it has:

    store/objects/ab/<key>.safetensors    tensors, never pickle
    store/objects/ab/<key>.json           receipt: sha256, size, what it learned from, facts
    store/members/ab/<set digest>         the record digests of one set, 32 bytes each

A path proves nothing: `get` and `verify` read the bytes and compare their digest. Writing is
atomic (new file, fsync, rename), the receipt goes last, so an object without a valid receipt
does not exist. `members` is the index behind "which objects learned from these records?".

Stability: the layout is read by erasure and by auditors; change it only with a migration.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor

from forgetflow.errors import VerdictError
from forgetflow.files.atomic import write_atomically
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import Digests, canonical_order, set_digest
from forgetflow.store.receipt import Receipt


class Store:
    """Checkpoints under content keys in the folder `root`.

    Attributes:
        keeps_only_finished: training leaves neither states between slices nor recovery points.
    """

    keeps_only_finished = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(
        self,
        key: str,
        tensors: Mapping[str, Tensor],
        *,
        kind: str,
        learned_from: Iterable[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Store `tensors` under `key`, replacing what was there, and return the receipt."""
        data = to_bytes(tensors)
        receipt = Receipt.of(data, key, kind, learned_from, facts)
        path = self._path(key, "safetensors")
        self._path(key, "json").unlink(missing_ok=True)
        write_atomically(path, data)
        write_atomically(
            self._path(key, "json"), json.dumps(to_json(receipt), sort_keys=True).encode()
        )
        return receipt

    def receipt(self, key: str) -> Receipt | None:
        """Return the receipt of `key`, or None when there is none that can be read."""
        try:
            found = json.loads(self._path(key, "json").read_bytes())
            receipt = from_json(Receipt, {"format": 1, **found})  # the first had no format
        except (FileNotFoundError, ValueError, TypeError):  # no JSON, or not UTF-8
            return None
        return receipt if receipt.key == key else None

    def verify(self, key: str) -> Receipt | None:
        """Return the receipt if the bytes of `key` are there and match it, else None."""
        receipt = self.receipt(key)
        return receipt if receipt and self._bytes(receipt) is not None else None

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors of `key`, freshly allocated, or None if lost or corrupted."""
        receipt = self.receipt(key)
        data = self._bytes(receipt) if receipt else None
        if data is None:
            return None
        # Copies, because a view into the file buffer may be unaligned, and alignment can
        # select another vector kernel and so change bits.
        return {name: tensor.clone() for name, tensor in safetensors.torch.load(data).items()}

    def require(self, key: str) -> dict[str, Tensor]:
        """Return the tensors of `key`.

        Raises:
            VerdictError: the object is missing or its bytes do not match the receipt.
        """
        tensors = self.get(key)
        if tensors is None:
            raise VerdictError(
                f"store object {key[:12]} is missing or corrupted; "
                "run `dvc repro --force` to rebuild it"
            )
        return tensors

    def remove(self, key: str) -> None:
        """Delete the object and its receipt; removing what is not there is a no-op."""
        self._path(key, "json").unlink(missing_ok=True)
        self._path(key, "safetensors").unlink(missing_ok=True)

    def receipts(self) -> Iterator[Receipt]:
        """Yield every readable receipt, in key order."""
        for path in sorted(self.root.glob("objects/*/*.json")):
            receipt = self.receipt(path.stem)
            if receipt is not None:
                yield receipt

    def put_members(self, digests: Digests) -> str:
        """Remember a record set, uint8 (N, 32), and return its `set_digest`."""
        name = set_digest(digests)
        path = self._members_path(name)
        data = digests[canonical_order(digests)].tobytes()
        if not path.is_file() or path.read_bytes() != data:
            write_atomically(path, data)
        return name

    def knows(self, name: str) -> bool:
        """Return whether a record set is in the index."""
        return self._members_path(name).is_file()

    def members(self, name: str) -> Digests:
        """Return the record digests of a set, uint8 (N, 32).

        Raises:
            VerdictError: the set is unknown or its file was altered.
        """
        try:
            data = self._members_path(name).read_bytes()
            digests = np.frombuffer(data, np.uint8).reshape(-1, 32)
        except (FileNotFoundError, ValueError):
            raise VerdictError(f"record set {name[:12]} is not in the store") from None
        if set_digest(digests) != name:
            raise VerdictError(f"record set {name[:12]} was altered in the store")
        return digests

    def learned_from(self, digests: Digests) -> list[Receipt]:
        """Return the receipts of all objects that learned from any of these records.

        Args:
            digests: uint8 (K, 32).
        """
        wanted = {row.tobytes() for row in digests}
        touched: dict[str, bool] = {}

        def touches(name: str) -> bool:
            if name not in touched:
                touched[name] = any(row.tobytes() in wanted for row in self.members(name))
            return touched[name]

        return [r for r in self.receipts() if any(touches(name) for name in r.learned_from)]

    def _bytes(self, receipt: Receipt) -> bytes | None:
        try:
            data = self._path(receipt.key, "safetensors").read_bytes()
        except FileNotFoundError:
            return None
        return data if hashlib.sha256(data).hexdigest() == receipt.sha256 else None

    def _path(self, key: str, suffix: str) -> Path:
        return self.root / "objects" / key[:2] / f"{key}.{suffix}"

    def _members_path(self, name: str) -> Path:
        return self.root / "members" / name[:2] / name


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as a safetensors file."""
    return safetensors.torch.save({n: t.detach().cpu().contiguous() for n, t in tensors.items()})
