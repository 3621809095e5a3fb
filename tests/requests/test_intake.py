import json
from datetime import timedelta

import pytest

from forgetflow.errors import ForgetflowError, InputError
from forgetflow.files import locks
from forgetflow.requests import intake
from forgetflow.requests.book import RequestBook
from forgetflow.requests.intake import (
    add_request,
    hold_request,
    import_requests,
    release_request,
    take_in_inbox,
)
from forgetflow.requests.overview import pending_manifest, request_list
from forgetflow.requests.seal import seal
from forgetflow.requests.states import State


def drop(project, name, content):
    project.inbox.mkdir(parents=True, exist_ok=True)
    path = project.inbox / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_adding_tells_whether_it_was_new(project, now):
    fields = {"subject": "ann", "requester": "ann@example.org", "reason": "moved"}
    request, new = add_request(project, fields, now)
    assert new
    again, new = add_request(project, fields, now + timedelta(hours=1))
    assert (again, new) == (request, False)
    assert "ann@example.org" not in RequestBook(project).path.read_text()


def test_what_means_nothing_is_refused_while_its_author_listens(project, make_project, now):
    for fields in ({"label": "cow"}, {"where": "agee > 3"}, {}):
        with pytest.raises(InputError):
            add_request(project, fields, now)
    assert RequestBook(project).requests() == []
    # Without training data nobody can know.
    assert add_request(make_project(None), {"label": "cow"}, now)[1]


def test_import_is_all_or_nothing(project, tmp_path, now):
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{"subject": "ann"}, {"subject": "bob"}, {"subject": "ann"}]))
    requests, added = import_requests(project, path, now)
    assert (len(requests), added) == (3, 2)
    assert import_requests(project, path, now)[1] == 0
    path.write_text(json.dumps([{"subject": "eve"}, {"request_id": "q"}]))
    with pytest.raises(InputError, match="row 2"):
        import_requests(project, path, now)
    clash = [{"request_id": "q", "subject": "eve"}, {"request_id": "q", "subject": "bob"}]
    path.write_text(json.dumps(clash))
    with pytest.raises(InputError, match=r"r\.json: request id 'q' already stands"):
        import_requests(project, path, now)
    assert len(RequestBook(project).requests()) == 2


def test_the_inbox_is_emptied_and_bad_files_stay(project, now):
    good = drop(project, "good.json", [{"subject": "ann"}])
    bad = drop(project, "bad.json", [{"subject": ""}])
    drop(project, "notes.txt", "hello")
    drop(project, ".half.json", "[{")
    inbox = take_in_inbox(project, now)
    assert inbox.files == ("good.json",)
    assert inbox.added == 1
    assert inbox.refused.keys() == {"bad.json", "notes.txt"}
    assert "row 1" in inbox.refused["bad.json"]
    assert not good.exists()
    assert bad.exists()
    drop(project, "good.json", [{"subject": "bob"}])
    drop(project, "bad.json", [{"subject": "eve"}])
    assert take_in_inbox(project, now).files == ("bad.json", "good.json")
    done = sorted(path.name for path in (project.inbox / "done").iterdir())
    assert done == ["bad.json", "good-2.json", "good.json"]
    assert len(RequestBook(project).requests()) == 3


def test_no_inbox_is_an_empty_one(project, now):
    assert take_in_inbox(project, now) == intake.Inbox((), 0, {})


def test_a_kill_before_the_file_is_moved_is_harmless(project, now, monkeypatch):
    drop(project, "r.json", [{"subject": "ann"}])

    def die(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(intake, "_move_to_done", die)
        with pytest.raises(KeyboardInterrupt):
            take_in_inbox(project, now)
    assert take_in_inbox(project, now) == intake.Inbox(("r.json",), 0, {})
    assert len(RequestBook(project).requests()) == 1


def test_holds_come_before_sealing_not_after(project, now):
    request, _ = add_request(project, {"subject": "ann"}, now)
    hold_request(project, request.request_id, "court order")
    assert seal(project, now).batch is None
    release_request(project, request.request_id)
    assert seal(project, now).batch == "b1"
    with pytest.raises(InputError, match="is sealed in b1 and cannot be held"):
        hold_request(project, request.request_id, "court order")
    with pytest.raises(InputError, match="no request 'nope'"):
        hold_request(project, "nope", "court order")


def test_request_list_shows_what_is_due_first(project, now):
    add_request(project, {"subject": "ann"}, now)
    add_request(project, {"subject": "nobody", "received_at": "2025-12-01"}, now)
    add_request(project, {"record": "r5", "due_at": "2026-01-06", "hold": "court"}, now)
    lines = [line.facts() for line in request_list(project, now)]
    assert [(one["state"], one["days_left"], one["records"]) for one in lines] == [
        ("no_match", -6, 0),
        ("on_hold", 0, 0),
        ("matched", 30, 3),
    ]
    assert lines[1]["note"] == "court"
    seal(project, now)
    line = request_list(project, now + timedelta(days=10))[2].facts()
    assert (line["state"], line["batch"], line["days_left"]) == ("sealed", "b1", 20)
    assert "r0" not in str(line)


def test_before_there_are_records_requests_are_received(make_project, now):
    project = make_project(None)
    assert request_list(project, now) == []
    add_request(project, {"subject": "ann"}, now)
    (line,) = request_list(project, now)
    assert line.status.state is State.RECEIVED
    assert "data import" in line.facts()["note"]


def test_looking_ahead_writes_nothing(project, now):
    assert pending_manifest(project, now) is None
    add_request(project, {"subject": "ann"}, now)
    drop(project, "r.json", [{"subject": "bob"}])
    files = sorted(project.root.rglob("*"))
    pending = pending_manifest(project, now)
    assert pending.record_ids == ("r0", "r1", "r2")
    request_list(project, now)
    assert sorted(project.root.rglob("*")) == files
    (project.inbox / "r.json").unlink()
    assert seal(project, now).manifest.digest == pending.digest


def test_a_lock_that_stays_taken_is_said(project, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    with (
        locks.locked(project.locks, "requests"),
        pytest.raises(ForgetflowError, match="let it finish"),
        locks.locked(project.locks, "requests"),
    ):
        pass
