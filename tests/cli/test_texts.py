"""Texts of plans, seals and lists of requests: what is missing has a reason, what is much a sum."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from forgetflow.cli import texts
from forgetflow.requests.intake import Inbox
from forgetflow.requests.overview import RequestLine
from forgetflow.requests.request import Request
from forgetflow.requests.seal import Outcome, SealResult
from forgetflow.requests.states import State, Status
from forgetflow.unlearning.plan import Plan

DAY = datetime(2026, 1, 5, tzinfo=UTC)
DASH = re.compile(r"(^|\s)(-|None)(\s|$)", re.MULTILINE)
PLAN = Plan(
    batch="b1",
    sealed=False,
    method="sisa",
    guarantee="exact",
    records=5,
    learned=5,
    reselected=0,
    requests=1,
    shards={0: 2},
    total_shards=10,
    retrain_samples=4480,
    prepare_samples={},
    full_samples=57984,
    estimated_seconds=0.03,
    full_seconds=0.36,
    objects_to_erase=2,
    due_at=DAY,
    days_left=29,
    waiting=None,
    waiting_note="nobody is left who could ask later",
    start_by=DAY,
    wait_days=29,
    note="",
)


def line(text: str, name: str) -> str:
    return next(one for one in text.splitlines() if one.startswith(name))[len(name) :].strip()


def test_a_plan_without_a_pace_says_so():
    text = texts.plan(replace(PLAN, estimated_seconds=None, full_seconds=None))
    for name in ("estimated training", "full retraining"):
        assert line(text, name) == "no estimate: nothing was trained here yet; run `dvc repro`"
    assert not DASH.search(text)


def test_a_plan_of_what_cannot_be_foretold_says_why():
    why = "ssd presupposes something"
    text = texts.plan(replace(PLAN, retrain_samples=None, estimated_seconds=None, note=why))
    assert line(text, "to retrain") == why
    assert line(text, "estimated training").startswith("no estimate: ")
    assert line(text, "full retraining") == "0.36 s"
    assert line(text, "waiting would save") == "not known: nobody is left who could ask later"
    assert not DASH.search(text)


def sealing(*states: State) -> SealResult:
    outcomes = tuple(Outcome(f"q{i}", state, 0) for i, state in enumerate(states))
    inbox = Inbox((), 0, {"bad.csv": "row 3 has no selector"})
    return SealResult(SimpleNamespace(batch="b1"), None, outcomes, inbox)


def test_few_requests_are_listed_one_by_one_each_with_a_note():
    text = texts.outcomes(sealing(*[State.SEALED] * 19, State.NO_MATCH))
    assert re.findall(r"^q\d+", text, re.MULTILINE) == [f"q{i}" for i in range(20)]
    assert text.count("in b1") == 19
    assert "selects no training record" in text
    assert not DASH.search(text)


def test_many_requests_are_summed_up_by_state():
    text = texts.outcomes(sealing(*[State.SEALED] * 1200, *[State.NO_MATCH] * 30, State.ON_HOLD))
    refused, summary = text.splitlines()
    assert "bad.csv" in refused
    assert summary == (
        "1,231 requests: 1,200 sealed, 30 no_match, 1 on_hold; `forgetflow request list` shows each"
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (Status(State.RECEIVED), "none: not resolved"),
        (Status(State.MATCHED, ("r1",)), "none yet: not sealed"),
        (Status(State.NO_MATCH), "none: selects no training record"),
        (Status(State.ON_HOLD, reason="legal"), "none while on hold"),
        (Status(State.DUPLICATE, batch="b1"), "b1"),
        (Status(State.PUBLISHED, ("r1",), "b2"), "b2"),
    ],
    ids=lambda value: str(value.state) if isinstance(value, Status) else "",
)
def test_a_request_in_no_batch_says_why(status, said):
    asked = Request(request_id="x", record="r1", received_at=DAY, due_at=DAY)
    text = texts.request_lines([RequestLine(asked, status, -3)])
    row = text.splitlines()[1]
    assert f"  {said}  " in row
    assert "3 overdue" in row
    assert not DASH.search(text)


def test_every_state_can_be_listed():
    asked = Request(request_id="x", record="r1", received_at=DAY, due_at=DAY)
    for state in State:
        batch = None if state in texts.UNBATCHED else "b1"
        assert str(state) in texts.request_lines([RequestLine(asked, Status(state, (), batch), 1)])
