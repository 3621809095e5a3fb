"""Jobs of several seeds at once have the bytes of one after another."""

from dataclasses import replace

import pytest

from forgetflow.config.unlearn import AscentSettings, FinetuneSettings, UnlearnSettings
from forgetflow.errors import VerdictError
from forgetflow.unlearning.protocol import RunsMany
from forgetflow.unlearning.registry import METHODS

MANY = [name for name, method in METHODS.items() if isinstance(method, RunsMany)]
SEEDS = (0, 4, 9)


@pytest.fixture(scope="module")
def pool(lab, records):
    """Originals of three seeds in one store."""
    first = lab.space(records, model={"hidden": [37], "normalize": "standard"})
    spaces = [first.with_seed(seed) for seed in SEEDS]
    return [(space, lab.build(space)) for space in spaces]


@pytest.fixture(scope="module")
def forget(pool, mask_of):
    return mask_of(pool[0][0].records, 3, 4, 30, 41)


def work_of(lab, pool, forget, name):
    """Return the jobs of all seeds, in a copy of the store."""
    store = lab.copy(pool[0][0]).store
    work = []
    for space, parent in pool:
        view = lab.view(replace(space, store=store), parent, forget, name)
        work += [(view, job) for job in METHODS[name].jobs(view)]
    return work, store


def objects(store):
    """Return every stored state and its receipt, without times and memory."""
    found = {path.name: path.read_bytes() for path in store.root.rglob("*.safetensors")}
    for receipt in store.receipts():
        facts = {n: v for n, v in receipt.facts.items() if n in ("steps", "samples", "shard")}
        found[receipt.key] = (receipt.learned_from, receipt.kind, facts)
    return found


def test_what_trains_can_train_many():
    assert MANY == ["sisa", "retrain", "finetune", "ascent"]


@pytest.mark.parametrize("name", MANY)
def test_many_at_once_are_one_after_another(lab, pool, forget, name):
    method = METHODS[name]
    work, together = work_of(lab, pool, forget, name)
    assert len({job.key for _, job in work}) == len(work) == 9
    receipts = method.run_many(work)
    assert [receipt.key for receipt in receipts] == [job.key for _, job in work]
    others, apart = work_of(lab, pool, forget, name)
    before = objects(apart)
    for view, job in others:
        method.run(view, job)
    assert objects(together) == objects(apart) != before


@pytest.mark.parametrize("name", MANY)
def test_what_is_there_is_not_made_again(lab, pool, forget, name, count_samples):
    method = METHODS[name]
    work, store = work_of(lab, pool, forget, name)
    for view, job in work[::2]:
        method.run(view, job)
    half = sum(count_samples)
    method.run_many(work)
    missing = sum(count_samples) - half
    left = objects(store)
    count_samples.clear()
    method.run_many(work)
    assert count_samples == []
    assert objects(store) == left
    everything, _ = work_of(lab, pool, forget, name)
    method.run_many(everything)
    assert half + missing == sum(count_samples)
    assert half > 0
    assert missing > 0


@pytest.mark.parametrize(
    "unlearn",
    [
        UnlearnSettings(ascent=AscentSettings(learning_rate=1e38)),
        UnlearnSettings(finetune=FinetuneSettings(learning_rate=1e38)),
    ],
    ids=["ascent", "finetune"],
)
def test_of_many_that_diverge_nothing_is_stored(lab, pool, forget, unlearn, request):
    name = request.node.callspec.id
    broken = [
        (replace(s, settings=s.settings.model_copy(update={"unlearn": unlearn})), p)
        for s, p in pool
    ]
    work, store = work_of(lab, broken, forget, name)
    before = objects(store)
    with pytest.raises(VerdictError, match="lower the method's learning_rate"):
        METHODS[name].run_many(work)
    assert objects(store) == before
