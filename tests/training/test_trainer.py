"""The trainer: plain training at heart, only what is missing, and a complete state on disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from forgetflow.keys.digests import canonical_order, digest_of, keyed_hash
from forgetflow.models import build as models
from forgetflow.training.schedule import Batches, slice_steps
from forgetflow.training.sequential import weights_of
from forgetflow.training.trainer import train_chain

ENGINES = ("sequential", "stacked")

TRAININGS = {
    "sgd": {"momentum": 0.0},
    "momentum": {},
    "decay": {"momentum": 0.5, "weight_decay": 0.01},
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
}


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def built(space, shard=0, keep=None, on_step=None):
    """Train a chain; return it with what it cost."""
    chain = space.chain(shard, space.everything if keep is None else keep)
    return chain, train_chain(space.store, chain, space.recipe, on_step)[1]


def torch_optimizer(train, network):
    if train.optimizer == "adam":
        return torch.optim.Adam(
            network.parameters(),
            lr=train.learning_rate,
            weight_decay=train.weight_decay,
            fused=True,
        )
    return torch.optim.SGD(
        network.parameters(),
        lr=train.learning_rate,
        momentum=train.momentum,
        weight_decay=train.weight_decay,
        fused=True,
    )


@pytest.mark.parametrize("normalize", ["none", "standard"])
@pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS.keys())
def test_one_shard_of_one_slice_is_plain_training(records, make_space, train, normalize, engine):
    """A loop of torch alone gives the same bits or, stacked, the same numbers."""

    def same(plain, found):
        if engine == "sequential":
            return torch.equal(plain, found)
        return torch.allclose(plain, found, rtol=1e-5, atol=2e-6)

    space = make_space(
        records,
        partition={"method": "monolith"},
        train=train | {"engine": engine},
        model={"normalize": normalize},
        run={"seed": 3},
    )
    settings, recipe = space.settings, space.recipe
    chain = replace(space.chain(0, space.everything), shard=2)
    _, work = train_chain(space.store, chain, recipe)

    order = canonical_order(records.digests)
    inputs = torch.from_numpy(records.inputs[order])
    targets = torch.from_numpy(records.labels[order])
    network = models.build(settings.model, (6,), 3, keyed_hash(3, "member", 2))
    if normalize == "standard":
        network[0].fit(inputs)
    optimizer = torch_optimizer(settings.train, network)
    steps = 3 * 10  # epochs, 40 records in mini-batches of 4
    for rows in Batches(records.digests[order], 4, 3, (2, 0)).iterate(0, steps):
        optimizer.zero_grad()
        where = torch.from_numpy(rows)
        nn.functional.cross_entropy(network(inputs[where]), targets[where]).backward()
        optimizer.step()

    state = space.store.require(chain.key)
    assert work.steps == steps
    assert work.samples == 3 * len(records)
    plain = network.state_dict()
    assert plain.keys() == weights_of(state).keys()
    assert all(same(plain[name], value) for name, value in weights_of(state).items())
    for name, parameter in network.named_parameters():
        for entry, value in optimizer.state[parameter].items():
            if value is not None:
                assert same(value, state[f"optimizer.{entry}.{name}"]), (entry, name)


def test_a_finished_chain_costs_nothing(records, make_space):
    space = make_space(records)
    chain, work = built(space)
    plan = slice_steps([len(part) for part in chain.slices], 3, 4)
    assert work.slices == [0, 1, 2]
    assert work.steps == sum(plan)
    before = {path: path.stat().st_mtime_ns for path in space.store.root.rglob("*")}
    seen = []
    _, work = built(space, on_step=lambda *step: seen.append(step))
    assert (work.samples, work.steps, work.slices, seen) == (0, 0, [], [])
    assert {path: path.stat().st_mtime_ns for path in space.store.root.rglob("*")} == before


def test_every_step_is_told(records, make_space):
    space = make_space(records)
    seen = []
    chain, _ = built(space, on_step=lambda *step: seen.append(step))
    plan = slice_steps([len(part) for part in chain.slices], 3, 4)
    assert seen == [(number, step) for number in range(3) for step in range(plan[number])]


def test_a_receipt_tells_what_a_state_learned_from_and_cost(records, make_space):
    space = make_space(records)
    chain, work = built(space)
    samples = 0
    for number, key in enumerate(chain.keys):
        receipt = space.store.verify(key)
        members = [space.store.members(name) for name in receipt.learned_from]
        learned = {row.tobytes() for part in members for row in part}
        expected = {r.tobytes() for part in chain.slices[: number + 1] for r in part.digests}
        assert learned == expected
        assert receipt.kind == "state"
        assert (receipt.facts["shard"], receipt.facts["slice"]) == (0, number)
        samples += receipt.facts["samples"]
    assert samples == work.samples


def test_a_lost_index_of_record_sets_is_made_good(records, make_space):
    """Else nobody could say any more what a finished state learned from."""
    space = make_space(records)
    chain, _ = built(space)
    for path in (space.store.root / "members").rglob("*"):
        if path.is_file():
            path.unlink()
    _, work = built(space)
    assert work.slices == []
    found = space.store.learned_from(chain.slices[1].digests[:1])
    assert {receipt.key for receipt in found} == set(chain.keys[1:])


def test_slices_are_learned_in_turn(records, make_space, state_bytes):
    """The state after slice r is that of a build that never had the later slices."""
    space = make_space(records)
    chain, _ = built(space)
    for number in range(2):
        other = make_space(records)
        alone, _ = built(other, keep=other.assignment.slice <= number)
        assert alone.records < chain.records
        expected = state_bytes(space.store, chain)[: number + 1]
        assert state_bytes(other.store, alone)[: number + 1] == expected


def statistics(space, chain):
    """Return the mean that each state of a chain carries."""
    return [space.store.require(key)["model.0.mean"].numpy() for key in chain.keys]


def mean_of(part):
    return part.inputs.astype(np.float64).mean(axis=0).astype(np.float32)


def test_normalisation_is_fitted_once_on_the_first_slice(records, make_space, engine):
    space = make_space(records, model={"normalize": "standard"}, train={"engine": engine})
    chain, _ = built(space)
    for mean in statistics(space, chain):
        np.testing.assert_array_equal(mean, mean_of(chain.slices[0]))


@pytest.mark.parametrize("empty", [1, 2])
def test_normalisation_waits_for_the_first_slice_with_records(records, make_space, empty, engine):
    space = make_space(records, model={"normalize": "standard"}, train={"engine": engine})
    chain, _ = built(space, keep=space.assignment.slice >= empty)
    means = statistics(space, chain)
    for mean in means[:empty]:
        np.testing.assert_array_equal(mean, np.zeros(6, np.float32))
    for mean in means[empty:]:
        np.testing.assert_array_equal(mean, mean_of(chain.slices[empty]))


def test_normalisation_is_refitted_without_a_forgotten_record(records, make_space):
    space = make_space(records, model={"normalize": "standard"})
    chain, _ = built(space)
    keep = space.everything
    keep[space.assignment.members(records, 0)[0][0]] = False
    left, work = built(space, keep=keep)
    assert work.slices == [0, 1, 2]
    for before, after in zip(statistics(space, chain), statistics(space, left), strict=True):
        np.testing.assert_array_equal(after, mean_of(left.slices[0]))
        assert not np.array_equal(before, after)


def test_records_without_labels_cannot_be_learned(records, make_space):
    space = make_space(records)
    chain = space.chain(0, space.everything)
    blind = replace(chain, slices=space.slices(0, space.everything, labels=False))
    with pytest.raises(ValueError, match="labels"):
        train_chain(space.store, blind, space.recipe)
    assert space.store.verify(digest_of(["progress", chain.keys[0]])) is None
    assert not list(space.store.receipts())


def test_training_learns(records, make_space, engine):
    """Else every byte comparison above could be one of untrained networks."""
    space = make_space(
        records,
        partition={"shards": 1},
        train={"epochs": 40, "learning_rate": 0.02, "engine": engine},
    )
    chain, _ = built(space)
    network = models.build(space.settings.model, (6,), 3, seed=0)
    network.load_state_dict(weights_of(space.store.require(chain.key)))
    guesses = network(torch.from_numpy(records.inputs)).argmax(dim=1).numpy()
    assert (guesses == records.labels).mean() > 0.9
