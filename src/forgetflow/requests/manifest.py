"""The sealed manifest of one batch: which records are to be forgotten. Immutable.

`data/forget/<batch>.parquet` has one row per record, sorted by record id:

    record_id   string      what to forget
    digest      binary[32]  of the record's content, as it was in the training set
    request_id  string      the request that brought the record into the batch

and, under the metadata key `forgetflow`, the facts of the batch as JSON. The manifest's digest
covers rows and facts, never file bytes: another pyarrow version writes other bytes.

Stability: read by erasure and by auditors; a change of layout is a new `MANIFEST_VERSION`.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forgetflow.config.project import Project
from forgetflow.errors import VerdictError
from forgetflow.files.atomic import write_atomically
from forgetflow.files.parquet import read_parquet
from forgetflow.keys.digests import Digests, canonical_json, digest_of
from forgetflow.requests.times import to_text, to_utc

MANIFEST_VERSION = 1
_METADATA_KEY = b"forgetflow"
_SCHEMA = pa.schema(
    [
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("digest", pa.binary(32), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, eq=False)
class Manifest:
    """K records of one batch.

    Attributes:
        batch: batch id, `b1`, `b2`, ...
        parent: the batch before this one, or `original`.
        method: unlearning method the batch was sealed for.
        created: when it was sealed, UTC.
        due_at: the earliest due date of its requests, UTC.
        record_ids: K ids, sorted.
        digests: content digests, uint8 (K, 32).
        request_ids: for each record the request that brought it in, K ids.
    """

    batch: str
    parent: str
    method: str
    created: datetime
    due_at: datetime
    record_ids: tuple[str, ...]
    digests: Digests
    request_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.record_ids)

    @cached_property
    def requests(self) -> frozenset[str]:
        """Ids of the requests that brought records in."""
        return frozenset(self.request_ids)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the file's metadata says, without the digest. No personal data."""
        return {
            "version": MANIFEST_VERSION,
            "batch": self.batch,
            "parent": self.parent,
            "method": self.method,
            "created": to_text(self.created),
            "due_at": to_text(self.due_at),
            "counts": {"records": len(self), "requests": len(self.requests)},
        }

    @cached_property
    def digest(self) -> str:
        """Digest over facts and rows, 64 hex digits."""
        digests = [row.tobytes().hex() for row in self.digests]
        rows = zip(self.record_ids, digests, self.request_ids, strict=True)
        return digest_of({"facts": self.facts, "rows": [list(row) for row in rows]})

    def same_content(self, other: "Manifest") -> bool:
        """Return whether both freeze the same thing, whenever they were created."""
        return replace(other, created=self.created).digest == self.digest


def manifest_path(project: Project, batch: str) -> Path:
    """Return where the manifest of `batch` lies."""
    return project.forget / f"{batch}.parquet"


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest; writing the same one again is a no-op.

    Raises:
        VerdictError: another manifest is there already; it is left as it is.
    """
    if path.exists():
        read_manifest(path, manifest.digest)
        return
    table = pa.table(
        {
            "record_id": list(manifest.record_ids),
            "digest": [row.tobytes() for row in manifest.digests],
            "request_id": list(manifest.request_ids),
        },
        schema=_SCHEMA.with_metadata(
            {_METADATA_KEY: canonical_json(manifest.facts | {"digest": manifest.digest})}
        ),
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())


def read_manifest(path: Path, expected_digest: str | None = None) -> Manifest:
    """Read a manifest and check it against its own digest and, if given, the expected one.

    Raises:
        VerdictError: the file is missing, renamed, unreadable, altered, or not the expected one.
    """
    try:
        table = read_parquet(io.BytesIO(path.read_bytes()))
        facts = json.loads((table.schema.metadata or {})[_METADATA_KEY])
        manifest = _parse(table, facts)
        genuine = facts == manifest.facts | {"digest": manifest.digest}
    except FileNotFoundError:
        raise VerdictError(f"{path} is missing: run `dvc checkout` or `dvc pull`") from None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        raise VerdictError(f"{path} is no manifest: restore it with `dvc checkout`") from None
    if not genuine:
        raise VerdictError(f"{path} was altered: restore it with `dvc checkout`")
    if manifest.batch != path.stem:
        raise VerdictError(f"{path} is the manifest of {manifest.batch} under another name")
    if expected_digest not in (None, manifest.digest):
        raise VerdictError(
            f"{path} is not the manifest that was sealed as {manifest.batch}: its digest differs"
        )
    return manifest


def _parse(table: pa.Table, facts: Mapping[str, Any]) -> Manifest:
    if facts["version"] != MANIFEST_VERSION:
        raise VerdictError(
            f"manifest of version {facts['version']}, but this forgetflow reads version "
            f"{MANIFEST_VERSION}: install the version that sealed it"
        )
    if not table.schema.equals(_SCHEMA):
        raise ValueError("other columns than a manifest has")
    raw = b"".join(table["digest"].to_pylist())
    return Manifest(
        batch=facts["batch"],
        parent=facts["parent"],
        method=facts["method"],
        created=to_utc(facts["created"]),
        due_at=to_utc(facts["due_at"]),
        record_ids=tuple(table["record_id"].to_pylist()),
        digests=np.frombuffer(raw, np.uint8).reshape(-1, 32),
        request_ids=tuple(table["request_id"].to_pylist()),
    )
