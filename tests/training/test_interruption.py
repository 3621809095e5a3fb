"""Killed at any moment, the next call continues and leaves the same bytes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forgetflow.files.atomic import write_atomically
from forgetflow.keys.digests import digest_of
from forgetflow.store import store as store_module
from forgetflow.store.store import Store
from forgetflow.training import trainer
from forgetflow.training.schedule import slice_steps
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Workspace

EAGER = {"checkpoint_seconds": 0, "optimizer": "adam", "learning_rate": 0.01, "epochs": 2}


@pytest.fixture(params=["sequential", "stacked"])
def train(request):
    return EAGER | {"engine": request.param}


@pytest.fixture
def space(records, make_space, train):
    """One shard of three slices with a recovery point after every step."""
    return make_space(records.take(range(20)), partition={"shards": 1}, train=train)


@pytest.fixture
def chain(space):
    return space.chain(0, space.everything)


@pytest.fixture
def expected(space, chain, make_space, state_bytes, train):
    """Bytes that an uninterrupted run leaves, without looking at the clock in between."""
    other = make_space(
        space.records, partition={"shards": 1}, train=train | {"checkpoint_seconds": 1000}
    )
    train_chain(other.store, chain, other.recipe)
    return state_bytes(other.store, chain)


@pytest.fixture
def plan(chain):
    return slice_steps([len(part) for part in chain.slices], 2, 4)


def leftovers(store):
    """Return the receipts of everything that is no finished state."""
    return [receipt for receipt in store.receipts() if receipt.kind != "state"]


def crash_at(number, step):
    def crash(*at):
        if at == (number, step):
            raise KeyboardInterrupt

    return crash


def test_a_crash_after_any_step_costs_that_step_at_most(
    space, chain, expected, plan, make_space, state_bytes
):
    total = sum(plan)
    assert total > 10
    for number, steps in enumerate(plan):
        for step in range(steps):
            store = Store(space.store.root / f"{number}-{step}")
            with pytest.raises(KeyboardInterrupt):
                train_chain(store, chain, space.recipe, crash_at(number, step))
            _, work = train_chain(store, chain, space.recipe)
            saved = min(step + 1, steps - 1)  # the last step ends in the state itself
            assert work.steps == total - sum(plan[:number]) - saved, (number, step)
            assert state_bytes(store, chain) == expected, (number, step)
            assert not leftovers(store)


def test_crashing_all_the_time_repeats_no_saved_step(space, chain, expected, plan, state_bytes):
    seen = []

    def crash(number, step):
        seen.append((number, step))
        if step + 1 < plan[number]:
            raise KeyboardInterrupt

    for _ in range(sum(plan) - len(plan)):
        with pytest.raises(KeyboardInterrupt):
            train_chain(space.store, chain, space.recipe, crash)
    train_chain(space.store, chain, space.recipe, crash)
    assert seen == [(number, step) for number in range(3) for step in range(plan[number])]
    assert state_bytes(space.store, chain) == expected


@pytest.mark.parametrize("number", [0, 1, 2])
def test_without_recovery_points_a_crash_costs_the_slice(
    records, make_space, expected, plan, number, state_bytes, train
):
    space = make_space(
        records.take(range(20)),
        partition={"shards": 1},
        train=train | {"checkpoint_seconds": 1000},
    )
    chain = space.chain(0, space.everything)
    with pytest.raises(KeyboardInterrupt):
        train_chain(space.store, chain, space.recipe, crash_at(number, plan[number] - 1))
    _, work = train_chain(space.store, chain, space.recipe)
    assert work.slices == list(range(number, 3))
    assert work.steps == sum(plan[number:])
    assert state_bytes(space.store, chain) == expected, "and the key does not know the difference"


def test_a_crash_in_any_write_is_made_good(space, chain, expected, monkeypatch, state_bytes):
    written, limit = 0, 0

    def write(path, data):
        nonlocal written
        written += 1
        if written == limit:
            raise OSError("disk full")
        write_atomically(path, data)

    monkeypatch.setattr(store_module, "write_atomically", write)
    train_chain(Store(space.store.root / "whole"), chain, space.recipe)
    total = written
    assert total > 20
    for limit in range(1, total + 1):
        written = 0
        store = Store(space.store.root / str(limit))
        with pytest.raises(OSError, match="disk full"):
            train_chain(store, chain, space.recipe)
        written = -(10**9)
        train_chain(store, chain, space.recipe)
        assert state_bytes(store, chain) == expected, limit
        assert not leftovers(store), limit


def test_no_recovery_point_outlives_its_slice(space, chain, expected, monkeypatch, state_bytes):
    """Killed between writing a state and removing its recovery point, the next call removes it."""
    with monkeypatch.context() as patch:

        def crash(*_):
            raise KeyboardInterrupt

        patch.setattr(Store, "remove", crash)
        with pytest.raises(KeyboardInterrupt):
            train_chain(space.store, chain, space.recipe)
    assert [receipt.kind for receipt in leftovers(space.store)] == ["progress"]
    train_chain(space.store, chain, space.recipe)
    assert not leftovers(space.store)
    assert state_bytes(space.store, chain) == expected


def interrupted(space, chain, number, step):
    """Stop in the middle of a slice and return the path of the recovery point's bytes."""
    with pytest.raises(KeyboardInterrupt):
        train_chain(space.store, chain, space.recipe, crash_at(number, step))
    key = digest_of(["progress", chain.keys[number]])
    assert space.store.verify(key)
    return space.store.root / "objects" / key[:2] / f"{key}.safetensors"


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:100])


