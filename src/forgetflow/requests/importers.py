"""Requests from files: JSON, JSONL, CSV and Parquet, in our field names or OpenDSR's.

Our field names are those of `Request`. OpenDSR (formerly OpenGDPR) names a request by
`subject_request_id`, `subject_request_type`, `submitted_time` and `subject_identities`; both
its spellings of identities are read: the list of version 1 (`identity_type`,
`identity_value`) and the mapping of version 3 (type -> {"value": ...}).
https://github.com/opengdpr/OpenDSR/blob/master/specification.md, sections 5.3 and 7.1

A file is taken in as a whole or not at all. Messages name file, row and field, never a value.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from forgetflow.errors import InputError
from forgetflow.files.parquet import read_parquet
from forgetflow.records.schema import RecordSchema
from forgetflow.requests.request import Request, make_request
from forgetflow.requests.selectors import check_selector

Row = tuple[int, Any]
"""Row number, from 1 (a line number for JSONL; the header of a CSV file does not count)."""

OPENDSR_MARKS = frozenset({"subject_request_id", "subject_request_type", "subject_identities"})


def read_requests(
    path: Path,
    *,
    due_days: int,
    now: datetime,
    pseudonymise: Callable[[str], str],
    schema: RecordSchema | None = None,
) -> list[Request]:
    """Read every request of a file, in file order.

    Args:
        path: file whose suffix is one of `READERS`.
        due_days: see `make_request`.
        now: see `make_request`.
        pseudonymise: see `make_request`.
        schema: when given, labels and expressions are checked against it.

    Raises:
        InputError: the file cannot be read, holds no request, or one row is unusable; the
            message names file and row.
    """
    try:
        reader = READERS[path.suffix.lower()]
    except KeyError:
        raise InputError(f"{path}: unknown kind of file; use {', '.join(READERS)}") from None
    requests = []
    try:
        for number, row in reader(path):
            try:
                request = make_request(
                    _fields(row), due_days=due_days, now=now, pseudonymise=pseudonymise
                )
                if schema is not None:
                    check_selector(request.selector, schema)
            except InputError as error:
                raise InputError(f"{path}: row {number}: {error}") from None
            requests.append(request)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or 'input error'}") from None
    except (ValueError, RecursionError, csv.Error, pa.ArrowException):
        # Their messages quote what they stumbled on, which may be about a person.
        kind = path.suffix[1:].upper()
        raise InputError(f"{path} is not valid {kind}: export it again") from None
    if not requests:
        raise InputError(f"{path} holds no request")
    return requests


def _fields(row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise InputError("not an object of field names and values")
    return _from_opendsr(row) if OPENDSR_MARKS & row.keys() else row


def _from_opendsr(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return our fields of an OpenDSR request; what we have no use for is ignored."""
    if row.get("subject_request_type") != "erasure":
        raise InputError("subject_request_type is not 'erasure', and forgetting is all we do")
    if not row.get("subject_request_id"):
        raise InputError("subject_request_id is missing")
    return {
        "request_id": row["subject_request_id"],
        "subject": _one_subject(row.get("subject_identities")),
        "received_at": row.get("submitted_time"),
        "reason": row.get("regulation"),
    }


def _one_subject(identities: Any) -> Any:
    if isinstance(identities, str):  # a CSV cell
        identities = _loads(identities, "subject_identities")
    if isinstance(identities, dict):
        found = list(identities.values())
        key = "value"
    else:
        found = identities if isinstance(identities, list) else []
        key = "identity_value"
    if not found or not all(isinstance(one, dict) and one.get(key) for one in found):
        raise InputError(f"subject_identities must hold identities, each with '{key}'")
    values = {str(one[key]) for one in found}
    if len(values) > 1:
        raise InputError(
            "subject_identities name more than one subject id; keep the one used as subject_id "
            "in the training set"
        )
    return values.pop()


def _read_json(path: Path) -> Iterator[Row]:
    content = _loads(path.read_text(encoding="utf-8-sig"), str(path))
    if isinstance(content, dict):
        content = content["requests"] if content.keys() == {"requests"} else [content]
    if not isinstance(content, list):
        raise InputError(f"{path} must hold a request, a list of them, or {{'requests': [...]}}")
    yield from enumerate(content, 1)


def _read_jsonl(path: Path) -> Iterator[Row]:
    # Not splitlines(): JSON text may hold a raw U+2028.
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            yield number, _loads(line, f"{path}: row {number}")


def _read_csv(path: Path) -> Iterator[Row]:
    text = path.read_text(encoding="utf-8-sig")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = [name.strip() for name in next(rows, [])]
    if len(set(header)) < len(header):
        raise InputError(f"{path}: the header names a column twice")
    for number, cells in enumerate((row for row in rows if row), 1):
        if len(cells) != len(header):
            raise InputError(
                f"{path}: row {number}: has {len(cells)} cells under {len(header)} column names"
            )
        yield number, {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _read_parquet(path: Path) -> Iterator[Row]:
    yield from enumerate(read_parquet(path).to_pylist(), 1)


def _loads(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, character {error.colno}"
        raise InputError(f"{where}: not valid JSON at {place}") from None


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
"""File suffix -> reader of its rows."""
