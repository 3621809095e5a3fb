"""The control that does nothing does nothing."""

import pytest

from forgetflow.errors import VerdictError
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS


@pytest.fixture(scope="module")
def space(lab, records):
    return lab.space(records)


@pytest.fixture(scope="module")
def parent(lab, space):
    return lab.build(space)


def test_the_parent_is_carried_over_byte_for_byte(lab, space, parent, mask_of, count_samples):
    copy = lab.copy(space)
    before = {path: path.read_bytes() for path in copy.store.root.rglob("*") if path.is_file()}
    child = lab.unlearn(lab.view(copy, parent, mask_of(space.records, 3, 30), "none"), "none")
    assert child.digest == parent.digest
    assert [c.key for c in child.constituents] == [c.key for c in parent.constituents]
    assert count_samples == []
    after = {path: path.read_bytes() for path in copy.store.root.rglob("*") if path.is_file()}
    assert after == before


def test_also_a_shard_without_records_is_carried_over(lab, space, parent):
    whole = space.assignment.shard == 0
    jobs = jobs_of(METHODS["none"], lab.view(space, parent, whole, "none"))
    assert [job.shard for job in jobs] == [0, 1, 2]
    assert all(job.fresh == () for job in jobs)


def test_a_lost_parent_is_noticed(lab, space, parent, mask_of):
    copy = lab.copy(space)
    copy.store.remove(parent.constituents[1].key)
    with pytest.raises(VerdictError, match="missing or corrupted"):
        lab.unlearn(lab.view(copy, parent, mask_of(space.records, 3), "none"), "none")


def test_through_a_project(make_folder, records):
    folder = make_folder(records)
    original = folder.build()
    child = folder.forget({"record": "r0003"}, method="none")
    assert folder.weights("b1") == folder.weights("original")
    assert (child.guarantee, child.method, child.records) == ("approximate", "none", 59)
    assert child.digest == original.digest
