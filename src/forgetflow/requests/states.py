"""Where every request stands. Derived from book, manifests and ledger; stored nowhere.

    received -> no_match | duplicate | on_hold
    received -> matched -> sealed -> unlearned -> verified -> published -> erased -> certified

Two setbacks a batch comes back from by doing the step again: `failed_before_publish` (nothing
was published, so a retry is safe) and `erase_incomplete` (an alarm: bytes of forgotten records
are still there, so it stays until they are erased).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from forgetflow.requests.ledger import Entry
from forgetflow.requests.manifest import Manifest
from forgetflow.requests.request import Request


class State(StrEnum):
    """States of a request; from `sealed` on it shares the state of its batch."""

    RECEIVED = "received"
    MATCHED = "matched"
    NO_MATCH = "no_match"
    DUPLICATE = "duplicate"
    ON_HOLD = "on_hold"
    SEALED = "sealed"
    UNLEARNED = "unlearned"
    VERIFIED = "verified"
    PUBLISHED = "published"
    FAILED_BEFORE_PUBLISH = "failed_before_publish"
    ERASED = "erased"
    CERTIFIED = "certified"
    ERASE_INCOMPLETE = "erase_incomplete"


OPEN = frozenset({State.RECEIVED, State.MATCHED, State.NO_MATCH, State.DUPLICATE, State.ON_HOLD})
"""States in which a request is in no batch yet."""

# How far a batch has come. An event further along moves it on; one that is not (a step run
# again on a finished batch) leaves it where it is.
_PROGRESS = {
    State.SEALED: 0,
    State.FAILED_BEFORE_PUBLISH: 0,
    State.UNLEARNED: 1,
    State.VERIFIED: 2,
    State.PUBLISHED: 3,
    State.ERASE_INCOMPLETE: 3,
    State.ERASED: 4,
    State.CERTIFIED: 5,
}


@dataclass(frozen=True)
class Status:
    """Where one request stands.

    Attributes:
        state: see `State`.
        record_ids: records it brought into its batch or, while open, would bring into the next.
        batch: the batch that has its records; for a duplicate, the last one that has any.
        reason: why it is on hold.
    """

    state: State
    record_ids: tuple[str, ...] = ()
    batch: str | None = None
    reason: str | None = None


def batch_state(batch: str, entries: Iterable[Entry]) -> State:
    """Return the state of a sealed batch after the ledger's events, oldest first."""
    state = State.SEALED
    for entry in entries:
        if entry.batch != batch:
            continue
        event = State(entry.event)
        if event is State.ERASE_INCOMPLETE:
            state = event
        elif event is State.FAILED_BEFORE_PUBLISH:
            state = event if _PROGRESS[state] < _PROGRESS[State.PUBLISHED] else state
        elif _PROGRESS[event] > _PROGRESS[state]:
            state = event
    return state


def seal_order(requests: Iterable[Request]) -> list[Request]:
    """Return requests in the order in which they lay claim to records: first come, first."""
    return sorted(requests, key=lambda one: (one.received_at, one.request_id))


def derive_states(
    requests: Sequence[Request],
    manifests: Sequence[Manifest],
    entries: Sequence[Entry],
    selected: Mapping[str, Sequence[str]],
) -> dict[str, Status]:
    """Return the status of every request, in the order of `requests`.

    A hold protects records: whatever an open request on hold selects waits, also when another
    request selects it, because forgetting cannot be taken back. An open request any of whose
    records were sealed before brings in the rest; one all of whose records were is a duplicate,
    also after erasure, when it names a sealed record or repeats a sealed request's selector.

    Args:
        requests: the book.
        manifests: all sealed manifests, oldest first.
        entries: the ledger.
        selected: request id -> ids of all training records it selects, sealed or not. A request
            that is neither sealed nor in here has not been looked at: `received`.
    """
    sealed_in = {one: m.batch for m in manifests for one in m.record_ids}
    batch_of = {one: m.batch for m in manifests for one in m.requests}
    brought: dict[str, list[str]] = {}
    for manifest in manifests:
        for record, request_id in zip(manifest.record_ids, manifest.request_ids, strict=True):
            brought.setdefault(request_id, []).append(record)
    states = {m.batch: batch_state(m.batch, entries) for m in manifests}
    answered = {
        one.selector: batch_of[one.request_id] for one in requests if one.request_id in batch_of
    }
    held_by = {
        record: one
        for one in requests
        if one.hold is not None and one.request_id not in batch_of
        for record in selected.get(one.request_id, ())
    }

    def status(request: Request) -> Status:
        batch = batch_of.get(request.request_id)
        if batch is not None:
            return Status(states[batch], tuple(brought[request.request_id]), batch)
        if request.hold is not None:
            return Status(State.ON_HOLD, reason=request.hold)
        if request.request_id not in selected:
            return Status(State.RECEIVED)
        matching = selected[request.request_id]
        left = tuple(one for one in matching if one not in sealed_in)
        if not left:
            earlier: set[str | None] = {sealed_in[one] for one in matching}
            earlier |= {sealed_in.get(request.record or ""), answered.get(request.selector)}
            last = next((m.batch for m in reversed(manifests) if m.batch in earlier), None)
            return Status(State.DUPLICATE if last else State.NO_MATCH, batch=last)
        holder = next((held_by[one] for one in left if one in held_by), None)
        if holder is not None:
            why = f"some of its records are held by request {holder.request_id}: {holder.hold}"
            return Status(State.ON_HOLD, left, reason=why)
        return Status(State.MATCHED, left)

    return {request.request_id: status(request) for request in requests}
