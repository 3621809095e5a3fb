"""Chains trained together leave the bytes of each trained alone, whatever happens in between."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from forgetflow.partition.assignment import Assignment
from forgetflow.store.store import Store
from forgetflow.training import memory, trainer
from forgetflow.training.schedule import slice_steps
from forgetflow.training.trainer import train_chain, train_chains
from forgetflow.training.work import PARTS

VARIANTS = {
    "momentum": {},
    "adam": {
        "train": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
        "model": {"hidden": [37], "normalize": "standard"},
    },
    "sequential": {"train": {"engine": "sequential"}},
}
SIZES = ((9, 8, 7), (5, 0, 4), (1, 1, 0), (0, 3, 1), (0, 0, 1))
"""Records of every slice of every shard."""


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS)
def space(request, records, make_space):
    """Five shards of three slices, of very unequal size; some slices are empty."""
    places = [(s, r) for s, row in enumerate(SIZES) for r, n in enumerate(row) for _ in range(n)]
    shard, number = np.array(places + [places[0]] * (40 - len(places))).T
    space = make_space(records, **request.param)
    assignment = Assignment(5, 3, shard, number)
    assert (assignment.sizes()[1:] == SIZES[1:]).all()
    return replace(space, assignment=assignment)


@pytest.fixture(scope="module")
def tasks(space):
    return [(space.chain(shard, space.everything), space.recipe) for shard in range(5)]


@pytest.fixture(scope="module")
def contents_of(state_bytes):
    """Return a function that tells the bytes of every state of every chain."""
    return lambda store, tasks: [state_bytes(store, chain) for chain, _ in tasks]


@pytest.fixture(scope="module")
def expected(space, tasks, contents_of, tmp_path_factory):
    """Bytes of chains trained one after another."""
    store = Store(tmp_path_factory.mktemp("alone"))
    for chain, recipe in tasks:
        train_chain(store, chain, recipe)
    return contents_of(store, tasks)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def remove(store, chain, *numbers):
    for number in numbers:
        store.remove(chain.keys[number])


@pytest.mark.parametrize("most", [64, 3, 2, 1])
def test_unequal_shards_together_and_in_groups(
    store, tasks, expected, contents_of, monkeypatch, most
):
    monkeypatch.setattr(trainer, "together", lambda _recipe: most)
    results = train_chains(store, tasks)
    assert contents_of(store, tasks) == expected
    for (chain, recipe), (receipt, work) in zip(tasks, results, strict=True):
        sizes = [len(part) for part in chain.slices]
        assert receipt.key == chain.key
        assert sorted(work.slices) == [0, 1, 2]
        assert work.steps == sum(slice_steps(sizes, recipe.train.epochs, recipe.train.batch_size))
    again = train_chains(store, tasks)
    assert [(receipt, work.steps) for receipt, work in again] == [(r, 0) for r, _ in results]


@pytest.mark.parametrize("pair", [(0, 1), (2, 0), (3, 4), (1, 3)])
def test_unequal_shards_in_pairs(store, tasks, expected, contents_of, pair):
    chosen = [tasks[shard] for shard in pair]
    train_chains(store, chosen)
    assert contents_of(store, chosen) == [expected[shard] for shard in pair]


def test_deletions_from_two_shards(space, tasks, expected, contents_of, state_bytes, tmp_path):
    """Retrained together, each alone and in an empty store; other shards stay as they are."""
    keep = space.everything
    keep[[space.assignment.members(space.records, s)[r][0] for s, r in ((0, 1), (1, 0))]] = False
    left = [(space.chain(shard, keep), space.recipe) for shard in range(5)]
    found = []
    for name in ("together", "apart", "fresh"):
        store = Store(tmp_path / name)
        if name != "fresh":
            train_chains(store, tasks)
        if name == "apart":
            works = [train_chain(store, *task)[1] for task in left]
        else:
            works = [work for _, work in train_chains(store, left)]
        found.append(contents_of(store, left))
        if name != "fresh":
            assert [sorted(work.slices) for work in works] == [[1, 2], [0, 1, 2], [], [], []]
            assert contents_of(store, tasks) == expected
    assert found[0] == found[1] == found[2]
    assert found[0][0][0] == expected[0][0]
    assert found[0][0][1] != expected[0][1]
    assert found[0][1][0] != expected[1][0]
    assert found[0][2:] == expected[2:]


def test_a_pool_of_seeds(space, store, contents_of, tmp_path):
    spaces = [space.with_seed(seed) for seed in range(4)]
    pool = [(one.chain(shard, one.everything), one.recipe) for shard in (0, 1) for one in spaces]
    alone = Store(tmp_path / "alone")
    for chain, recipe in pool:
        train_chain(alone, chain, recipe)
    train_chains(store, pool)
    found = contents_of(store, pool)
    assert found == contents_of(alone, pool)
    assert len({states[-1] for states in found}) == len(pool), "a seed decides"


def test_the_cache_decides_who_trains_together_and_nothing_else(
    make_records, make_space, state_bytes, tmp_path, monkeypatch
):
    """Nine alone, by threes (four fit, but pieces are as equal as can be), and all at once."""
    found = {}
    for cache in (2**10, 2**30):
        monkeypatch.setattr(memory, "core_cache", lambda cache=cache: cache)
        space = make_space(make_records(30), partition={"shards": 1, "slices": 1})
        spaces = [space.with_seed(seed) for seed in range(9)]
        pool = [(one.chain(0, one.everything), one.recipe) for one in spaces]
        groups = trainer._groups([SimpleNamespace(recipe=recipe) for _, recipe in pool])
        train_chains(space.store, pool)
        found[cache] = [(chain.key, state_bytes(space.store, chain)) for chain, _ in pool]
        assert [len(group) for group in groups] == ([3, 3, 3] if cache == 2**10 else [9])
    alone = Store(tmp_path / "alone")
    for chain, recipe in pool:
        train_chain(alone, chain, recipe)
    assert found[2**10] == found[2**30] == [(c.key, state_bytes(alone, c)) for c, _ in pool]


def test_holes_are_filled_with_the_same_bytes(store, tasks, expected, contents_of):
    train_chains(store, tasks)
    holes = {0: (1,), 1: (0, 2), 3: (2,), 4: (0, 1, 2)}
    for shard, numbers in holes.items():
        remove(store, tasks[shard][0], *numbers)
    works = [work for _, work in train_chains(store, tasks)]
    assert [tuple(sorted(work.slices)) for work in works] == [holes.get(s, ()) for s in range(5)]
    assert contents_of(store, tasks) == expected


@pytest.mark.parametrize("seconds", [0, 1000])
def test_killed_in_any_write_and_continued(
    space, expected, contents_of, tmp_path, monkeypatch, seconds
):
    train = space.recipe.train.model_copy(update={"checkpoint_seconds": seconds})
    recipe = replace(space.recipe, train=train)
    tasks = [(space.chain(shard, space.everything), recipe) for shard in range(5)]
    put, left = Store.put, [0]

    def failing(self, *args, **facts):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return put(self, *args, **facts)

    monkeypatch.setattr(Store, "put", failing)
    left[0] = 10**6
    whole = sum(work.steps for _, work in train_chains(Store(tmp_path / "whole"), tasks))
    total = 10**6 - left[0]
    assert (total > 30) if seconds == 0 else (total == 15)
    for number in range(1, total + 1, max(1, total // 12)):
        store = Store(tmp_path / str(number))
        left[0] = number
        with pytest.raises(KeyboardInterrupt):
            train_chains(store, tasks)
        saved = sum(receipt.facts["steps"] for receipt in store.receipts())
        done = sum(work.steps for _, work in train_chains(store, tasks))
        assert saved + done == whole, "no saved step is made again"
        assert contents_of(store, tasks) == expected, number
        assert {receipt.kind for receipt in store.receipts()} == {"state"}
    assert saved > whole / 2


def test_recovery_points_are_of_everybody(space, store, state_bytes):
    """Killed in the middle of a slice that all are in, each goes on with the step after."""
    train = space.recipe.train.model_copy(update={"checkpoint_seconds": 0})
    pool = []
    for seed in range(3):
        one = space.with_seed(seed)
        pool.append((one.chain(0, space.everything), replace(one.recipe, train=train)))
    sizes = [len(part) for part in pool[0][0].slices]
    plan = slice_steps(sizes, train.epochs, train.batch_size)
    assert plan[1] > 4

    def crash(number, step):
        if (number, step) == (1, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_chains(store, pool, crash)
    works = [work for _, work in train_chains(store, pool)]
    rest = sum(plan[1:]) - 4
    one_after_another = space.recipe.engine == "sequential"
    expected = [rest, *([sum(plan)] * 2 if one_after_another else [rest] * 2)]
    assert [work.steps for work in works] == expected
    alone = Store(store.root / "alone")
    for chain, recipe in pool:
        train_chain(alone, chain, recipe)
        assert state_bytes(store, chain) == state_bytes(alone, chain)


def test_a_store_that_keeps_finished_states_only(tmp_path, space, tasks, expected, monkeypatch):
    """No recovery point, no state between slices, and nothing is trained a second time."""
    store = Store(tmp_path / "store")
    store.keeps_only_finished = True
    plans = [
        slice_steps([len(part) for part in chain.slices], r.train.epochs, r.train.batch_size)
        for chain, r in tasks
    ]
    train = space.recipe.train.model_copy(update={"checkpoint_seconds": 0})
    eager = [(chain, replace(recipe, train=train)) for chain, recipe in tasks]
    put, written = Store.put, []

    def note(self, key, *args, **facts):
        written.append(key)
        return put(self, key, *args, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", note)
        train_chains(store, eager)
    assert sorted(written) == sorted(chain.key for chain, _ in tasks)
    objects = {path.name for path in (store.root / "objects").rglob("*.safetensors")}
    assert objects == {f"{chain.key}.safetensors" for chain, _ in tasks}
    for (chain, _), states, steps in zip(tasks, expected, plans, strict=True):
        facts = store.receipt(chain.key).facts
        assert facts["steps"] == sum(steps)
        assert [part["steps"] for part in facts[PARTS]] == steps
        path = store.root / "objects" / chain.key[:2] / f"{chain.key}.safetensors"
        assert path.read_bytes() == states[-1]
    assert [work.steps for _, work in train_chains(store, eager)] == [0] * 5
    remove(store, tasks[0][0], 2)
    works = [work for _, work in train_chains(store, eager)]
    assert [len(work.slices) for work in works] == [3, 0, 0, 0, 0]


def test_what_training_costs_does_not_depend_on_others(store, tasks, tmp_path):
    """Steps and samples of receipts; seconds are shares of the time."""

    def facts(store):
        names = ("shard", "slice", "steps", "samples")
        return [
            [store.receipt(key).facts[name] for name in names]
            for chain, _ in tasks
            for key in chain.keys
        ]

    train_chains(store, tasks)
    alone = Store(tmp_path / "alone")
    for task in tasks:
        train_chain(alone, *task)
    assert facts(store) == facts(alone)
    assert all(store.receipt(key).learned_from for chain, _ in tasks for key in chain.keys)


def test_no_chains_are_trained_at_once(store):
    assert train_chains(store, []) == []
