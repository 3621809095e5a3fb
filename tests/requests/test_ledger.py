import json

import pytest

from forgetflow.errors import InputError, VerdictError
from forgetflow.keys.digests import canonical_json, digest_of
from forgetflow.requests.ledger import EVENTS, GENESIS, Ledger

FACTS = {"manifest": "ab" * 32, "records": 3, "share": 0.5, "exact": True, "gate": None}


@pytest.fixture
def ledger(project):
    return Ledger(project)


@pytest.fixture
def four(ledger, now):
    for n, event in enumerate(("sealed", "unlearned", "published", "erased")):
        ledger.append(event, "b1", FACTS | {"n": n}, now)
    return ledger


def test_entries_are_chained(four):
    entries = four.verify()
    assert [one.seq for one in entries] == [1, 2, 3, 4]
    assert [one.event for one in entries] == ["sealed", "unlearned", "published", "erased"]
    assert [one.previous for one in entries] == [GENESIS, *(one.digest for one in entries[:-1])]
    assert entries[0].at == "2026-01-05T12:00:00Z"
    assert entries[0].facts == FACTS | {"n": 0}
    for line in four.path.read_bytes().splitlines():
        content = json.loads(line)
        assert canonical_json(content) == line
        assert content.pop("digest") == digest_of(content)


def test_an_empty_ledger_is_sound(ledger):
    assert ledger.verify() == []
    with pytest.raises(VerdictError, match="lines were cut off"):
        ledger.verify("ab" * 32)


def test_what_was_said_already_is_not_said_again(ledger):
    def say(event, n=0, batch="b1"):
        return ledger.append(event, batch, {"n": n}) is not None

    assert say("sealed")
    assert say("unlearned")
    assert not say("sealed")
    assert not say("unlearned")
    assert say("unlearned", batch="b2")
    assert say("unlearned", 1)
    assert say("unlearned", 0), "only the latest of an event counts"
    assert say("failed_before_publish")
    assert not say("failed_before_publish")
    assert say("unlearned", 0), "a retry after a setback is news"
    assert say("failed_before_publish"), "and so is failing again"
    assert say("erased")
    assert say("erase_incomplete")
    assert say("erased"), "the alarm must be taken back"
    assert say("erase_incomplete"), "and be raised again"
    assert len(ledger.verify()) == 12


@pytest.mark.parametrize("field", ["seq", "at", "event", "batch", "facts", "previous", "digest"])
@pytest.mark.parametrize("line", [0, 1, 3])
def test_a_changed_field_is_noticed(four, field, line):
    lines = four.path.read_bytes().splitlines()
    content = json.loads(lines[line])
    content[field] = {"seq": 9, "facts": {"records": 9}, "event": "verified"}.get(field, "0" * 63)
    lines[line] = canonical_json(content)
    four.path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(VerdictError, match=rf"ledger\.jsonl: line {line + 1} "):
        four.verify()
    with pytest.raises(VerdictError):
        four.append("certified", "b1", {})


def test_a_line_forged_with_its_digest_breaks_the_next_one(four):
    lines = four.path.read_bytes().splitlines()
    content = json.loads(lines[1])
    content["facts"] = {"records": 9}
    content["digest"] = digest_of({k: v for k, v in content.items() if k != "digest"})
    lines[1] = canonical_json(content)
    four.path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(VerdictError, match="line 3 does not continue the line before"):
        four.verify()


@pytest.mark.parametrize(
    ("order", "line"),
    [
        ([0, 2, 1, 3], 2),
        ([1, 0, 2, 3], 1),
        ([0, 2, 3], 2),
        ([1, 2, 3], 1),
        ([0, 1, 1, 2, 3], 3),
        ([0, 1, 2, 3, 3], 5),
    ],
)
def test_moved_removed_and_repeated_lines_are_noticed(four, order, line):
    lines = four.path.read_bytes().splitlines(keepends=True)
    four.path.write_bytes(b"".join(lines[i] for i in order))
    with pytest.raises(VerdictError, match=rf"line {line} does not continue"):
        four.verify()


