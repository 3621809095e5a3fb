import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetflow.errors import VerdictError
from forgetflow.files.atomic import write_atomically
from forgetflow.files.jsonable import from_json, to_json
from forgetflow.keys.digests import digest_of, set_digest
from forgetflow.store import store as store_module
from forgetflow.store.receipt import Receipt
from forgetflow.store.store import Store

KEY = digest_of("an object")
TENSORS = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(7)}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def path(store):
    """Bytes of the one object most tests put."""
    return store.root / "objects" / KEY[:2] / f"{KEY}.safetensors"


def records(*numbers):
    rows = [hashlib.sha256(bytes([n])).digest() for n in numbers]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32)


def test_put_get_verify_remove(store):
    assert store.get(KEY) is None
    assert store.verify(KEY) is None
    receipt = store.put(KEY, TENSORS, kind="state", learned_from=["a" * 64], facts={"steps": 3})
    assert store.verify(KEY) == store.receipt(KEY) == receipt
    assert (receipt.kind, receipt.learned_from, receipt.facts) == (
        "state",
        ("a" * 64,),
        {"steps": 3},
    )
    back = store.get(KEY)
    assert back.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(back[name], tensor)
        assert back[name].dtype == tensor.dtype
    store.remove(KEY)
    store.remove(KEY)
    assert store.get(KEY) is None
    assert not list(store.receipts())


def test_receipt_says_what_the_bytes_are(store, path):
    receipt = store.put(KEY, TENSORS, kind="state")
    data = path.read_bytes()
    assert receipt.sha256 == hashlib.sha256(data).hexdigest()
    assert receipt.size == len(data)
    assert from_json(Receipt, json.loads(json.dumps(to_json(receipt)))) == receipt


def test_same_tensors_give_same_bytes(store, path):
    store.put(KEY, TENSORS, kind="state")
    before = path.read_bytes()
    transposed = {"n": TENSORS["n"], "w": TENSORS["w"].T.contiguous().T}  # not contiguous
    store.put(KEY, transposed, kind="state")
    assert path.read_bytes() == before


def test_get_gives_memory_of_its_own(store):
    store.put(KEY, TENSORS, kind="state")
    store.get(KEY)["w"].zero_()
    assert torch.equal(store.get(KEY)["w"], TENSORS["w"])


def test_get_gives_aligned_memory(store):
    """Alignment can select another vector kernel and so change bits."""
    tensors = {f"t{i}": torch.ones(i, dtype=torch.uint8) for i in range(1, 9)}
    store.put(KEY, tensors | TENSORS, kind="state")
    assert {tensor.data_ptr() % 64 for tensor in store.get(KEY).values()} == {0}


def test_every_flipped_byte_is_noticed(store, path):
    store.put(KEY, TENSORS, kind="state")
    data = path.read_bytes()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        assert store.verify(KEY) is None
        assert store.get(KEY) is None
    path.write_bytes(data)
    assert store.verify(KEY) is not None


@pytest.mark.parametrize("size", [0, 1, -1])
def test_truncated_file_is_noticed(store, path, size):
    store.put(KEY, TENSORS, kind="state")
    path.write_bytes(path.read_bytes()[:size])
    assert store.get(KEY) is None
    with pytest.raises(VerdictError, match=KEY[:12]):
        store.require(KEY)


def test_missing_bytes_or_receipt(store, path):
    store.put(KEY, TENSORS, kind="state")
    receipt = path.with_suffix(".json")
    text = receipt.read_bytes()
    receipt.unlink()
    assert store.receipt(KEY) is None
    assert store.get(KEY) is None
    receipt.write_bytes(text)
    assert store.verify(KEY) is not None
    path.unlink()
    assert store.receipt(KEY) is not None
    assert store.verify(KEY) is None


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b"\xff\xfe\x00", b'{"learned_from": null}']
)
def test_unreadable_receipt_means_no_object(store, path, text):
    store.put(KEY, TENSORS, kind="state")
    path.with_suffix(".json").write_bytes(text)
    assert store.receipt(KEY) is None
    assert store.get(KEY) is None
    assert not list(store.receipts())


