"""Selective synaptic dampening: importances in closed form, and what is done with them."""

import numpy as np
import pytest
import torch

from forgetflow.training.chain import Samples
from forgetflow.training.sequential import untrained, weights_of
from forgetflow.unlearning.meter import Meter
from forgetflow.unlearning.preparations import importances as module
from forgetflow.unlearning.preparations.importances import IMPORTANCES, importances
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.records import Records
from forgetflow.unlearning.registry import METHODS
from forgetflow.unlearning.view import View

METHOD = METHODS["ssd"]
CPU = torch.device("cpu")


def as_records(records, mask, *, forgotten=False):
    where = np.flatnonzero(mask)
    return Records.of([Samples.of(records, where)], CPU, forgotten=forgotten)


@pytest.mark.parametrize("at_once", [2**27, 1])
def test_importances_of_a_linear_model_are_known(lab, records, monkeypatch, at_once):
    """Mean over records of ((p - y) x)^2 for weights, (p - y)^2 for biases."""
    monkeypatch.setattr(module, "GRADIENT_BYTES", at_once)
    recipe = lab.space(records, model={"architecture": "logistic"}).recipe
    network = untrained(recipe, 3, 0).eval()
    held, meter = as_records(records, np.ones(len(records), bool)), Meter()
    found = importances(network, held, meter)
    assert (meter.forward, meter.backward) == (len(records), len(records))
    inputs, labels = torch.tensor(records.inputs).double(), torch.tensor(records.labels)
    wrong = network(inputs.float()).double().softmax(dim=1) - torch.eye(3)[labels]
    weight = (wrong[:, :, None] * inputs[:, None, :]).square().mean(dim=0)
    (name,) = (name for name in found if name.endswith("weight"))
    assert torch.allclose(found[name].double(), weight, rtol=1e-4)
    bias = found[name.replace("weight", "bias")].double()
    assert torch.allclose(bias, wrong.square().mean(dim=0), rtol=1e-4)


@pytest.fixture
def dampened(lab, records):
    """Return a runner of the method with settings; it returns weights before and after."""

    def run(**settings):
        blocks = {
            "partition": {"method": "monolith"},
            "train": {"learning_rate": 0.02, "epochs": 60},
        }
        space = lab.space(records, **blocks, unlearn={"ssd": settings})
        parent = lab.build(space)
        forget = records.labels == 2
        forget[np.flatnonzero(forget)[4:]] = False
        view = View("b1", parent, METHOD.needs, space, ~forget, forget)
        (job,) = jobs_of(METHOD, view)
        METHOD.run(view, job)
        before = weights_of(space.store.require(parent.constituents[0].key))
        return view, before, weights_of(space.store.require(job.key))

    return run


def test_the_rule_is_the_published_one(dampened, records):
    view, before, after = dampened(selection=1.5, dampening=0.7)
    network = untrained(view.recipe, 0, 0)
    network.load_state_dict(before)
    network.eval()
    theirs = importances(network, as_records(records, view._retain | view._forget), Meter())
    ours = importances(network, as_records(records, view._forget), Meter())
    changed = 0
    for name, weight in before.items():
        expected = weight.clone().flatten()
        a, b = ours[name].flatten(), theirs[name].flatten()
        for i in range(len(expected)):
            if a[i] > 1.5 * b[i]:
                expected[i] *= min(0.7 * b[i] / a[i], 1.0)
                changed += 1
        assert torch.allclose(after[name].flatten(), expected, rtol=1e-5), name
    assert changed > 10


def test_the_selection_shrinks_and_nothing_grows(dampened):
    """More selective, fewer weights; signs stay; at the end it is the identity."""
    counts = []
    for selection in (0.02, 0.5, 2.0, 1e30):
        _, before, after = dampened(selection=selection)
        moved = 0
        for name, weight in before.items():
            assert (after[name].abs() <= weight.abs()).all()
            assert (after[name] * weight >= 0).all()
            moved += int((after[name] != weight).sum())
        counts.append(moved)
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2] > counts[-1] == 0


def test_importances_are_made_once_for_all_who_ask(lab, records, mask_of):
    space = lab.space(records)
    parent = lab.build(space)
    keys, made = set(), []
    for wanted in ((3, 4), (3, 40, 41), (10,)):
        forget = mask_of(records, *wanted)
        view = View("b1", parent, METHOD.needs, space, ~forget, forget)
        for job in jobs_of(METHOD, view):
            METHOD.run(view, job)
            keys.update(job.prepared)
    receipts = [r for r in space.store.receipts() if r.kind == "prepared"]
    assert {receipt.key for receipt in receipts} == keys
    assert len(keys) <= 3
    for receipt in receipts:
        shard = receipt.facts["shard"]
        count = parent.constituent(shard).records
        assert receipt.facts["samples"] == receipt.facts["backward_samples"] == count
        made += [row.tobytes() for n in receipt.learned_from for row in space.store.members(n)]
    wanted = np.isin(space.assignment.shard, [r.facts["shard"] for r in receipts])
    assert set(made) == {row.tobytes() for row in records.digests[wanted]}, "erasure finds them"


def test_another_model_has_other_importances(lab, records, mask_of):
    space = lab.space(records)
    forget = mask_of(records, 3)
    seeded = space.with_seed(5)
    keys = set()
    for one in (space, seeded):
        view = View("b1", lab.build(one), METHOD.needs, one, ~forget, forget)
        keys.add(IMPORTANCES.key(view, int(space.assignment.shard[3])))
    assert len(keys) == 2