def test_lines_cut_off_at_the_end_are_noticed_against_a_head(four):
    head = four.verify()[-1].digest
    assert four.verify(head)
    lines = four.path.read_bytes().splitlines(keepends=True)
    four.path.write_bytes(b"".join(lines[:3]))
    assert len(four.verify()) == 3, "the chain alone cannot know"
    with pytest.raises(VerdictError, match="lines were cut off"):
        four.verify(head)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b'"seq":3', b'"seq": 3'),
        lambda line: line.replace(b'"facts":{', b'"facts":{"x":1},"facts":{'),
        lambda line: line.replace(b'"n":2', b'"n":NaN'),
        lambda line: line.replace(b'"n":2', b'"n":"\\ud800"'),
        lambda line: b"hello",
        lambda line: b"",
        lambda line: b"[]",
        lambda line: b"{}",
        lambda line: b"\xff",
        lambda line: line[:-20],
        lambda line: line.replace(b"published", b"cancelled"),
    ],
)
def test_a_completed_line_is_never_repaired(four, change):
    lines = four.path.read_bytes().splitlines()
    third = change(lines[2])
    for damaged in ([*lines[:2], third, lines[3]], [*lines[:2], third]):
        four.path.write_bytes(b"\n".join(damaged) + b"\n")
        before = four.path.read_bytes()
        for attempt in (four.verify, lambda: four.append("certified", "b1", {})):
            with pytest.raises(VerdictError, match="line 3 "):
                attempt()
        assert four.path.read_bytes() == before


def test_a_torn_tail_is_taken_out_by_the_next_append(four, now):
    whole = four.path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    last = four.verify()[3]
    for end in (start + 1, start + 9, len(whole) // 2 + start // 2, len(whole) - 2):
        four.path.write_bytes(whole[:end])
        assert len(four.verify()) == 3
        assert four.append("erased", "b1", last.facts, now) == last
        assert four.path.read_bytes() == whole


def test_a_tail_that_lacks_only_its_newline_is_kept(four, now):
    whole = four.path.read_bytes()
    four.path.write_bytes(whole[:-1])
    assert len(four.verify()) == 4
    assert four.append("erased", "b1", FACTS | {"n": 3}) is None
    four.append("certified", "b1", {}, now)
    assert four.path.read_bytes().startswith(whole)
    assert len(four.verify()) == 5


def test_an_altered_tail_without_newline_is_no_crash(four):
    whole = four.path.read_bytes()
    four.path.write_bytes(whole[:-1].replace(b'"n":3', b'"n":4'))
    with pytest.raises(VerdictError, match="line 4 was altered"):
        four.verify()


def test_a_crash_while_appending_is_survived(four, now, monkeypatch):
    entries = four.verify()

    def die(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", die)
    with pytest.raises(KeyboardInterrupt):
        four.append("certified", "b1", {}, now)
    monkeypatch.undo()
    assert four.append("certified", "b1", {}, now) is None, "it did reach the file"
    assert four.verify()[:4] == entries


@pytest.mark.parametrize(
    "facts",
    [
        {"who": "Ann Smith"},
        {"who": "ann@example.org"},
        {"why": "could not read r1"},
        {"record": "digits-00017"},
        {"nested": {"deep": ["fine", "Not fine"]}},
        {"A key": 1},
        {"bytes": b"x"},
        {"share": float("nan")},
        {"word": "w" * 60},
    ],
)
def test_free_text_does_not_reach_git(ledger, facts):
    with pytest.raises(InputError, match="ledger: facts"):
        ledger.append("sealed", "b1", facts)
    assert not ledger.path.exists()


def test_facts_that_may_be_written(ledger):
    facts = {
        "digest": "0" * 64,
        "md5": "0" * 32,
        "who": "p-" + "0" * 32,
        "when": "2026-01-05T12:00:00Z",
        "method": "l1_sparse",
        "parent": "b12",
        "places": {"dvc_cache": 0, "remotes": [1, 2.5]},
    }
    assert ledger.append("sealed", "b1", facts)
    assert ledger.append("sealed", "b1", facts) is None
    assert ledger.verify()[0].facts == facts


def test_events_and_batches_are_checked(ledger):
    with pytest.raises(InputError, match=f"there are {', '.join(EVENTS)}"):
        ledger.append("cancelled", "b1", {})
    for batch in ("ann", "b0", "b1x", ""):
        with pytest.raises(InputError, match="the batch must be"):
            ledger.append("sealed", batch, {})
