"""Exactness: deleting a record leaves the bytes of a build that never had it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetflow.partition.forecast import restart_slices
from forgetflow.training.trainer import train_chain
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS

VARIANTS = {
    "momentum": {},
    "plain": {"train": {"momentum": 0.0, "weight_decay": 0.01}},
    "adam, standardised": {
        "train": {"optimizer": "adam", "learning_rate": 0.01},
        "model": {"normalize": "standard"},
    },
    "one after another": {"train": {"engine": "sequential"}},
    "one record a step, one slice": {
        "train": {"batch_size": 1, "epochs": 1},
        "partition": {"shards": 4, "slices": 1},
    },
    "monolith": {"partition": {"method": "monolith"}},
}


def fullest(space):
    """Return the shard whose smallest slice is largest."""
    return int(space.assignment.sizes().min(axis=1).argmax())


def one_of_slice(number):
    def choose(space, mask_of):
        members = space.assignment.members(space.records, fullest(space))
        return mask_of(space.records, members[min(number, len(members) - 1)][0])

    return choose


def tail_of_shard(space, mask_of):
    """The last records by id: what an equal cut would leave over as n mod R."""
    own = np.flatnonzero(space.assignment.shard == fullest(space))
    return mask_of(space.records, *own[len(own) // 3 * 3 :], own[-1])


def last_of_every_epoch(space, mask_of):
    """A record that leaves the last, smaller mini-batch of an epoch empty or full."""
    own = np.flatnonzero(space.assignment.shard == fullest(space))
    left = len(own) % space.settings.train.batch_size
    return mask_of(space.records, *own[: left + 1])


def whole_slice(number):
    def choose(space, mask_of):
        members = space.assignment.members(space.records, fullest(space))
        return mask_of(space.records, *members[min(number, len(members) - 1)])

    return choose


def whole_shard(space, mask_of):
    return space.assignment.shard == fullest(space)


def whole_subject(space, mask_of):
    return np.array(space.records.subject_ids) == space.records.subject_ids[7]


def scattered(space, mask_of):
    return mask_of(space.records, *range(0, len(space.records), 7))


def all_but_one(space, mask_of):
    return ~mask_of(space.records, 11)


DELETIONS = {
    "of the first slice": one_of_slice(0),
    "of the middle slice": one_of_slice(1),
    "of the last slice": one_of_slice(2),
    "the tail of a shard": tail_of_shard,
    "up to the last mini-batch": last_of_every_epoch,
    "the whole first slice": whole_slice(0),
    "the whole middle slice": whole_slice(1),
    "the whole last slice": whole_slice(2),
    "a whole shard": whole_shard,
    "a whole subject": whole_subject,
    "here and there": scattered,
    "all but one": all_but_one,
}


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS.keys())
def original(request, lab, records):
    """A built original; tests work on copies of its store."""
    space = lab.space(records, **request.param)
    return space, lab.build(space)


@pytest.fixture(scope="module")
def usual(lab, records):
    space = lab.space(records)
    return space, lab.build(space)


def contents(space):
    """Return path -> (time of change, bytes) of all objects."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in space.store.root.glob("objects/*/*")
    }


@pytest.mark.parametrize("choose", DELETIONS.values(), ids=DELETIONS.keys())
def test_deleted_is_never_there(original, lab, mask_of, choose):
    """Every state, optimizer included, is byte for byte that of a build from scratch."""
    space, parent = original
    space = lab.copy(space)
    forget = choose(space, mask_of)
    assert forget.any()
    before = lab.states(space)
    child = lab.unlearn(lab.view(space, parent, forget))

    scratch = lab.without(space, forget)
    expected = lab.build(scratch)
    after = lab.states(space, ~forget)
    assert after == lab.states(scratch)
    assert child.digest == expected.digest
    assert child.constituents == expected.constituents
    assert child.retain_digest == expected.retain_digest

    for shard, first in restart_slices(space.assignment, forget).items():
        for number in range(first, space.assignment.slices):
            spot = (shard, number)
            assert spot not in after or after[spot] != before[spot], "the deletion did something"


@pytest.mark.parametrize("choose", DELETIONS.values(), ids=DELETIONS.keys())
def test_only_what_learned_from_it_is_touched(usual, lab, mask_of, choose):
    """Other shards and earlier slices stay as files; new files are the announced ones."""
    space, parent = usual
    space = lab.copy(space)
    forget = choose(space, mask_of)
    view = lab.view(space, parent, forget)
    jobs = jobs_of(METHODS["sisa"], view)
    before, expected = contents(space), lab.states(space)
    lab.unlearn(view)

    after = contents(space)
    assert {path: after[path] for path in before} == before
    fresh = {lab.path(space.store, key) for job in jobs for key in job.fresh}
    assert after.keys() - before.keys() == fresh | {path.with_suffix(".json") for path in fresh}

    hit = restart_slices(space.assignment, forget)
    for (shard, number), state in lab.states(space, ~forget).items():
        untouched = shard not in hit or number < hit[shard]
        assert (state == expected[shard, number]) == untouched


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 59), min_size=1, max_size=6))
def test_no_affected_slice_is_missed(usual, lab, mask_of, chosen):
    """Retrained are (shard, slice) from each shard's first hit slice on, and no other."""
    space, _ = usual
    space = lab.copy(space)
    forget = mask_of(space.records, *chosen)
    hit = restart_slices(space.assignment, forget)
    trained = set()
    for shard in space.occupied(~forget):
        seen = set()
        _, work = train_chain(
            space.store,
            space.chain(shard, ~forget),
            space.recipe,
            lambda number, _, seen=seen: seen.add(number),
        )
        trained |= {(shard, number) for number in work.slices}
        assert seen <= set(work.slices)
        assert (work.samples > 0) == (work.steps > 0) == (shard in hit)
    assert trained == {
        (shard, number)
        for shard, first in hit.items()
        for number in range(first, 3)
        if shard in space.occupied(~forget)
    }


def test_deleting_nothing_costs_nothing(original, lab, count_samples):
    space, parent = original
    space = lab.copy(space)
    before = contents(space)
    nothing = ~space.everything
    view = lab.view(space, parent, nothing)
    assert all(job.fresh == () for job in jobs_of(METHODS["sisa"], view))
    child = lab.unlearn(view)
    assert child.constituents == parent.constituents
    assert count_samples == []
    assert contents(space) == before


def test_deleting_everything_leaves_no_constituent(usual, lab, count_samples):
    space, parent = usual
    child = lab.unlearn(lab.view(lab.copy(space), parent, space.everything))
    assert (child.constituents, child.records) == ((), 0)
    assert count_samples == []


def test_doing_it_again_is_a_no_op(usual, lab, mask_of, count_samples):
    space, parent = usual
    space = lab.copy(space)
    forget = mask_of(space.records, 3, 30)
    first = lab.unlearn(lab.view(space, parent, forget))
    before = contents(space)
    count_samples.clear()
    assert lab.unlearn(lab.view(space, parent, forget)) == first
    assert count_samples == []
    assert contents(space) == before


def in_batches(space, parent, lab, mask_of, batches):
    """Delete batch after batch; return the last generation."""
    gone = ~space.everything
    for batch in batches:
        forget = mask_of(space.records, *batch)
        parent = lab.unlearn(lab.view(space, parent, forget, gone=gone))
        gone = gone | forget
    return parent


@settings(max_examples=12, deadline=None)
@given(st.permutations([1, 2, 17, 40, 41, 59]), st.lists(st.integers(1, 5), max_size=3))
def test_batches_and_their_order_do_not_matter(usual, lab, mask_of, order, cuts):
    """Any way to cut a forget set into batches ends in the same bytes."""
    space, parent = usual
    space = lab.copy(space)
    edges = [0, *sorted(set(cuts)), 6]
    batches = [order[start:end] for start, end in pairwise(edges)]
    last = in_batches(space, parent, lab, mask_of, batches)
    forget = mask_of(space.records, *order)
    scratch = lab.without(space, forget)
    assert last.digest == lab.build(scratch).digest
    assert lab.states(space, ~forget) == lab.states(scratch)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (0, 58), (20, 33)])
def test_one_batch_is_two_in_either_order(original, lab, mask_of, one, other):
    """And for every variant of training."""
    space, parent = original
    found = []
    for batches in ([[one, other]], [[one], [other]], [[other], [one]]):
        copy = lab.copy(space)
        last = in_batches(copy, parent, lab, mask_of, batches)
        found.append((last.digest, lab.states(copy, ~mask_of(space.records, one, other))))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    "model", [{"architecture": "lenet"}, {"hidden": [128], "normalize": "standard"}]
)
def test_real_digits(digits, lab, mask_of, model):
    """On images, with the networks people use."""
    some = digits.take(np.arange(0, len(digits), 7))
    space = lab.space(
        some,
        model=model,
        partition={"shards": 2, "slices": 2},
        train={"epochs": 1, "batch_size": 16, "learning_rate": 0.05},
    )
    parent = lab.build(space)
    forget = mask_of(some, 0, 77, 78, 150)
    child = lab.unlearn(lab.view(space, parent, forget))
    scratch = lab.without(space, forget)
    assert child.digest == lab.build(scratch).digest != parent.digest
    assert lab.states(space, ~forget) == lab.states(scratch)
