import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forgetflow.errors import VerdictError
from forgetflow.requests.manifest import Manifest, read_manifest, write_manifest


@pytest.fixture
def manifest(now):
    return Manifest(
        batch="b1",
        parent="original",
        method="sisa",
        created=now,
        due_at=now + timedelta(days=30),
        record_ids=("r1", "r2", "r3"),
        digests=np.arange(96, dtype=np.uint8).reshape(3, 32),
        request_ids=("q1", "q2", "q1"),
    )


@pytest.fixture
def path(tmp_path, manifest):
    write_manifest(manifest, tmp_path / "b1.parquet")
    return tmp_path / "b1.parquet"


def test_round_trip(path, manifest):
    back = read_manifest(path, manifest.digest)
    assert back.digest == manifest.digest
    assert back.record_ids == manifest.record_ids
    assert back.request_ids == manifest.request_ids
    assert (back.digests == manifest.digests).all()
    assert back.facts == manifest.facts
    assert back.facts["counts"] == {"records": 3, "requests": 2}
    assert pq.read_schema(path).names == ["record_id", "digest", "request_id"]


def test_the_digest_is_of_the_content_not_the_file(path, manifest):
    before = path.read_bytes()
    pq.write_table(pq.read_table(path), path, compression="none", data_page_version="2.0")
    assert path.read_bytes() != before
    assert read_manifest(path, manifest.digest).digest == manifest.digest


def test_writing_again_is_a_no_op_and_another_one_is_refused(path, manifest, now):
    before = path.read_bytes()
    write_manifest(manifest, path)
    assert path.read_bytes() == before
    with pytest.raises(VerdictError, match="its digest differs"):
        write_manifest(replace(manifest, record_ids=("r1", "r2", "r4")), path)
    assert path.read_bytes() == before
    later = replace(manifest, created=now + timedelta(hours=1))
    assert later.digest != manifest.digest
    assert later.same_content(manifest)
    assert not later.same_content(replace(manifest, method="finetune"))


def _rewrite(path, change_rows=lambda rows: rows, change_facts=lambda facts: facts):
    table = pq.read_table(path)
    facts = change_facts(json.loads(table.schema.metadata[b"forgetflow"]))
    rows = pa.Table.from_pylist(change_rows(table.to_pylist()), table.schema)
    rows = rows.replace_schema_metadata({b"forgetflow": json.dumps(facts).encode()})
    pq.write_table(rows, path)


def _set(index, **change):
    def apply(rows):
        rows[index] |= change
        return rows

    return apply


@pytest.mark.parametrize(
    "change",
    [
        _set(1, record_id="r9"),
        _set(0, request_id="q2"),
        _set(2, digest=b"\1" * 32),
        lambda rows: rows[:2],
        lambda rows: rows + rows[:1],
        lambda rows: rows[::-1],
        lambda rows: [],
    ],
)
def test_changed_rows_are_noticed(path, manifest, change):
    _rewrite(path, change_rows=change)
    for expected in (manifest.digest, None):
        with pytest.raises(VerdictError, match=r"b1\.parquet was altered"):
            read_manifest(path, expected)


@pytest.mark.parametrize(
    "change",
    [
        {"batch": "b2"},
        {"parent": "b7"},
        {"method": "retrain"},
        {"created": "2020-01-01T00:00:00Z"},
        {"due_at": "2030-01-01T00:00:00Z"},
        {"counts": {"records": 2, "requests": 2}},
        {"digest": "0" * 64},
        {"extra": 1},
    ],
)
def test_changed_facts_are_noticed(path, change):
    _rewrite(path, change_facts=lambda facts: facts | change)
    with pytest.raises(VerdictError, match=r"b1\.parquet was altered"):
        read_manifest(path)


def test_a_forged_manifest_is_not_the_one_that_was_sealed(path, manifest):
    forged = replace(manifest, record_ids=("r1", "r2", "r9"))
    path.unlink()
    write_manifest(forged, path)
    assert read_manifest(path).digest == forged.digest
    with pytest.raises(VerdictError, match="not the manifest that was sealed as b1"):
        read_manifest(path, manifest.digest)


def test_a_renamed_file_is_noticed(path, manifest):
    other = path.rename(path.with_name("b2.parquet"))
    with pytest.raises(VerdictError, match=r"b2\.parquet is the manifest of b1"):
        read_manifest(other, manifest.digest)


def test_missing_or_unreadable(path, manifest, tmp_path):
    with pytest.raises(VerdictError, match="is missing: run `dvc checkout`"):
        read_manifest(tmp_path / "b2.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(VerdictError, match="is no manifest"):
        read_manifest(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(VerdictError, match="is no manifest"):
        read_manifest(path)


def test_another_version_says_so(path):
    _rewrite(path, change_facts=lambda facts: facts | {"version": 2})
    with pytest.raises(VerdictError, match="of version 2"):
        read_manifest(path)
    _rewrite(path, change_facts=lambda facts: facts | {"version": 1, "created": 5})
    with pytest.raises(VerdictError, match="is no manifest"):
        read_manifest(path)
