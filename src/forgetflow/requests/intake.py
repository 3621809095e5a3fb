"""Ways in: a request from the command line, from a file, from the inbox; and holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forgetflow.config.project import Project
from forgetflow.errors import InputError
from forgetflow.files.locks import locked
from forgetflow.records.schema import RecordSchema
from forgetflow.requests.batches import sealed_manifests
from forgetflow.requests.book import RequestBook
from forgetflow.requests.importers import read_requests
from forgetflow.requests.pseudonym import pseudonym, pseudonym_key
from forgetflow.requests.request import Request, make_request
from forgetflow.requests.selectors import check_selector
from forgetflow.requests.times import moment


@dataclass(frozen=True)
class Inbox:
    """What became of the files in the inbox.

    Attributes:
        files: names of the files taken in and moved to `done`.
        added: number of requests that were new.
        refused: file name -> why it was left where it is. Names what the user wrote: for a
            terminal, not for a log.
    """

    files: tuple[str, ...]
    added: int
    refused: Mapping[str, str]


def add_request(
    project: Project, fields: Mapping[str, Any], clock: datetime | None = None
) -> tuple[Request, bool]:
    """Take in one request and return it, and whether it was new.

    Args:
        project: whose book.
        fields: field names of `Request`, at least one of record, subject, label and where;
            `requester` may be in clear and is kept as a pseudonym.
        clock: time of receipt unless `received_at` is given; default now.

    Raises:
        InputError: an unusable field, label or expression, or the id of another request.
    """
    request = make_request(fields, **_defaults(project, clock))
    schema = _train_schema(project)
    if schema is not None:
        check_selector(request.selector, schema)
    added = RequestBook(project).add([request])
    return (request, True) if added else (RequestBook(project).get(request.request_id), False)


def import_requests(
    project: Project, path: Path, clock: datetime | None = None
) -> tuple[list[Request], int]:
    """Take in a file, all or nothing; return its requests and how many were new.

    Raises:
        InputError: a row is unusable (see `read_requests`) or has the id of another request.
    """
    requests = read_requests(path, schema=_train_schema(project), **_defaults(project, clock))
    try:
        return requests, len(RequestBook(project).add(requests))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def take_in_inbox(project: Project, clock: datetime | None = None) -> Inbox:
    """Take in every file of the inbox and move it to `done`; a bad file stays and is reported.

    Hidden files are passed over, so a writer can fill `.name.csv` and rename it when complete.
    A kill between taking in and moving is harmless: the same requests again change nothing.
    """
    files: list[str] = []
    refused: dict[str, str] = {}
    added = 0
    with locked(project.locks, "inbox"):
        for path in sorted(project.inbox.glob("[!.]*")):
            if not path.is_file():
                continue
            try:
                added += import_requests(project, path, clock)[1]
            except InputError as error:
                refused[path.name] = str(error)
                continue
            _move_to_done(path)
            files.append(path.name)
    return Inbox(tuple(files), added, refused)


def hold_request(project: Project, request_id: str, reason: str) -> Request:
    """Put an open request on hold: its records wait, whoever else asks for them.

    Raises:
        InputError: an unknown request, no reason, or too late because it is sealed.
    """
    with locked(project.locks, "seal"):
        for manifest in sealed_manifests(project):
            if request_id in manifest.requests:
                raise InputError(
                    f"request '{request_id}' is sealed in {manifest.batch} and cannot be held "
                    "any more; a sealed batch never changes"
                )
        return RequestBook(project).hold(request_id, reason)


def release_request(project: Project, request_id: str) -> Request:
    """Lift a hold; raises `InputError` if the request is unknown."""
    return RequestBook(project).release(request_id)


def _defaults(project: Project, clock: datetime | None) -> dict[str, Any]:
    # The key is read, or made, only when there is someone to name.
    key = cache(lambda: pseudonym_key(project))
    return {
        "due_days": project.settings.privacy.due_days,
        "now": moment(clock),
        "pseudonymise": lambda requester: pseudonym(key(), "requester", requester),
    }


def _train_schema(project: Project) -> RecordSchema | None:
    """Return the schema of the training records, or None while there are none to read."""
    path = next(iter(sorted(project.train.glob("part-*.parquet"))), None)
    try:
        return None if path is None else RecordSchema.from_arrow(pq.read_schema(path))
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None


def _move_to_done(path: Path) -> None:
    done = path.parent / "done"
    done.mkdir(exist_ok=True)
    target = done / path.name
    number = 1
    while target.exists():
        number += 1
        target = done / f"{path.stem}-{number}{path.suffix}"
    path.rename(target)
