from datetime import UTC, date, datetime, timedelta

import pytest

from forgetflow.errors import InputError
from forgetflow.files.jsonable import to_json
from forgetflow.requests.request import Request, Selector, make_request


def test_defaults_are_filled_in(new_request, now):
    request = new_request(subject="ann")
    assert request.selector == Selector("subject", "ann")
    assert request.received_at == now
    assert request.due_at == now + timedelta(days=30)
    assert request.hold is None


def test_the_same_request_on_one_day_has_one_id(new_request, now):
    first = new_request(subject="ann")
    assert new_request(now + timedelta(hours=3), subject="ann").request_id == first.request_id
    others = [
        new_request(now + timedelta(days=1), subject="ann"),
        new_request(record="ann"),
        new_request(subject="bob"),
        new_request(subject="ann", requester="me"),
    ]
    assert len({one.request_id for one in [first, *others]}) == 5


@pytest.mark.parametrize(
    ("moment", "days"),
    [
        (timedelta(0), 30),
        (timedelta(days=29, hours=12), 0),
        (timedelta(days=30), 0),
        (timedelta(days=30, seconds=1), -1),
        (timedelta(days=32), -2),
    ],
)
def test_days_left(new_request, now, moment, days):
    assert new_request(record="r1").days_left(now + moment) == days


@pytest.mark.parametrize(
    "given",
    [
        "2026-01-02",
        "2026-01-02T00:00:00Z",
        "2026-01-02T01:00:00+01:00",
        "20260102",
        date(2026, 1, 2),
        datetime(2026, 1, 2),  # noqa: DTZ001
        datetime(2026, 1, 2, 0, 0, 0, 999, tzinfo=UTC),
    ],
)
def test_times_are_utc_whole_seconds(new_request, given):
    assert new_request(record="r1", received_at=given).received_at == datetime(
        2026, 1, 2, tzinfo=UTC
    )


def test_ids_written_as_numbers_are_text(new_request):
    assert new_request(subject=42, request_id=7).selector.value == "42"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "exactly one of record, subject, label, where, not none"),
        ({"record": "r1", "subject": "ann"}, "not record and subject"),
        ({"subject": "ann", "colour": "red"}, "unknown field 'colour'; allowed are request_id"),
        ({"subject": ""}, "subject: String should have at least 1 character"),
        ({"subject": True}, "subject: Input should be a valid string"),
        ({"subject": 1.5}, "subject: Input should be a valid string"),
        ({"subject": "\ud800"}, "unable to parse raw data"),
        ({"record": "r1", "received_at": 20260102.5}, "not an ISO 8601 time"),
        ({"record": "r1", "received_at": "yesterday"}, "not an ISO 8601 time"),
        ({"record": "r1", "received_at": "2062-01-01"}, "lies in the future"),
        ({"record": "r1", "received_at": "0001-01-01T00:00:00+23:00"}, "years 1 to 9999"),
        ({"record": "r1", "due_at": "2026-01-01"}, "due_at lies before received_at"),
        ({"record": "r1", "requester": 1.5}, "requester: Input should be a valid string"),
        ({"record": "r1", "request_id": ""}, "request_id: "),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(new_request, fields, message):
    with pytest.raises(InputError) as error:
        new_request(**fields)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_messages_hold_no_values(new_request):
    with pytest.raises(InputError) as error:
        new_request(subject="s3cret", received_at="s3cret", requester="s3cret")
    assert "s3cret" not in str(error.value)


def test_requester_is_kept_as_a_pseudonym_only():
    seen = []

    def pseudonymise(text: str) -> str:
        seen.append(text)
        return "p-" + "a" * 32

    now = datetime(2026, 1, 5, tzinfo=UTC)
    first = make_request(
        {"record": "r1", "requester": "a@b.c"}, due_days=1, now=now, pseudonymise=pseudonymise
    )
    again = make_request(
        {"record": "r1", "requester": first.requester},
        due_days=1,
        now=now,
        pseudonymise=pseudonymise,
    )
    assert seen == ["a@b.c"]
    assert again == first
    assert "a@b.c" not in str(to_json(first))


def test_json_round_trip(new_request):
    request = new_request(where='label == "2"', reason="ünsure", requester="x", hold="court")
    assert Request.model_validate(to_json(request)) == request