def forget_receipt(path):
    path.with_suffix(".json").unlink()


DAMAGES = {"flipped": flip, "truncated": truncate, "gone": Path.unlink, "unnamed": forget_receipt}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_recovery_point_is_ignored(space, chain, expected, plan, damage, state_bytes):
    damage(interrupted(space, chain, 1, 2))
    _, work = train_chain(space.store, chain, space.recipe)
    assert work.steps == sum(plan[1:])
    assert state_bytes(space.store, chain) == expected
    assert not leftovers(space.store)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("lost", [[0], [1], [2], [0, 1], [0, 2]])
def test_a_damaged_state_is_built_again_and_no_other(
    space, chain, expected, plan, damage, lost, state_bytes
):
    train_chain(space.store, chain, space.recipe)
    paths = [space.store.root / "objects" / k[:2] / f"{k}.safetensors" for k in chain.keys]
    times = [path.stat().st_mtime_ns for path in paths]
    for number in lost:
        damage(paths[number])
    _, work = train_chain(space.store, chain, space.recipe)
    assert sorted(work.slices) == lost
    assert work.steps == sum(plan[number] for number in lost)
    assert state_bytes(space.store, chain) == expected
    for number in {0, 1, 2} - set(lost):
        assert paths[number].stat().st_mtime_ns == times[number]


def test_recovery_points_follow_the_clock(records, make_space, monkeypatch):
    """Here a step takes 1000 seconds and a recovery point is due every 1500."""
    space = make_space(
        records, partition={"shards": 1}, train={"checkpoint_seconds": 1500, "epochs": 2}
    )
    now, saved = [time.perf_counter()], []
    put = Store.put

    def note(self, key, tensors, *, kind, **rest):
        saved.append((kind, rest["facts"]["steps"]))
        return put(self, key, tensors, kind=kind, **rest)

    def told(*_):
        now[0] += 1000

    monkeypatch.setattr(Store, "put", note)
    monkeypatch.setattr(trainer.time, "perf_counter", lambda: now[0])
    chain = space.chain(0, space.everything)
    train_chain(space.store, chain, space.recipe, told)
    expected, total = [], 0
    for steps in slice_steps([len(part) for part in chain.slices], 2, 4):
        due = [done for done in range(1, steps) if total + done in range(3, 99, 2)]
        expected += [*(("progress", done) for done in due), ("state", steps)]
        total += steps
    assert saved == expected
    assert [kind for kind, _ in saved].count("progress") > 3


SCRIPT = """
import sys, time
from pathlib import Path
from forgetflow.config.project import Project
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Workspace

space = Workspace.open(Project(Path(sys.argv[1])))

def told(number, step):
    print(number, step, flush=True)
    time.sleep(float(sys.argv[2]))

train_chain(space.store, space.chain(0, space.everything), space.recipe, told)
"""


@pytest.mark.parametrize("stop", [(0, 0), (2, 1)])
def test_a_killed_process_is_continued(space, make_project, expected, plan, state_bytes, stop):
    project = make_project(space)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(project.root), "0.05"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        for line in process.stdout:
            if tuple(map(int, line.split())) >= stop:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    space = Workspace.open(project)
    chain = space.chain(0, space.everything)
    _, work = train_chain(space.store, chain, space.recipe)
    assert 0 < work.steps <= sum(plan) - sum(plan[: stop[0]]) - (stop[1] + 1)
    assert state_bytes(space.store, chain) == expected
    assert not leftovers(space.store)
