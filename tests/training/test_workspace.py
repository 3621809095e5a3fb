"""A project's records, placement, recipe and store, read together."""

import pyarrow.parquet as pq
import pytest

from forgetflow.errors import InputError, VerdictError
from forgetflow.records.record_set import write_record_set
from forgetflow.training.workspace import Workspace


@pytest.fixture
def space(make_space, records):
    return make_space(records)


@pytest.fixture
def project(make_project, space):
    return make_project(space)


def keys(space):
    return [space.chain(shard, space.everything).keys for shard in range(2)]


def test_a_project_opens_as_it_was_written(space, project):
    opened = Workspace.open(project)
    assert opened.settings == space.settings
    assert opened.records.digest == space.records.digest
    assert keys(opened) == keys(space)
    assert opened.store.root == project.store
    assert not project.store.exists(), "opening writes nothing"


def test_slices_hold_the_kept_records_and_no_others(space):
    keep = space.everything
    keep[::3] = False
    seen = []
    for shard in range(2):
        for number, part in enumerate(space.slices(shard, keep)):
            where = (space.assignment.shard == shard) & (space.assignment.slice == number) & keep
            expected = {row.tobytes() for row in space.records.digests[where]}
            assert {row.tobytes() for row in part.digests} == expected
            seen += [row.tobytes() for row in part.digests]
            for digest, inputs, target in zip(part.digests, part.inputs, part.labels, strict=True):
                at = (space.records.digests == digest).all(axis=1).argmax()
                assert (space.records.inputs[at] == inputs).all()
                assert space.records.labels[at] == target
    assert len(seen) == len(set(seen)) == keep.sum()
    assert all(part.labels is None for part in space.slices(0, keep, labels=False))


def test_shards_without_records_are_not_occupied(space):
    assert space.occupied(space.everything) == [0, 1]
    assert space.occupied(space.assignment.shard == 1) == [1]
    assert space.occupied(~space.everything) == []


def test_another_seed_keeps_the_placement(space):
    other = space.with_seed(7)
    assert other.assignment is space.assignment
    assert not {k for chain in keys(other) for k in chain} & {k for c in keys(space) for k in c}
    assert keys(other.with_seed(0)) == keys(space)


def test_an_altered_record_is_refused(project):
    path = next(project.train.glob("*.parquet"))
    table = pq.read_table(path)
    labels = table["label"].to_numpy().copy()
    labels[0] = (labels[0] + 1) % 3
    position = table.schema.get_field_index("label")
    pq.write_table(table.set_column(position, table.schema.field("label"), [labels]), path)
    with pytest.raises(VerdictError, match="do not match their digest"):
        Workspace.open(project)


def test_a_partition_of_other_records_is_refused(project, records):
    write_record_set(records.without(["r0003"]), project.train, parts=1)
    with pytest.raises(VerdictError, match="other records"):
        Workspace.open(project)


def test_an_empty_project_says_what_to_run(project):
    for path in project.train.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="data import"):
        Workspace.open(project)
