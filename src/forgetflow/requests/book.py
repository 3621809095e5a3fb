"""The request book: everything people asked for, one line each. Personal data, never in git.

`data/requests/requests.jsonl` holds one JSON object per line with a digest over the rest of the
line. Every change rewrites the whole file under a lock and renames it into place, so a crash
leaves the book before the change or after it, and two writers never lose each other's lines.
"""

import json
from collections.abc import Callable, Iterable
from typing import NoReturn

from pydantic import ValidationError

from forgetflow.config.project import Project
from forgetflow.errors import InputError, VerdictError
from forgetflow.files.atomic import write_atomically
from forgetflow.files.jsonable import to_json
from forgetflow.files.locks import locked
from forgetflow.keys.digests import canonical_json, digest_of
from forgetflow.requests.request import Request, explain


class RequestBook:
    """The requests of a project, in the order they were taken in."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.path = project.requests / "requests.jsonl"

    def requests(self) -> list[Request]:
        """Return every request.

        Raises:
            VerdictError: a line is torn or was edited; the message names file and line.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        *complete, rest = lines
        requests = [self._parse(line, number) for number, line in enumerate(complete, 1)]
        if rest:
            self._refuse(len(lines), "is torn")
        return requests

    def get(self, request_id: str) -> Request:
        """Return one request.

        Raises:
            InputError: there is none with this id.
        """
        for request in self.requests():
            if request.request_id == request_id:
                return request
        raise InputError(f"no request '{request_id}': see `forgetflow request list`")

    def add(self, requests: Iterable[Request]) -> list[Request]:
        """Take in requests, all or none, and return those that were new.

        A request with the id and selector of one on file changes nothing: the first one counts,
        and with it the earlier due date.

        Raises:
            InputError: an id is on file, or given twice, with different selectors.
        """
        with locked(self.project.locks, "requests"):
            known = {one.request_id: one for one in self.requests()}
            new = []
            for request in requests:
                earlier = known.get(request.request_id)
                if earlier is None:
                    known[request.request_id] = request
                    new.append(request)
                elif earlier.selector != request.selector:
                    raise InputError(
                        f"request id '{request.request_id}' already stands for another selector; "
                        "give the new request an id of its own"
                    )
            if new:
                self._write(known.values())
            return new

    def hold(self, request_id: str, reason: str) -> Request:
        """Put a request on hold and return it; raises `InputError` if unknown or no reason."""
        if not reason.strip():
            raise InputError("a hold needs a reason")
        return self._change(request_id, lambda one: one.model_copy(update={"hold": reason}))

    def release(self, request_id: str) -> Request:
        """Lift the hold of a request and return it; raises `InputError` if unknown."""
        return self._change(request_id, lambda one: one.model_copy(update={"hold": None}))

    def _change(self, request_id: str, change: Callable[[Request], Request]) -> Request:
        with locked(self.project.locks, "requests"):
            before = self.get(request_id)
            after = change(before)
            if after != before:
                self._write(
                    after if one.request_id == request_id else one for one in self.requests()
                )
            return after

    def _write(self, requests: Iterable[Request]) -> None:
        # A kill in the middle of an earlier write leaves its temporary file behind.
        for stale in self.path.parent.glob(".tmp-*"):
            stale.unlink(missing_ok=True)
        write_atomically(self.path, b"".join(_line(one) for one in requests))

    def _parse(self, line: bytes, number: int) -> Request:
        try:
            content = json.loads(line)
            digest = content.pop("digest")
            request = Request.model_validate(content)
        except ValidationError as error:
            self._refuse(number, f"is no request ({explain(error)})")
        except (ValueError, AttributeError, TypeError, KeyError):
            self._refuse(number, "is torn or no request")
        if digest != digest_of(content) or _line(request) != line + b"\n":
            self._refuse(number, "was edited")
        return request

    def _refuse(self, number: int, why: str) -> NoReturn:
        raise VerdictError(
            f"{self.path}: line {number} {why}; restore the file from your backup or `dvc checkout`"
        )


def _line(request: Request) -> bytes:
    content = to_json(request)
    return canonical_json(content | {"digest": digest_of(content)}) + b"\n"
