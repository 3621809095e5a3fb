"""The placement as a table on disk, and who is a member of what."""

import numpy as np
import pytest

from forgetflow.errors import InputError, VerdictError
from forgetflow.keys.digests import canonical_order
from forgetflow.partition.assignment import Assignment, read_assignment, write_assignment
from forgetflow.records.record_set import build_record_set
from forgetflow.records.schema import RecordSchema, TensorFeatures

NAMES = [f"r{i}" for i in range(8)]
PLACED = Assignment(3, 2, np.array([0, 0, 2, 2, 2, 0, 0, 2]), np.array([0, 1, 1, 1, 1, 0, 0, 1]))


def records(names=NAMES):
    return build_record_set(
        RecordSchema(("a",), TensorFeatures((1,), "float32")),
        record_ids=names,
        subject_ids=names,
        labels=[0] * len(names),
        features=np.arange(len(names), dtype=np.float32).reshape(-1, 1),
        where="test",
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "partition" / "assignment.parquet"


def test_members_come_slice_by_slice_in_canonical_order():
    everyone = records()
    first, second = PLACED.members(everyone, 0)
    assert sorted(first) == [0, 5, 6]
    assert list(first) == list(np.array([0, 5, 6])[canonical_order(everyone.digests[[0, 5, 6]])])
    assert list(second) == [1]
    assert [len(part) for part in PLACED.members(everyone, 1)] == [0, 0]


def test_taking_records_moves_nobody_else():
    keep = np.array([True, False, True, True, False, True, True, True])
    left = PLACED.take(keep)
    assert (left.shards, left.slices) == (3, 2)
    assert (left.shard == PLACED.shard[keep]).all()
    assert (left.slice == PLACED.slice[keep]).all()


def test_sizes_and_summary_count():
    assert PLACED.sizes().tolist() == [[3, 1], [0, 0], [0, 4]]
    assert PLACED.summary() == {
        "records": 8,
        "shards": 3,
        "slices": 2,
        "smallest_shard": 0,
        "largest_shard": 4,
        "empty_slices": 3,
    }


def test_round_trip(path):
    write_assignment(records(), PLACED, path)
    back = read_assignment(records(), path)
    assert (back.shards, back.slices) == (3, 2)
    assert (back.shard == PLACED.shard).all()
    assert (back.slice == PLACED.slice).all()
    assert back.sizes().shape == (3, 2), "shards without records are not lost"


def test_the_same_placement_is_the_same_file(path, tmp_path):
    write_assignment(records(), PLACED, path)
    write_assignment(records(), PLACED, tmp_path / "again.parquet")
    assert path.read_bytes() == (tmp_path / "again.parquet").read_bytes()


@pytest.mark.parametrize("others", [NAMES[:-1], [*NAMES, "r9"], [*NAMES[:-1], "r9"], []])
def test_a_placement_of_other_records_is_refused(path, others):
    write_assignment(records(), PLACED, path)
    with pytest.raises(VerdictError, match="other records"):
        read_assignment(records(others), path)


def test_a_missing_placement_says_what_to_run(path):
    with pytest.raises(InputError, match="dvc repro partition"):
        read_assignment(records(), path)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_placement_says_what_to_run(path, share):
    write_assignment(records(), PLACED, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match="dvc repro partition"):
        read_assignment(records(), path)
