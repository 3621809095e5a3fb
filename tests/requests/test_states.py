from datetime import timedelta
from itertools import product

import numpy as np
import pytest

from forgetflow.requests.ledger import EVENTS
from forgetflow.requests.manifest import Manifest
from forgetflow.requests.states import OPEN, State, Status, batch_state, derive_states, seal_order

LIFE = ["sealed", "unlearned", "verified", "published", "erased", "certified"]


@pytest.fixture
def manifest(now):
    def make(batch, rows):
        return Manifest(
            batch=batch,
            parent="original",
            method="sisa",
            created=now,
            due_at=now,
            record_ids=tuple(rows),
            digests=np.zeros((len(rows), 32), np.uint8),
            request_ids=tuple(rows.values()),
        )

    return make


def test_a_batch_goes_through_its_life(event):
    for n, name in enumerate(LIFE, 1):
        assert batch_state("b1", [event("b1", one) for one in LIFE[:n]]) == name
    assert batch_state("b1", []) is State.SEALED
    assert batch_state("b1", [event("b2", "published")]) is State.SEALED


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (["unlearned", "failed_before_publish"], "failed_before_publish"),
        (["unlearned", "failed_before_publish", "unlearned"], "unlearned"),
        (["failed_before_publish", "published"], "published"),
        (["published", "failed_before_publish"], "published"),
        (["published", "erase_incomplete"], "erase_incomplete"),
        (["published", "erase_incomplete", "published"], "erase_incomplete"),
        (["published", "erase_incomplete", "erased"], "erased"),
        ([*LIFE, "erase_incomplete"], "erase_incomplete"),
        ([*LIFE, "erase_incomplete", "unlearned"], "erase_incomplete"),
        ([*LIFE, "unlearned", "verified", "erased", "sealed"], "certified"),
    ],
)
def test_setbacks_and_repeated_steps(event, events, state):
    assert batch_state("b1", [event("b1", one) for one in events]) == state


def test_every_order_of_events_has_a_state(event):
    for events in product(EVENTS, repeat=3):
        state = batch_state("b1", [event("b1", one) for one in events])
        assert state in set(events) | {"sealed"}
        assert state not in OPEN


def derive(requests, manifests=(), entries=(), **selected):
    by_id = {one.request_id: one for one in requests}
    assert selected.keys() <= by_id.keys()
    return derive_states(requests, list(manifests), list(entries), selected)


def test_open_states(new_request, manifest):
    requests = [
        new_request(request_id="unseen", subject="a"),
        new_request(request_id="none", subject="b"),
        new_request(request_id="some", subject="c"),
        new_request(request_id="held", subject="d", hold="court"),
        new_request(request_id="old", subject="e"),
        new_request(request_id="rest", subject="f"),
    ]
    statuses = derive(
        requests,
        [manifest("b1", {"e1": "x", "f1": "y"}), manifest("b2", {"e2": "z"})],
        none=[],
        some=["c1", "c2"],
        held=["d1"],
        old=["e1", "e2"],
        rest=["f1", "f2"],
    )
    assert statuses == {
        "unseen": Status(State.RECEIVED),
        "none": Status(State.NO_MATCH),
        "some": Status(State.MATCHED, ("c1", "c2")),
        "held": Status(State.ON_HOLD, reason="court"),
        "old": Status(State.DUPLICATE, batch="b2"),
        "rest": Status(State.MATCHED, ("f2",)),
    }


def test_a_sealed_request_shares_the_state_of_its_batch(new_request, manifest, event):
    requests = [
        new_request(request_id=f"q{i}", subject=str(i), hold="too late" if i else None)
        for i in (0, 1, 2)
    ]
    manifests = [manifest("b1", {"r1": "q0", "r2": "q1", "r3": "q0"}), manifest("b2", {"r4": "q2"})]
    statuses = derive(requests, manifests, [event("b1", "published")])
    assert statuses["q0"] == Status(State.PUBLISHED, ("r1", "r3"), "b1")
    assert statuses["q1"] == Status(State.PUBLISHED, ("r2",), "b1")
    assert statuses["q2"] == Status(State.SEALED, ("r4",), "b2")


def test_duplicates_are_known_after_erasure(new_request, manifest):
    sealed = new_request(request_id="q0", subject="ann")
    requests = [
        sealed,
        new_request(request_id="same", subject="ann"),
        new_request(request_id="one", record="r1"),
        new_request(request_id="other", subject="bob"),
    ]
    statuses = derive(requests, [manifest("b1", {"r1": "q0"})], same=[], one=[], other=[])
    assert statuses["same"] == statuses["one"] == Status(State.DUPLICATE, batch="b1")
    assert statuses["other"].state is State.NO_MATCH


def test_records_on_hold_wait_whoever_asks(new_request, manifest):
    held = new_request(request_id="held", record="r1", hold="court")
    both = new_request(request_id="both", subject="ann")
    statuses = derive([both, held], held=["r1"], both=["r1", "r2"])
    assert statuses["both"].state is State.ON_HOLD
    assert statuses["both"].reason == "some of its records are held by request held: court"
    # Once the held record is forgotten by an earlier batch there is nothing left to hold.
    statuses = derive([both, held], [manifest("b1", {"r1": "x"})], held=["r1"], both=["r1", "r2"])
    assert statuses["both"] == Status(State.MATCHED, ("r2",))


def test_first_come_first(new_request, now):
    late = new_request(now + timedelta(hours=1), request_id="a", record="r1")
    early = [new_request(request_id=name, record="r1") for name in "cb"]
    assert [one.request_id for one in seal_order([late, *early])] == ["b", "c", "a"]


def test_deriving_changes_nothing_it_is_given(new_request, manifest):
    request = new_request(request_id="q", subject="a")
    selected = {"q": ["r1", "r2"]}
    derive_states([request], [manifest("b1", {"r1": "x"})], [], selected)
    assert selected == {"q": ["r1", "r2"]}