def test_receipt_of_another_key_does_not_count(store, path):
    other = digest_of("another object")
    store.put(KEY, TENSORS, kind="state")
    store.put(other, TENSORS, kind="state")
    path.with_suffix(".json").write_bytes(
        (store.root / "objects" / other[:2] / f"{other}.json").read_bytes()
    )
    assert store.get(KEY) is None
    assert [r.key for r in store.receipts()] == [other]


@pytest.mark.parametrize("already_there", [False, True])
@pytest.mark.parametrize("crash_at", [1, 2])
def test_crash_while_putting_leaves_no_object(store, monkeypatch, already_there, crash_at):
    if already_there:
        store.put(KEY, {"old": torch.ones(3)}, kind="state")
    writes = []

    def crash(target, data):
        writes.append(target)
        if len(writes) == crash_at:
            raise KeyboardInterrupt
        write_atomically(target, data)

    monkeypatch.setattr(store_module, "write_atomically", crash)
    with pytest.raises(KeyboardInterrupt):
        store.put(KEY, TENSORS, kind="state")
    assert store.verify(KEY) is None
    assert not list(store.receipts())
    monkeypatch.undo()
    store.put(KEY, TENSORS, kind="state")
    assert store.get(KEY).keys() == TENSORS.keys()


def test_write_atomically_keeps_the_old_file_on_a_crash(tmp_path, monkeypatch):
    target = tmp_path / "folder" / "file"
    write_atomically(target, b"old")

    def crash(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_receipts_come_in_key_order(store):
    names = [digest_of(i) for i in range(5)]
    for key in names:
        store.put(key, TENSORS, kind="state")
    assert [r.key for r in store.receipts()] == sorted(names)


def test_members_round_trip_in_any_order(store):
    name = store.put_members(records(1, 2, 3))
    assert name == store.put_members(records(3, 1, 2)) == set_digest(records(1, 2, 3))
    back = store.members(name)
    assert {row.tobytes() for row in back} == {row.tobytes() for row in records(1, 2, 3)}
    assert store.members(store.put_members(records())).shape == (0, 32)


@pytest.mark.parametrize(
    "alter",
    [
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:32],
        lambda data: data[:-1],
        lambda data: data + b"\0" * 32,
    ],
)
def test_altered_member_set_is_refused_and_mended(store, alter):
    name = store.put_members(records(1, 2))
    path = store.root / "members" / name[:2] / name
    path.write_bytes(alter(path.read_bytes()))
    store.put(KEY, TENSORS, kind="state", learned_from=[name])
    with pytest.raises(VerdictError, match=name[:12]):
        store.members(name)
    with pytest.raises(VerdictError, match=name[:12]):
        store.learned_from(records(1))
    store.put_members(records(1, 2))
    assert [r.key for r in store.learned_from(records(1))] == [KEY]


def test_unknown_member_set_is_refused(store):
    with pytest.raises(VerdictError, match="not in the store"):
        store.members("0" * 64)


sets_of_records = st.lists(st.sets(st.integers(0, 12)), max_size=4)


@settings(max_examples=40, deadline=None)
@given(st.lists(sets_of_records, max_size=5), st.sets(st.integers(0, 15)))
def test_learned_from_agrees_with_brute_force(tmp_path_factory, objects, wanted):
    store = Store(tmp_path_factory.mktemp("store"))
    expected = set()
    for i, members in enumerate(objects):
        key = digest_of(i)
        names = [store.put_members(records(*one)) for one in members]
        store.put(key, {"w": torch.zeros(1)}, kind="state", learned_from=names)
        if any(one & wanted for one in members):
            expected.add(key)
    assert {r.key for r in store.learned_from(records(*wanted))} == expected
