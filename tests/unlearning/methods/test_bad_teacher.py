"""Bad teacher: which teacher each record has, and what comes of it."""

import numpy as np
import pytest
import torch
from torch import nn

from forgetflow.training.sequential import untrained, weights_of
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.registry import METHODS
from forgetflow.unlearning.view import Access, View

METHOD = METHODS["bad_teacher"]
LONG = {"epochs": 60, "optimiser": {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 8}}


def parted(lab, records, count=6, **settings):
    """Return a monolith, its parent model, a forget set of one class, and a view of it."""
    blocks = {"partition": {"method": "monolith"}, "train": {"epochs": 60, "learning_rate": 0.02}}
    space = lab.space(records, **blocks, unlearn={"bad_teacher": settings})
    forget = np.zeros(len(records), bool)
    forget[np.flatnonzero(records.labels == 1)[:count]] = True
    parent = lab.build(space)
    return space, parent, View("b1", parent, METHOD.needs, space, ~forget, forget), forget


def outputs(space, key, records):
    network = untrained(space.recipe, 0, 0)
    network.load_state_dict(weights_of(space.store.require(key)))
    return network(torch.from_numpy(records.inputs)).detach().softmax(dim=1)


def test_it_looks_at_no_label():
    assert METHOD.needs == {Access.FORGET, Access.RETAIN}


def test_the_forgotten_become_uncertain_and_the_others_stay(lab, records):
    space, parent, view, forget = parted(lab, records, **LONG)
    (job,) = jobs_of(METHOD, view)
    METHOD.run(view, job)
    before = outputs(space, parent.constituents[0].key, records)
    after = outputs(space, job.key, records)
    labels = torch.tensor(records.labels)
    own_before, own_after = (p.gather(1, labels[:, None])[:, 0] for p in (before, after))
    assert own_after[forget].mean() < own_before[forget].mean() - 0.15
    kept = (after.argmax(dim=1) == before.argmax(dim=1)).numpy()
    assert kept[~forget].mean() > 0.9


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_it_descends_the_published_divergence(lab, records, share):
    """One step by hand: KL to the untrained network on the forget set, to the parent elsewhere."""
    words = {"optimizer": "sgd", "learning_rate": 0.2, "momentum": 0.0, "batch_size": 1000}
    space, parent, view, forget = parted(
        lab, records, epochs=1, retain_share=share, temperature=2.0, optimiser=words
    )
    (job,) = jobs_of(METHOD, view)
    METHOD.run(view, job)
    student, good = (untrained(space.recipe, 0, 0) for _ in range(2))
    for network in (student, good):
        network.load_state_dict(weights_of(space.store.require(parent.constituents[0].key)))
    bad = METHOD._case(view, job).fresh("bad teacher")
    left = np.flatnonzero(~forget)
    digests = [records.digests[i].tobytes() for i in left]
    chosen = left[np.argsort(np.array(digests, object))][: round(share * len(left))]
    total = 0.0
    for teacher, rows in ((bad, np.flatnonzero(forget)), (good, chosen)):
        if len(rows):
            inputs = torch.from_numpy(records.inputs[rows])
            wanted = (teacher(inputs).detach() / 2).softmax(dim=1)
            said = (student(inputs) / 2).log_softmax(dim=1)
            total = total + (wanted * (wanted.log() - said)).sum()
    (total / (forget.sum() + len(chosen))).backward()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.sub_(0.2 * parameter.grad)
    found = weights_of(space.store.require(job.key))
    for name, value in student.state_dict().items():
        assert torch.allclose(found[name], value, atol=1e-6), name


def test_teachers_are_of_the_right_kind(lab, records):
    space, parent, view, _ = parted(lab, records)
    (job,) = jobs_of(METHOD, view)
    case = METHOD._case(view, job)
    good, bad, again = case.teacher(), case.fresh("bad teacher"), case.fresh("bad teacher")
    weights = weights_of(space.store.require(parent.constituents[0].key))
    assert all(torch.equal(good.state_dict()[name], value) for name, value in weights.items())
    assert not any(p.requires_grad for p in good.parameters())
    assert all(torch.equal(a, b) for a, b in zip(bad.parameters(), again.parameters(), strict=True))
    other = case.fresh("another purpose")
    pairs = zip(bad.parameters(), other.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs)
    start = untrained(space.recipe, space.recipe.seed, 0)
    pairs = zip(bad.parameters(), start.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs), "not where the parent came from"
    assert isinstance(bad, nn.Module)
