import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgetflow.config.project import Project
from forgetflow.errors import InputError, VerdictError
from forgetflow.files.jsonable import to_json
from forgetflow.records.record_set import write_record_set
from forgetflow.requests import seal as seal_module
from forgetflow.requests.batches import forgotten_ids, read_batches, sealed_manifests
from forgetflow.requests.book import RequestBook
from forgetflow.requests.intake import add_request, hold_request, release_request
from forgetflow.requests.ledger import Ledger
from forgetflow.requests.manifest import manifest_path
from forgetflow.requests.overview import request_list
from forgetflow.requests.seal import SealResult, batch_manifest, seal
from forgetflow.requests.selectors import resolve
from forgetflow.requests.states import State


def add(project, now, **fields):
    return add_request(project, fields, now)[0].request_id


def states(result: SealResult):
    return {one.request_id: (str(one.state), one.records) for one in result.outcomes}


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*"))} if folder.exists() else {}


def test_the_first_batch(project, now, records):
    ann = add(project, now, subject="ann", requester="me")
    eve = add(project, now, record="r5", due_at="2026-01-20")
    result = seal(project, now + timedelta(days=1))
    assert result.batch == "b1"
    assert states(result) == {ann: ("sealed", 3), eve: ("sealed", 1)}
    manifest = batch_manifest(project, "b1")
    assert manifest.digest == result.manifest.digest
    assert manifest.record_ids == ("r0", "r1", "r2", "r5")
    assert manifest.request_ids == (ann, ann, ann, eve)
    assert (manifest.digests == records.digests[[0, 1, 2, 5]]).all()
    assert (manifest.parent, manifest.method) == ("original", "sisa")
    assert manifest.due_at == datetime(2026, 1, 20, tzinfo=UTC)
    assert manifest.created == now + timedelta(days=1)
    (entry,) = Ledger(project).verify()
    assert (entry.event, entry.batch) == ("sealed", "b1")
    assert entry.facts == to_json(read_batches(project)["b1"])
    assert entry.facts["records"] == 4
    assert entry.facts["requests"] == 2


def test_nothing_to_seal_writes_nothing(project, make_project, now):
    result = seal(project, now)
    assert (result.batch, result.outcomes, result.resumed) == (None, (), None)
    assert not project.forget.exists()
    nobody = add(project, now, subject="nobody")
    assert states(seal(project, now)) == {nobody: ("no_match", 0)}
    assert not project.forget.exists()
    empty = make_project(None)
    early = add(empty, now, subject="ann")
    result = seal(empty, now)
    assert states(result) == {early: ("received", 0)}
    assert "data import" in result.outcomes[0].note


def test_every_open_request_is_answered(project, now):
    old = add(project, now, subject="eve")
    seal(project, now)
    ids = {
        "sealed": add(project, now, subject="ann"),
        "no_match": add(project, now, record="r9"),
        "duplicate": add(project, now, where='subject_id == "eve"'),
        "on_hold": add(project, now, record="r4", hold="court"),
    }
    result = seal(project, now)
    assert {state: one for one, (state, _) in states(result).items()} == ids
    assert old not in states(result)
    notes = {str(one.state): one.note for one in result.outcomes}
    assert notes["duplicate"] == "all its records are already in b1 or earlier"
    assert notes["on_hold"] == "court"
    assert result.facts()["requests"] == dict.fromkeys(sorted(ids), 1)
    assert result.facts()["records"] == 3
    assert json.loads(json.dumps(result.details()))["outcomes"][0]["state"] == "sealed"


def test_batches_form_a_chain(project, now):
    add(project, now, subject="eve")
    seal(project, now)
    add(project, now, subject="bob")
    second = seal(project, now, method="finetune")
    assert (second.batch, second.manifest.parent, second.manifest.method) == (
        "b2",
        "b1",
        "finetune",
    )
    assert forgotten_ids(project, "b2") == ["r3", "r4", "r5"]


def test_a_partly_forgotten_subject_seals_the_rest(project, now):
    add(project, now, record="r1")
    seal(project, now)
    ann = add(project, now, subject="ann")
    assert states(seal(project, now)) == {ann: ("sealed", 2)}
    assert batch_manifest(project, "b2").record_ids == ("r0", "r2")


def test_a_record_asked_for_twice_counts_for_the_first(project, now):
    second = add(project, now, subject="ann")
    third = add(project, now + timedelta(hours=1), record="r2", due_at="2026-01-08")
    first = add(project, now - timedelta(hours=1), record="r1")
    result = seal(project, now)
    assert states(result) == {
        second: ("sealed", 2),
        third: ("duplicate", 0),
        first: ("sealed", 1),
    }
    assert batch_manifest(project, "b1").request_ids == (second, first, second)
    assert result.manifest.due_at == datetime(2026, 1, 8, tzinfo=UTC), "urgent though duplicate"


