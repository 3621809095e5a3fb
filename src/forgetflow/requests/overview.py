"""Everything the states of requests are derived from, read once; and the list people look at."""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from forgetflow.config.project import Project
from forgetflow.files.jsonable import to_json
from forgetflow.records.record_set import RecordSet, read_record_set
from forgetflow.requests.batches import ORIGINAL, next_batch, sealed_manifests
from forgetflow.requests.book import RequestBook
from forgetflow.requests.ledger import Entry, Ledger
from forgetflow.requests.manifest import Manifest
from forgetflow.requests.request import Request
from forgetflow.requests.selectors import resolve_all
from forgetflow.requests.states import State, Status, derive_states, seal_order
from forgetflow.requests.times import moment


@dataclass(frozen=True)
class Situation:
    """What is on file at one moment.

    Attributes:
        requests: the book.
        manifests: all sealed manifests, oldest first.
        entries: the ledger.
        records: the training set; None when no open request needs it or there is none.
        selected: open request's id -> ids of the training records it selects.
        problems: open request's id -> why it could not be resolved.
    """

    requests: list[Request]
    manifests: list[Manifest]
    entries: list[Entry]
    records: RecordSet | None
    selected: dict[str, list[str]]
    problems: dict[str, str]

    @cached_property
    def statuses(self) -> dict[str, Status]:
        """Request id -> status, in the order of the book."""
        return derive_states(self.requests, self.manifests, self.entries, self.selected)

    def sealing(self, manifest: Manifest) -> "Situation":
        """Return the situation once `manifest` is sealed."""
        return replace(self, manifests=[*self.manifests, manifest])

    def next_manifest(self, method: str, created: datetime) -> Manifest | None:
        """Return what sealing now would freeze; None when no open request brings in a record.

        A record that several requests select counts for the one received first; the batch is
        due when the most urgent of all of them is.
        """
        matched = [
            one
            for one in seal_order(self.requests)
            if self.statuses[one.request_id].state is State.MATCHED
        ]
        if not matched or self.records is None:
            return None
        claims: dict[str, str] = {}
        for request in matched:
            for record in self.statuses[request.request_id].record_ids:
                claims.setdefault(record, request.request_id)
        chosen = self.records.take(self.records.mask(claims))
        return Manifest(
            batch=next_batch(self.manifests),
            parent=self.manifests[-1].batch if self.manifests else ORIGINAL,
            method=method,
            created=created,
            due_at=min(one.due_at for one in matched),
            record_ids=tuple(chosen.record_ids),
            digests=np.array(chosen.digests),
            request_ids=tuple(claims[one] for one in chosen.record_ids),
        )


def read_situation(project: Project) -> Situation:
    """Read what is on file, and resolve the requests that are not sealed yet. Writes nothing.

    Raises:
        VerdictError: book, manifest or ledger were altered.
        InputError: `batches.yaml` or the training set cannot be read.
    """
    requests = RequestBook(project).requests()
    manifests = sealed_manifests(project)
    sealed = {one for manifest in manifests for one in manifest.requests}
    unsealed = [one for one in requests if one.request_id not in sealed]
    records = None
    selected: dict[str, list[str]] = {}
    problems: dict[str, str] = {}
    if unsealed and any(project.train.glob("part-*.parquet")):
        records = read_record_set(project.train)
        selected, problems = resolve_all(unsealed, records)
    elif unsealed:
        missing = "there are no training records yet: run `forgetflow data import SOURCE`"
        problems = dict.fromkeys((one.request_id for one in unsealed), missing)
    entries = Ledger(project).entries()
    return Situation(requests, manifests, entries, records, selected, problems)


@dataclass(frozen=True)
class RequestLine:
    """One request as people see it.

    Attributes:
        request: what was asked.
        status: where it stands.
        days_left: whole days until it is due, negative when overdue.
        problem: why it could not be resolved, if so.
    """

    request: Request
    status: Status
    days_left: int
    problem: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return what is shown of the line, JSON-ready: record ids are counted, not named."""
        return to_json(self.request) | {
            "state": str(self.status.state),
            "records": len(self.status.record_ids),
            "batch": self.status.batch,
            "note": self.problem or self.status.reason,
            "days_left": self.days_left,
        }


def request_list(project: Project, clock: datetime | None = None) -> list[RequestLine]:
    """Return every request with state, due date and days left, the most urgent first.

    Raises like `read_situation`.
    """
    situation = read_situation(project)
    now = moment(clock)
    lines = [
        RequestLine(
            one,
            situation.statuses[one.request_id],
            one.days_left(now),
            situation.problems.get(one.request_id),
        )
        for one in situation.requests
    ]
    return sorted(lines, key=lambda line: (line.request.due_at, line.request.request_id))


def pending_manifest(
    project: Project, clock: datetime | None = None, *, method: str | None = None
) -> Manifest | None:
    """Return what `seal` would freeze now, for planning; None if nothing. Writes nothing.

    Files that still lie in the inbox are not looked at. Raises like `read_situation`.
    """
    chosen = method or project.settings.unlearn.method
    return read_situation(project).next_manifest(chosen, moment(clock))
