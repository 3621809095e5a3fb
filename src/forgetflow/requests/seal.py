"""Sealing: freeze what open requests ask for into the next batch.

Three files are written, in this order, each in one atomic step:

    1. data/forget/<batch>.parquet    the manifest; means nothing until it is named
    2. data/forget/batches.yaml       names it: from here on the batch exists
    3. data/forget/ledger.jsonl       `sealed`, for everyone to check against

Killed after 1, the next seal adopts the manifest if it would freeze the same and removes it
otherwise. Killed after 2, the next seal writes the missing entry. Either way nothing is lost and
no record is sealed twice.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from forgetflow.config.project import Project
from forgetflow.errors import InputError, VerdictError
from forgetflow.files.jsonable import to_json
from forgetflow.files.locks import locked
from forgetflow.requests.batches import (
    METHOD,
    Batch,
    batch_manifest,
    forgotten_ids,
    next_batch,
    read_batches,
    sealed_manifests,
    write_batches,
)
from forgetflow.requests.intake import Inbox, take_in_inbox
from forgetflow.requests.ledger import Ledger
from forgetflow.requests.manifest import Manifest, manifest_path, read_manifest, write_manifest
from forgetflow.requests.overview import Situation, read_situation
from forgetflow.requests.states import OPEN, State
from forgetflow.requests.times import moment, to_text

__all__ = [
    "Outcome",
    "SealResult",
    "batch_manifest",
    "forgotten_ids",
    "seal",
    "sealed_manifests",
]


@dataclass(frozen=True)
class Outcome:
    """What sealing did for one open request.

    Attributes:
        request_id: which.
        state: where it stands now.
        records: number of records it brought into the batch.
        note: the reason of a hold, the batch that made it a duplicate, or why it could not be
            resolved. For a terminal, not for a log.
    """

    request_id: str
    state: State
    records: int
    note: str | None = None


@dataclass(frozen=True)
class SealResult:
    """What sealing did.

    Attributes:
        manifest: the new batch; None when no open request brought in a record.
        resumed: a batch that an interrupted seal left without its ledger entry.
        outcomes: every request that was open, in the order of the book.
        inbox: what became of the files in the inbox.
    """

    manifest: Manifest | None
    resumed: str | None
    outcomes: tuple[Outcome, ...]
    inbox: Inbox

    @property
    def batch(self) -> str | None:
        """Id of the new batch."""
        return self.manifest.batch if self.manifest else None

    def facts(self) -> dict[str, Any]:
        """Return counts and digests: all of the result that may be logged."""
        states = [one.state for one in self.outcomes]
        return {
            "batch": self.batch,
            "resumed": self.resumed,
            "manifest": self.manifest.digest if self.manifest else None,
            "records": len(self.manifest) if self.manifest else 0,
            "due_at": to_text(self.manifest.due_at) if self.manifest else None,
            "requests": {str(state): states.count(state) for state in sorted(set(states))},
            "inbox": {
                "files": len(self.inbox.files),
                "added": self.inbox.added,
                "refused": len(self.inbox.refused),
            },
        }

    def details(self) -> dict[str, Any]:
        """Return `facts()` and, for whoever asked, what became of each request and file."""
        return self.facts() | {
            "outcomes": [asdict(one) for one in self.outcomes],
            "files": list(self.inbox.files),
            "refused": dict(self.inbox.refused),
        }


def seal(
    project: Project,
    clock: datetime | None = None,
    *,
    method: str | None = None,
    check: Callable[[Manifest], None] | None = None,
) -> SealResult:
    """Take in the inbox and freeze all open requests into the next batch.

    Requests on hold wait; what selects nothing or nothing new is reported and stays open, in
    case records of it are imported later. With nothing to freeze, nothing is written.

    Args:
        project: where.
        clock: time of sealing; default now.
        method: unlearning method of the batch; default `unlearn.method` of the settings.
        check: asked before anything is sealed; raises where the batch is not for the method.

    Raises:
        VerdictError: book, manifests, `batches.yaml` and ledger contradict each other.
        InputError: no method name, or settings, `batches.yaml` or the training set cannot be
            read.
    """
    now = moment(clock)
    chosen = method or project.settings.unlearn.method
    if not METHOD.fullmatch(chosen):
        raise InputError(f"'{chosen}' is no method name; one looks like 'sisa' or 'l1_sparse'")
    with locked(project.locks, "seal"):
        resumed = _complete_ledger(project, now)
        inbox = take_in_inbox(project, now)
        before = read_situation(project)
        wanted = before.next_manifest(chosen, now)
        if wanted is not None and check is not None:
            check(wanted)
        manifest = _freeze(project, wanted)
        if manifest is not None:
            write_batches(project, read_batches(project) | {manifest.batch: Batch.of(manifest)})
            _complete_ledger(project, now)
    after = before if manifest is None else before.sealing(manifest)
    return SealResult(manifest, resumed, _outcomes(before, after), inbox)


def _complete_ledger(project: Project, now: datetime) -> str | None:
    """Write the `sealed` entry of the last batch if it lacks, and return the batch if so.

    Raises:
        VerdictError: ledger and `batches.yaml` do not tell the same story otherwise.
    """
    batches = read_batches(project)
    ledger = Ledger(project)
    sealed = {one.batch: one.facts for one in ledger.entries() if one.event == "sealed"}
    if unnamed := sorted(sealed.keys() - batches.keys()):
        raise VerdictError(
            f"the ledger says {unnamed[0]} is sealed but batches.yaml does not name it; "
            "restore data/forget/batches.yaml with git"
        )
    for name, batch in batches.items():
        facts = to_json(batch)
        # The method may be chosen anew after sealing (`set_method`); all else is frozen.
        if {**sealed.get(name, {}), "method": batch.method} == facts:
            continue
        # Only a seal killed before its last step leaves a batch without an entry.
        if name in sealed or name != next(reversed(batches)):
            raise VerdictError(
                f"batches.yaml and the ledger disagree on {name}; restore data/forget with git"
            )
        ledger.append("sealed", name, facts, now)
        return name
    return None


def _freeze(project: Project, manifest: Manifest | None) -> Manifest | None:
    """Write the manifest, or adopt one that a killed seal left behind with the same content."""
    path = manifest_path(project, next_batch(read_batches(project)))
    for stale in project.forget.glob(".tmp-*"):
        stale.unlink(missing_ok=True)
    if path.exists():
        try:
            orphan = read_manifest(path)
        except VerdictError:
            orphan = None
        if orphan is not None and manifest is not None and orphan.same_content(manifest):
            return orphan
        path.unlink()
    if manifest is not None:
        write_manifest(manifest, path)
    return manifest


def _outcomes(before: Situation, after: Situation) -> tuple[Outcome, ...]:
    outcomes = []
    for request_id, status in after.statuses.items():
        if before.statuses[request_id].state not in OPEN:
            continue
        note = before.problems.get(request_id) or status.reason
        if status.state is State.DUPLICATE:
            note = f"all its records are already in {status.batch} or earlier"
        records = len(status.record_ids) if status.state is State.SEALED else 0
        outcomes.append(Outcome(request_id, status.state, records, note))
    return tuple(outcomes)