def test_a_hold_protects_records_until_it_is_released(project, now):
    ann = add(project, now, subject="ann")
    one = add(project, now, record="r1")
    hold_request(project, one, "court")
    result = seal(project, now)
    assert result.batch is None
    assert states(result) == {ann: ("on_hold", 0), one: ("on_hold", 0)}
    assert one in result.outcomes[0].note
    release_request(project, one)
    assert len(seal(project, now).manifest) == 3


def test_forgotten_records_stay_known_after_erasure(project, now, records):
    add(project, now, subject="ann")
    seal(project, now)
    write_record_set(records.without(forgotten_ids(project, "b1")), project.train, parts=1)
    again = add(project, now + timedelta(days=1), subject="ann")
    one = add(project, now, record="r1")
    label = add(project, now, label="cat")
    result = seal(project, now)
    assert states(result) == {
        again: ("duplicate", 0),
        one: ("duplicate", 0),
        label: ("sealed", 1),
    }


def test_records_imported_again_are_not_sealed_again(project, now):
    add(project, now, subject="ann")
    seal(project, now)
    assert seal(project, now).batch is None
    assert states(seal(project, now)) == {}


def test_an_unusable_request_does_not_stop_the_others(make_project, records, now):
    project = make_project(None)
    bad = add(project, now, where="nope == 1")
    ann = add(project, now, subject="ann")
    write_record_set(records, project.train, parts=1)
    result = seal(project, now)
    assert states(result) == {bad: ("received", 0), ann: ("sealed", 3)}
    assert "unknown column 'nope'" in result.outcomes[0].note


def test_the_inbox_is_taken_in_first(project, now):
    project.inbox.mkdir(parents=True)
    (project.inbox / "a.json").write_text('[{"subject": "ann"}]')
    (project.inbox / "b.csv").write_text("nonsense\n1\n")
    result = seal(project, now)
    assert len(result.manifest) == 3
    assert result.facts()["inbox"] == {"files": 1, "added": 1, "refused": 1}
    assert "b.csv" in result.details()["refused"]


def test_a_method_that_is_no_name_is_refused_before_anything_is_written(project, now):
    add(project, now, subject="ann")
    with pytest.raises(InputError, match="is no method name"):
        seal(project, now, method="My Method")
    assert not project.forget.exists()


class Killed(BaseException):
    pass


def _kill_at(patch, step, *, after):
    """Make a step of sealing die before or after it has done its work."""
    target, name = {
        "manifest": (seal_module, "write_manifest"),
        "batches": (seal_module, "write_batches"),
        "ledger": (Ledger, "append"),
    }[step]
    work = getattr(target, name)

    def die(*args, **kwargs):
        if after:
            work(*args, **kwargs)
        raise Killed

    patch.setattr(target, name, die)


KILLS = [(step, after) for step in ("manifest", "batches", "ledger") for after in (False, True)]


@pytest.mark.parametrize(("step", "after"), KILLS)
@pytest.mark.parametrize("earlier", [False, True])
def test_a_killed_seal_is_completed_by_the_next(project, now, monkeypatch, step, after, earlier):
    if earlier:
        add(project, now, subject="eve")
        seal(project, now)
    add(project, now, subject="ann")
    with monkeypatch.context() as patch:
        _kill_at(patch, step, after=after)
        with pytest.raises(Killed):
            seal(project, now)
    resumed = seal(project, now + timedelta(hours=1))
    name = "b2" if earlier else "b1"
    assert list(read_batches(project)) == (["b1", "b2"] if earlier else ["b1"])
    assert batch_manifest(project, name).record_ids == ("r0", "r1", "r2")
    assert [one.event for one in Ledger(project).verify()] == ["sealed"] * (1 + earlier)
    # Where the batch existed already, the next seal at most completes its ledger.
    existed = (step, after) in {("batches", True), ("ledger", False), ("ledger", True)}
    unfinished = existed and (step, after) != ("ledger", True)
    assert resumed.batch == (None if existed else name)
    assert resumed.resumed == (name if unfinished else None)
    if (step, after) != ("manifest", False):
        assert batch_manifest(project, name).created == now, "the one that was written"
    files = contents(project.forget)
    assert seal(project, now).batch is None
    assert contents(project.forget) == files


