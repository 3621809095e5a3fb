"""The laws that every unlearning method keeps; a new method is held to them for nothing.

Networks are a multi-layer perceptron with a fitted normalisation and a convolutional network with
batch normalisation; methods for other families run on a forest.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from forgetflow.errors import AccessError
from forgetflow.training.promise import Guarantee
from forgetflow.training.sequential import weights_of
from forgetflow.training.work import PARTS
from forgetflow.unlearning import edit as edit_module
from forgetflow.unlearning.edit import EditMethod
from forgetflow.unlearning.protocol import RunsMany, jobs_of
from forgetflow.unlearning.registry import METHODS
from forgetflow.unlearning.view import Access, View

ALL = frozenset(Access)
EDITS = [name for name, method in METHODS.items() if isinstance(method, EditMethod)]
MANY = [name for name, method in METHODS.items() if isinstance(method, RunsMany)]
MLP = {"model": {"hidden": [37], "normalize": "standard"}}
KINDS = {
    "mlp": MLP,
    "sequential mlp": MLP | {"train": {"engine": "sequential"}},
    "batch norm": {
        "model": {"architecture": "wideresnet"},
        "partition": {"shards": 2, "slices": 2},
        "train": {"epochs": 2, "batch_size": 8},
    },
    "forest": {
        "model": {"architecture": "forest", "forest": {"trees": 5}},
        "partition": {"shards": 3, "slices": 1},
    },
}
FAMILY = {"forest": "forest"}
CASES = [
    (kind, name)
    for kind in KINDS
    for name, method in METHODS.items()
    if FAMILY.get(kind, "network") in method.families
    and (kind == "mlp" or name in EDITS or kind == "forest")
]


@pytest.fixture(scope="module")
def built(lab, records, pictures):
    """Return a maker of (workspace, parent card, forget mask), one per kind of model."""
    made = {}

    def build(kind):
        if kind not in made:
            chosen = pictures if kind == "batch norm" else records
            space = lab.space(chosen, **KINDS[kind])
            mask = np.zeros(len(chosen), bool)
            shard = space.assignment.shard
            mask[np.flatnonzero(shard == 1)[[0, 3, 4]]] = True
            mask[np.flatnonzero(shard == 0)[2]] = len(space.occupied(~mask)) > 2
            made[kind] = space, lab.build(space), mask
        return made[kind]

    return build


@pytest.fixture(params=CASES, ids=[f"{name}-{kind}" for kind, name in CASES])
def case(request, built, lab):
    """A method, a maker of views in stores of their own, and what is there before."""
    kind, name = request.param
    space, parent, forget = built(kind)

    def view(mask=forget, needs=METHODS[name].needs):
        return View("b1", parent, needs, lab.copy(space), ~mask, mask)

    return METHODS[name], view, parent


def run_all(method, view, step=1):
    return {job.shard: method.run(view, job) for job in jobs_of(method, view)[::step]}


def as_bytes(receipts):
    return {shard: receipt.sha256 for shard, receipt in sorted(receipts.items())}


def files(store):
    return {path.name: path.read_bytes() for path in store.root.rglob("*.safetensors")}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_it_says_what_it_is(method):
    assert METHODS[method.name] is method
    assert isinstance(method.guarantee, Guarantee)
    assert method.needs <= ALL
    assert method.rebuilds in ("affected", "all", None)
    # What is exact builds again from what is left, or can take out what it put in.
    exact = method.guarantee is Guarantee.EXACT
    assert not exact or method.rebuilds or Access.FORGET in method.needs
    assert method.families


def test_the_same_deletion_gives_the_same_bytes_in_any_order_of_jobs(case):
    method, view, _ = case
    assert as_bytes(run_all(method, view())) == as_bytes(run_all(method, view(), step=-1))


def test_a_result_is_under_its_key_and_found_again(case, count_samples):
    method, view, _ = case
    first = view()
    receipts = run_all(method, first)
    for job in jobs_of(method, first):
        assert receipts[job.shard].key == job.key
        assert first.store.verify(job.key)
    count_samples.clear()
    before = files(first.store)
    assert run_all(method, first) == receipts
    assert files(first.store) == before
    assert count_samples == []


def test_only_affected_shards_are_touched(case):
    method, view, parent = case
    deletion = view()
    receipts = run_all(method, deletion)
    untouched = {member.shard for member in parent.constituents} - deletion.affected
    for shard in untouched & receipts.keys():
        old = weights_of(deletion.store.require(parent.constituent(shard).key))
        new = weights_of(deletion.store.require(receipts[shard].key))
        assert all(torch.equal(old[name], new[name]) for name in old)
        if method.rebuilds != "all":
            assert receipts[shard].key == parent.constituent(shard).key


def test_nobody_to_forget_changes_nothing(case):
    method, view, parent = case
    nobody = view(np.zeros_like(case[1]()._forget))
    for shard, receipt in run_all(method, nobody).items():
        old = weights_of(nobody.store.require(parent.constituent(shard).key))
        new = weights_of(nobody.store.require(receipt.key))
        assert all(torch.equal(old[name], new[name]) for name in old)


def test_a_shard_that_loses_everybody_loses_its_model(case):
    method, view, parent = case
    deletion = view(view()._workspace.assignment.shard == 1)
    shards = {member.shard for member in parent.constituents}
    expected = shards if method.name == "none" else shards - {1}
    assert {job.shard for job in jobs_of(method, deletion)} == expected


def test_it_needs_all_that_it_declares(case):
    method, view, _ = case
    for one in method.needs:
        with pytest.raises((AccessError, ValueError)):
            run_all(method, view(needs=method.needs - {one}))


def test_jobs_compute_and_write_nothing(case, count_samples):
    method, view, _ = case
    deletion = view()
    before = {path: path.stat().st_mtime_ns for path in deletion.store.root.rglob("*")}
    jobs = jobs_of(method, deletion)
    assert len({job.shard for job in jobs}) == len(jobs) > 0
    assert count_samples == []
    assert {path: path.stat().st_mtime_ns for path in deletion.store.root.rglob("*")} == before


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_killed_run_is_continued(case, monkeypatch, moment):
    """Killed before the first, second or third object is written, a second run completes it."""
    method, view, _ = case
    expected = as_bytes(run_all(method, view()))
    deletion = view()
    put, written = deletion.store.put, []

    def dying(*arguments, **more):
        if len(written) == moment:
            raise Killed
        written.append(arguments[0])
        return put(*arguments, **more)

    monkeypatch.setattr(deletion.store, "put", dying)
    try:
        run_all(method, deletion)
    except Killed:
        assert len(written) == moment
    monkeypatch.undo()
    assert as_bytes(run_all(method, deletion)) == expected


@pytest.mark.parametrize("name", EDITS)
def test_what_was_not_declared_cannot_be_read(built, lab, name):
    """Whatever the function reads beyond its declaration ends it; nothing is stored."""
    space, parent, forget = built("mlp")
    method = METHODS[name]
    parts = {
        Access.FORGET: "forget",
        Access.RETAIN: "retain",
        Access.CLASS_ID: "classes",
        Access.HELD_OUT: "held_out",
        Access.TRAINING_LOG: "log",
        Access.ATTRIBUTIONS: "attributions",
    }
    assert set(parts) == ALL - {Access.LABELS}
    for access in ALL - method.needs - {Access.LABELS}:

        def peeking(case, part=parts[access]):
            return getattr(case, part)

        copy = lab.copy(space)
        view = View("b1", parent, method.needs, copy, ~forget, forget)
        before = files(copy.store)
        with pytest.raises(AccessError, match=f"'{access}'"):
            run_all(replace(method, _edit=peeking), view)
        kept = {receipt.key for receipt in copy.store.receipts() if receipt.kind == "unlearned"}
        assert not kept
        assert before.items() <= files(copy.store).items()


@pytest.mark.parametrize("name", EDITS)
def test_the_cost_is_what_was_computed(built, lab, name, monkeypatch):
    """Counted passes against floating-point operations, which nobody can forget to count."""
    space, parent, forget = built("sequential mlp")
    method = METHODS[name]
    copy = lab.copy(space)
    view = View("b1", parent, method.needs, copy, ~forget, forget)
    for job in jobs_of(method, view):
        for preparation in method.prepares if job.fresh else ():
            check(lambda p=preparation, j=job: p.prepare(view, j.shard))
        if job.fresh:
            check(lambda j=job: method.run(view, j))


def check(run):
    """Run and hold the receipt's passes against the operations of a 6-37-3 perceptron.

    Forward takes two operations per weight; backward the same for the gradient of every weight
    and, but for the first layer, for that of its inputs.
    """
    first, second = 2 * 6 * 37, 2 * 37 * 3
    with FlopCounterMode(display=False) as counter:
        facts = run().facts
    forward = facts["forward_samples"] * (first + second)
    backward = facts["backward_samples"] * (first + 2 * second)
    assert counter.get_total_flops() == forward + backward


@pytest.mark.parametrize("name", EDITS)
def test_running_statistics_move_only_where_the_method_says_so(built, lab, name, monkeypatch):
    space, parent, forget = built("batch norm")
    fits = []
    carry_out = edit_module.carry_out

    def noting(work, *more):
        fits.extend(fit for _, fit in work)
        carry_out(work, *more)

    monkeypatch.setattr(edit_module, "carry_out", noting)
    view = View("b1", parent, METHODS[name].needs, lab.copy(space), ~forget, forget)
    moves = {}
    for shard, receipt in run_all(METHODS[name], view).items():
        old = weights_of(view.store.require(parent.constituent(shard).key))
        new = weights_of(view.store.require(receipt.key))
        running = [name for name in old if "running" in name]
        assert running
        moves[shard] = any(not torch.equal(old[name], new[name]) for name in running)
    moving = any(fit.statistics == "moving" for fit in fits)
    assert {shard for shard, moved in moves.items() if moved} == (
        view.affected if moving else set()
    )


SEEDS = (0, 4, 9)


@pytest.fixture(scope="module", params=["mlp", "batch norm"])
def pool(request, lab, records, pictures):
    """Originals of several seeds in one store, and what is to be forgotten."""
    kind = request.param
    chosen = pictures if kind == "batch norm" else records
    first = lab.space(chosen, **KINDS[kind])
    forget = np.zeros(len(chosen), bool)
    forget[[3, 4, 10, 21]] = True
    # Two are a pool already, and these networks are slow.
    members = [first.with_seed(seed) for seed in (SEEDS[:2] if kind == "batch norm" else SEEDS)]
    return [(space, lab.build(space)) for space in members], forget


def work_of(lab, pool, name):
    """Return the jobs of all seeds, in a copy of the store."""
    members, forget = pool
    store = lab.copy(members[0][0]).store
    work = []
    for space, parent in members:
        own = replace(space, store=store)
        view = View("b1", parent, METHODS[name].needs, own, ~forget, forget)
        work += [(view, job) for job in jobs_of(METHODS[name], view)]
    return work, store


def objects(store):
    """Return every stored state and its receipt, without times and memory."""
    found = files(store)
    for receipt in store.receipts():
        timed = ("seconds", "peak_memory_bytes", PARTS)
        facts = {n: v for n, v in receipt.facts.items() if n not in timed}
        found[receipt.key] = (receipt.learned_from, receipt.kind, facts)
    return found


@pytest.mark.parametrize("name", MANY)
def test_a_pool_has_the_bytes_of_one_after_another(lab, pool, name):
    method = METHODS[name]
    work, together = work_of(lab, pool, name)
    assert len({job.key for _, job in work}) == len(work)
    receipts = method.run_many(work)
    assert [receipt.key for receipt in receipts] == [job.key for _, job in work]
    others, apart = work_of(lab, pool, name)
    before = objects(apart)
    for view, job in others:
        method.run(view, job)
    assert objects(together) == objects(apart) != before


@pytest.mark.parametrize("name", MANY)
def test_of_a_pool_only_what_is_missing_is_made(lab, pool, name, count_samples):
    method = METHODS[name]
    work, store = work_of(lab, pool, name)
    for view, job in work[::2]:
        method.run(view, job)
    half = sum(count_samples)
    method.run_many(work)
    left = objects(store)
    trained = sum(count_samples)
    count_samples.clear()
    method.run_many(work)
    assert count_samples == []
    assert objects(store) == left
    everything, _ = work_of(lab, pool, name)
    method.run_many(everything)
    assert trained == sum(count_samples)
    assert half <= trained
