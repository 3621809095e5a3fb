import json

import pytest

from forgetflow.errors import InputError, VerdictError
from forgetflow.requests import book as book_module
from forgetflow.requests.book import RequestBook


@pytest.fixture
def book(project):
    return RequestBook(project)


def test_adding_is_idempotent(book, new_request, now):
    first = new_request(subject="ann")
    assert book.requests() == []
    assert book.add([first, first]) == [first]
    assert book.add([first]) == []
    assert book.add([new_request(now.replace(hour=23), subject="ann")]) == []
    assert book.requests() == [first]
    assert book.get(first.request_id) == first


def test_one_id_cannot_stand_for_two_selectors(book, new_request):
    book.add([new_request(subject="ann", request_id="q")])
    fresh = new_request(subject="eve")
    with pytest.raises(InputError, match="'q' already stands for another selector"):
        book.add([fresh, new_request(subject="bob", request_id="q")])
    assert len(book.requests()) == 1, "all or none"
    with pytest.raises(InputError, match="another selector"):
        book.add([new_request(label=v, request_id="n") for v in ("cat", "dog")])


def test_hold_and_release(book, new_request):
    one, two = new_request(subject="ann"), new_request(subject="bob")
    book.add([one, two])
    assert book.hold(one.request_id, "court").hold == "court"
    assert [r.hold for r in book.requests()] == ["court", None]
    assert book.release(one.request_id) == one
    assert book.requests() == [one, two]
    for refused in (
        lambda: book.hold("nope", "court"),
        lambda: book.release("nope"),
        lambda: book.hold(one.request_id, " "),
    ):
        with pytest.raises(InputError):
            refused()


def _damage(lines):
    edited = json.loads(lines[1])
    edited["subject"] = "eve"
    spaced = lines[1].replace(b":", b": ", 1)
    return {
        "edited": (b"\n".join([lines[0], json.dumps(edited).encode(), lines[2], b""]), 2),
        "reformatted": (b"\n".join([lines[0], spaced, lines[2], b""]), 2),
        "torn": (b"\n".join([lines[0], lines[1], lines[2][:40]]), 3),
        "newline missing": (b"\n".join(lines), 3),
        "empty line": (b"\n".join([lines[0], b"", lines[1], b""]), 2),
        "not JSON": (b"\n".join([b"hello", lines[1], b""]), 1),
        "not an object": (b"\n".join([b"3", lines[1], b""]), 1),
        "without digest": (b"\n".join([lines[0], b'{"subject":"ann"}', b""]), 2),
        "no request": (b"\n".join([lines[0], b'{"digest":"a","subject":"ann"}', b""]), 2),
        "not text": (b"\n".join([lines[0], b"\xff", b""]), 2),
    }


@pytest.mark.parametrize("kind", _damage([b'{"subject":"x"}'] * 3))
def test_damage_is_refused_with_file_and_line(book, new_request, kind):
    book.add([new_request(subject=one) for one in ("ann", "bob", "eve")])
    data, line = _damage(book.path.read_bytes().splitlines())[kind]
    book.path.write_bytes(data)
    with pytest.raises(VerdictError, match=rf"requests\.jsonl: line {line} "):
        book.requests()
    with pytest.raises(VerdictError):
        book.add([new_request(subject="new")])
    assert book.path.read_bytes() == data, "a damaged book is left for a person to look at"


def test_a_crash_while_writing_loses_nothing(book, new_request, monkeypatch):
    book.add([new_request(subject="ann")])
    before = book.path.read_bytes()

    def crash(path, data):
        (path.parent / ".tmp-half").write_bytes(data[:10])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(book_module, "write_atomically", crash)
        with pytest.raises(KeyboardInterrupt):
            book.add([new_request(subject="bob")])
    assert book.path.read_bytes() == before
    book.add([new_request(subject="bob")])
    assert len(book.requests()) == 2
    assert [p.name for p in book.path.parent.iterdir()] == ["requests.jsonl"]
