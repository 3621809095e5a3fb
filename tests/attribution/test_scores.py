import json

import numpy as np
import pytest

from forgetflow.attribution.scores import SUMMARY, TENSORS, read_scores, write_scores
from forgetflow.errors import InputError, VerdictError


@pytest.fixture
def folder(scores, tmp_path):
    write_scores(scores, tmp_path / "attribution" / "original")
    return tmp_path / "attribution" / "original"


def test_reading_returns_what_was_written(scores, folder):
    back = read_scores(folder)
    assert back.summary == scores.summary
    for name in ("train_digests", "query_digests", "values"):
        before, after = getattr(scores, name), getattr(back, name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)


def test_writing_twice_leaves_the_same_bytes_and_nothing_else(scores, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {TENSORS, SUMMARY} == {"scores.safetensors", "summary.json"}
    (folder / "left over").touch()
    write_scores(scores, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["original"]


def test_summary_names_no_record(trained, scores, folder):
    text = (folder / SUMMARY).read_text()
    records = trained.workspace.records
    for name in (*records.record_ids, *records.subject_ids, *trained.test.record_ids):
        assert name not in text
    for digest in (*scores.train_digests, *scores.query_digests):
        assert digest.tobytes().hex() not in text


def test_summary_says_what_was_explained(trained, folder):
    facts = json.loads((folder / SUMMARY).read_bytes())
    assert facts["engine"] == "grad_dot"
    assert facts["settings"] == {"method": "auto", "queries": 60, "gradient_mib": 256}
    assert facts["generation"] == "original"
    assert facts["model"] == trained.ensemble.card.digest
    assert facts["constituents"] == 3
    assert facts["train_records"] == len(trained.workspace.records)
    assert facts["train_digest"] == trained.ensemble.card.retain_digest


def test_altered_or_missing_tensors_are_refused(folder):
    data = bytearray((folder / TENSORS).read_bytes())
    data[-1] ^= 1
    (folder / TENSORS).write_bytes(data)
    with pytest.raises(VerdictError, match="missing or altered"):
        read_scores(folder)
    (folder / TENSORS).unlink()
    with pytest.raises(VerdictError, match="missing or altered"):
        read_scores(folder)


def test_missing_scores_are_named(tmp_path):
    with pytest.raises(InputError, match="run `dvc repro attribute` first"):
        read_scores(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": ""}', '{"engine": 1, "sha256": ""}'])
def test_an_unreadable_summary_is_named(folder, text):
    (folder / SUMMARY).write_text(text)
    with pytest.raises(InputError, match="no summary of scores"):
        read_scores(folder)
