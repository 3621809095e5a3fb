"""The damaging control: up the loss of the forget set, with nothing that protects the rest."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from forgetflow.config.unlearn import AscentSettings, UnlearnSettings
from forgetflow.errors import AccessError, VerdictError
from forgetflow.keys.digests import canonical_order
from forgetflow.models.build import build
from forgetflow.training.schedule import Batches
from forgetflow.training.sequential import weights_of
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS

ASCENT = METHODS["ascent"]


@pytest.fixture(scope="module", params=["sequential", "stacked"])
def space(request, lab, records):
    return lab.space(records, model={"normalize": "standard"}, train={"engine": request.param})


@pytest.fixture(scope="module")
def parent(lab, space):
    return lab.build(space)


@pytest.fixture(scope="module")
def forget(space):
    """Six records of shard 1."""
    mask = ~space.everything
    mask[np.flatnonzero(space.assignment.shard == 1)[[0, 3, 4, 5, 6, 8]]] = True
    return mask


def with_settings(space, **changes):
    unlearn = UnlearnSettings(ascent=AscentSettings(**{"epochs": 2} | changes))
    return replace(space, settings=space.settings.model_copy(update={"unlearn": unlearn}))


def run(lab, space, parent, forget):
    return lab.unlearn(lab.view(space, parent, forget, "ascent"), "ascent")


def job_of(lab, space, parent, forget, shard=1):
    jobs = jobs_of(ASCENT, lab.view(space, parent, forget, "ascent"))
    return next(job for job in jobs if job.shard == shard)


def network_of(space, key):
    network = build(space.settings.model, (6,), 3, seed=0)
    network.load_state_dict(weights_of(space.store.require(key)))
    return network


def loss(space, key, mask):
    """Return the mean cross-entropy of a stored constituent on records."""
    inputs = torch.from_numpy(space.records.inputs[mask])
    targets = torch.from_numpy(space.records.labels[mask])
    return nn.functional.cross_entropy(network_of(space, key)(inputs), targets).item()


def test_the_loss_on_the_forget_set_rises(lab, space, parent, forget):
    """Beyond that of a model that never saw it, the longer the further."""
    copy = lab.copy(space)
    retrained = lab.unlearn(lab.view(copy, parent, forget, "retrain"), "retrain")
    found = [loss(copy, card.constituent(1).key, forget) for card in (parent, retrained)]
    for epochs in (2, 4, 30):
        child = run(lab, with_settings(copy, epochs=epochs), parent, forget)
        found.append(loss(copy, child.constituent(1).key, forget))
    before, oracle, few, more, many = found
    assert before < few < more < many
    assert before < oracle < many


def test_only_affected_constituents_move(lab, space, parent, forget):
    child = run(lab, lab.copy(space), parent, forget)
    for shard in (0, 2):
        assert child.constituent(shard) == parent.constituent(shard)
    assert child.constituent(1).weights != parent.constituent(1).weights


def test_it_is_plain_ascent_on_the_forget_set(lab, space, parent, forget):
    copy = with_settings(lab.copy(space), learning_rate=0.02)
    child = run(lab, copy, parent, forget)
    gone = space.records.take(forget)
    order = canonical_order(gone.digests)
    inputs, targets = torch.from_numpy(gone.inputs[order]), torch.from_numpy(gone.labels[order])
    network = network_of(space, parent.constituent(1).key)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.02, momentum=0.9, maximize=True, fused=True
    )
    for rows in Batches(gone.digests[order], 4, 0, (1, -1)).iterate(0, 2 * 2):
        optimizer.zero_grad()
        where = torch.from_numpy(rows)
        nn.functional.cross_entropy(network(inputs[where]), targets[where]).backward()
        optimizer.step()
    found = weights_of(copy.store.require(child.constituent(1).key))
    for name, value in network.state_dict().items():
        if space.recipe.engine == "sequential":
            assert torch.equal(found[name], value), name
        else:
            assert torch.allclose(found[name], value, rtol=1e-5, atol=1e-6), name


def test_it_reads_the_forget_set_and_its_labels_only(lab, space, parent, forget):
    view = lab.view(space, parent, forget, "ascent")
    assert sorted(ASCENT.needs) == ["forget", "labels"]
    assert len(view.forget(1)) == 6
    for touch in (lambda: view.retain(1), lambda: view.chain(1), view.forget_classes):
        with pytest.raises(AccessError):
            touch()


def test_the_cost_is_what_was_learned(lab, space, parent, forget, count_samples):
    copy = with_settings(lab.copy(space), epochs=3)
    child = run(lab, copy, parent, forget)
    facts = copy.store.receipt(child.constituent(1).key).facts
    assert facts["samples"] == sum(count_samples) == 3 * 6
    assert facts["steps"] == len(count_samples) == 3 * 2
    count_samples.clear()
    assert run(lab, copy, parent, forget) == child
    assert count_samples == []


def test_the_result_still_counts_as_learned_from_everything(lab, space, parent, forget):
    """What ascended on a record holds it, too: erasing it erases the result."""
    copy = lab.copy(space)
    child = run(lab, copy, parent, forget)
    for mask in (forget, (space.assignment.shard == 1) & ~forget):
        found = copy.store.learned_from(space.records.digests[mask][:1])
        assert child.constituent(1).key in {receipt.key for receipt in found}
    names = copy.store.receipt(child.constituent(1).key).learned_from
    members = {row.tobytes() for row in copy.store.members(names[-1])}
    assert members == {row.tobytes() for row in space.records.digests[forget]}


@pytest.mark.parametrize("rate", [1e30, 1e38])
def test_divergence_is_said_and_nothing_is_stored(lab, space, parent, forget, rate):
    copy = with_settings(lab.copy(space), learning_rate=rate, epochs=9)
    view = lab.view(copy, parent, forget, "ascent")
    before = {path.name for path in copy.store.root.rglob("*")}
    with pytest.raises(VerdictError, match="shard 1 of b1 diverged"):
        ASCENT.run(view, job_of(lab, copy, parent, forget))
    assert {path.name for path in copy.store.root.rglob("*")} == before


def test_the_key_names_everything_that_made_it(lab, space, parent, forget, mask_of):
    base = job_of(lab, space, parent, forget).key
    elsewhere = replace(
        parent, constituents=tuple(replace(c, key="0" * 64) for c in parent.constituents)
    )
    wider = forget | mask_of(space.records, np.flatnonzero(space.assignment.shard == 1)[7])
    other = lab.view(space, parent, forget)
    keys = [
        job_of(lab, space, parent, wider).key,
        job_of(lab, with_settings(space, learning_rate=0.02), parent, forget).key,
        job_of(lab, with_settings(space, epochs=3), parent, forget).key,
        job_of(lab, space.with_seed(5), parent, forget).key,
        job_of(lab, space, elsewhere, forget).key,
        next(job.key for job in jobs_of(METHODS["finetune"], other) if job.fresh),
    ]
    assert len({base, *keys}) == 7
    far = forget | mask_of(space.records, np.flatnonzero(space.assignment.shard == 0)[0])
    assert job_of(lab, space, parent, far).key == base, "other shards are none of its business"
    gone = wider & ~forget
    view = lab.view(space, parent, forget, "ascent", gone=gone)
    assert base in {job.key for job in jobs_of(ASCENT, view)}, "neither is the retain set"


def test_a_shard_without_records_is_dropped(lab, space, parent):
    child = run(lab, lab.copy(space), parent, space.assignment.shard == 1)
    assert [member.shard for member in child.constituents] == [0, 2]