@pytest.mark.parametrize("what", ["more", "hold", "method", "damage"])
def test_an_orphan_manifest_that_no_longer_fits_is_replaced(project, now, monkeypatch, what):
    ann = add(project, now, subject="ann")
    with monkeypatch.context() as patch:
        _kill_at(patch, "manifest", after=True)
        with pytest.raises(Killed):
            seal(project, now)
    orphan = manifest_path(project, "b1")
    assert orphan.exists()
    if what == "more":
        add(project, now, subject="bob")
        assert len(seal(project, now).manifest) == 5
    elif what == "hold":
        hold_request(project, ann, "court")
        assert seal(project, now).batch is None
        assert not orphan.exists()
    elif what == "method":
        assert seal(project, now, method="retrain").manifest.method == "retrain"
    else:
        orphan.write_bytes(b"half")
        assert len(seal(project, now).manifest) == 3
    sealed_manifests(project)


def test_temporary_files_of_a_killed_write_are_swept(project, now):
    add(project, now, subject="ann")
    project.forget.mkdir(parents=True)
    (project.forget / ".tmp-x").write_bytes(b"r0 r1 r2")
    seal(project, now)
    assert sorted(contents(project.forget)) == ["b1.parquet", "batches.yaml", "ledger.jsonl"]


def _two_batches(project, now):
    for subject in ("ann", "bob"):
        add(project, now, subject=subject)
        seal(project, now)
    add(project, now, subject="eve")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("batches.yaml", b"", b"batches: {}\n"), "the ledger says b1 is sealed but"),
        (("batches.yaml", b"records: 3", b"records: 2"), "disagree on b1"),
        (("ledger.jsonl", b'"records":3', b'"records":2'), "line 1 was altered"),
        (("ledger.jsonl", b"", b""), "disagree on b1"),
    ],
)
def test_contradictions_stop_the_seal(project, now, edit, message):
    _two_batches(project, now)
    name, old, new = edit
    path = project.forget / name
    before = path.read_bytes()
    path.write_bytes(before.replace(old, new, 1) if old else new)
    files = contents(project.forget)
    with pytest.raises(VerdictError, match=message):
        seal(project, now)
    assert contents(project.forget) == files


def test_git_sees_no_record_and_no_subject(project, now):
    _two_batches(project, now)
    seal(project, now)
    text = "".join((project.forget / n).read_text() for n in ("batches.yaml", "ledger.jsonl"))
    words = set(text.replace('"', " ").replace(":", " ").replace(",", " ").split())
    secrets = {f"r{i}" for i in range(6)} | {"ann", "bob", "eve"}
    secrets |= {one.request_id for one in RequestBook(project).requests()}
    assert not words & secrets
    for entry in Ledger(project).entries():
        for value in entry.facts.values():
            assert value not in secrets


def test_facts_for_logs_name_nobody(project, now):
    _two_batches(project, now)
    facts = str(seal(project, now).facts())
    assert not any(f"'{one}'" in facts for one in ("ann", "bob", "eve", "r5"))
    assert all(one.request_id not in facts for one in RequestBook(project).requests())


actions = st.one_of(
    st.just("seal"),
    st.tuples(st.just("record"), st.sampled_from([f"r{i}" for i in range(8)])),
    st.tuples(st.just("subject"), st.sampled_from(["ann", "bob", "eve", "nobody"])),
    st.tuples(st.just("label"), st.sampled_from(["cat", "dog"])),
    st.tuples(st.just("where"), st.sampled_from(["deletion_prior > 0.2", "age > 25"])),
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(actions, st.integers(0, 2)), max_size=10))
def test_any_sequence_seals_the_union_exactly_once(make_project, records, now, steps):
    project = Project(make_project().root)
    asked: set[str] = set()
    for action, day in steps:
        clock = now + timedelta(days=day)
        if action == "seal":
            seal(project, clock)
            continue
        kind, value = action
        request, _ = add_request(project, {kind: value}, clock)
        asked |= set(resolve(request.selector, records))
    seal(project, now)
    manifests = sealed_manifests(project)
    sealed = [one for manifest in manifests for one in manifest.record_ids]
    assert sorted(sealed) == sorted(asked)
    assert all(len(manifest) for manifest in manifests)
    assert seal(project, now).batch is None
    assert len(Ledger(project).verify()) == len(manifests)
    for line in request_list(project, now):
        matches = bool(resolve(line.request.selector, records))
        expected = {State.SEALED, State.DUPLICATE} if matches else {State.NO_MATCH}
        assert line.status.state in expected
