"""What is known of a stored object without opening it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

FORMAT = 2


@dataclass(frozen=True)
class Receipt:
    """What is known of a stored object without opening it. Holds counts and digests only.

    Attributes:
        key: content key, 64 hex digits.
        sha256: digest of the stored bytes.
        size: bytes.
        kind: `state` (a trained slice), `progress` (recovery point inside a slice), ...
        learned_from: digests of the record sets that influenced the object.
        facts: numbers for cost and lineage (steps, samples, seconds).
        format: version of what wrote it. Objects of others are under keys that nobody asks for,
            but what they learned from must still be found.
    """

    key: str
    sha256: str
    size: int
    kind: str
    learned_from: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @classmethod
    def of(
        cls,
        data: bytes,
        key: str,
        kind: str,
        learned_from: Iterable[str],
        facts: Mapping[str, Any] | None,
    ) -> "Receipt":
        """Describe the bytes of an object."""
        digest = hashlib.sha256(data).hexdigest()
        return cls(key, digest, len(data), kind, tuple(learned_from), dict(facts or {}))
