"""The weak baseline: the parent's weights, a little further training, on the retain set only."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forgetflow.config.unlearn import FinetuneSettings, UnlearnSettings
from forgetflow.keys.digests import canonical_order
from forgetflow.models.build import build
from forgetflow.training.schedule import Batches
from forgetflow.training.sequential import weights_of
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS

FINETUNE = METHODS["finetune"]


@pytest.fixture(scope="module")
def space(lab, records):
    return lab.space(records, model={"normalize": "standard"})


@pytest.fixture(scope="module")
def parent(lab, space):
    return lab.build(space)


@pytest.fixture(scope="module")
def forget(space):
    """Three records of shard 1."""
    mask = ~space.everything
    mask[np.flatnonzero(space.assignment.shard == 1)[[0, 4, 5]]] = True
    return mask


def with_settings(space, **changes):
    finetune = FinetuneSettings(**{"epochs": 2, "learning_rate": 0.01, **changes})
    unlearn = UnlearnSettings(finetune=finetune)
    return replace(space, settings=space.settings.model_copy(update={"unlearn": unlearn}))


def run(lab, space, parent, forget):
    return lab.unlearn(lab.view(space, parent, forget, "finetune"), "finetune")


def job_of(lab, space, parent, forget, shard=1):
    jobs = jobs_of(FINETUNE, lab.view(space, parent, forget, "finetune"))
    return next(job for job in jobs if job.shard == shard)


def test_no_epochs_leave_the_parents_weights(lab, space, parent, forget, count_samples):
    """Bit for bit, normalisation included."""
    still = with_settings(lab.copy(space), epochs=0)
    child = run(lab, still, parent, forget)
    assert count_samples == []
    assert [c.weights for c in child.constituents] == [c.weights for c in parent.constituents]
    assert child.constituent(1).key != parent.constituent(1).key
    state = still.store.require(child.constituent(1).key)
    assert all(name.startswith("model.") for name in state), "gradients of the forgotten are gone"


def test_only_affected_constituents_move(lab, space, parent, forget):
    child = run(lab, lab.copy(space), parent, forget)
    for shard in (0, 2):
        assert child.constituent(shard) == parent.constituent(shard)
    assert child.constituent(1).weights != parent.constituent(1).weights


def test_it_is_plain_training_on_the_retain_set(lab, records, forget):
    """A loop of torch alone gives the same bits."""
    space = lab.space(records, model={"normalize": "standard"}, train={"engine": "sequential"})
    parent = lab.build(space)
    copy = lab.copy(space)
    child = run(lab, copy, parent, forget)
    left = space.records.take((space.assignment.shard == 1) & ~forget)
    order = canonical_order(left.digests)
    inputs = torch.from_numpy(left.inputs[order])
    targets = torch.from_numpy(left.labels[order])
    network = build(space.settings.model, (6,), 3, seed=0)
    network.load_state_dict(weights_of(space.store.require(parent.constituent(1).key)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    batches = Batches(left.digests[order], 4, 0, (1, -1))
    for rows in batches.iterate(0, 2 * batches.steps_per_epoch()):
        optimizer.zero_grad()
        where = torch.from_numpy(rows)
        torch.nn.functional.cross_entropy(network(inputs[where]), targets[where]).backward()
        optimizer.step()
    found = weights_of(copy.store.require(child.constituent(1).key))
    assert all(torch.equal(network.state_dict()[name], value) for name, value in found.items())


def test_the_cost_is_what_was_learned(lab, space, parent, forget, count_samples):
    copy = lab.copy(space)
    child = run(lab, copy, parent, forget)
    facts = copy.store.receipt(child.constituent(1).key).facts
    assert facts["samples"] == sum(count_samples) == 2 * child.constituent(1).records
    assert facts["steps"] == len(count_samples)


def test_the_same_bytes_in_another_store_and_none_anew(lab, space, parent, forget, count_samples):
    first, second = lab.copy(space), lab.copy(space)
    child = run(lab, first, parent, forget)
    assert run(lab, second, parent, forget) == child
    count_samples.clear()
    assert run(lab, first, parent, forget) == child
    assert count_samples == []


def test_a_crash_leaves_nothing_half_done(lab, space, parent, forget):
    copy = lab.copy(space)
    view = lab.view(copy, parent, forget, "finetune")
    job = job_of(lab, copy, parent, forget)

    def crash(number, step):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FINETUNE.run(view, job, crash)
    assert copy.store.receipt(job.key) is None
    expected = run(lab, lab.copy(space), parent, forget)
    assert run(lab, copy, parent, forget) == expected


def test_the_key_names_everything_that_made_it(lab, space, parent, forget, mask_of):
    base = job_of(lab, space, parent, forget).key
    wider = forget | mask_of(space.records, np.flatnonzero(space.assignment.shard == 1)[7])
    other = with_settings(space, learning_rate=0.02)
    longer = with_settings(space, epochs=3)
    seeded = space.with_seed(5)
    elsewhere = replace(
        parent,
        constituents=tuple(replace(c, key="0" * 64) for c in parent.constituents),
    )
    keys = [
        job_of(lab, space, parent, wider).key,
        job_of(lab, other, parent, forget).key,
        job_of(lab, longer, parent, forget).key,
        job_of(lab, seeded, parent, forget).key,
        job_of(lab, space, elsewhere, forget).key,
    ]
    assert len({base, *keys}) == 6
    far = forget | mask_of(space.records, np.flatnonzero(space.assignment.shard == 0)[0])
    assert job_of(lab, space, parent, far).key == base, "other shards are none of its business"


def test_a_shard_without_records_is_dropped(lab, space, parent):
    whole = space.assignment.shard == 1
    child = run(lab, lab.copy(space), parent, whole)
    assert [member.shard for member in child.constituents] == [0, 2]
