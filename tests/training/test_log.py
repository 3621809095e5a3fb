"""The training log: the path as it was taken, kept or found again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from forgetflow.errors import InputError
from forgetflow.keys.digests import canonical_order
from forgetflow.store.store import Store
from forgetflow.training.log import TrainingLog
from forgetflow.training.path import log_key
from forgetflow.training.schedule import Batches, slice_steps
from forgetflow.training.sequential import untrained, weights_of
from forgetflow.training.trainer import train_chain

PLAIN = {"engine": "sequential", "momentum": 0.0}


@pytest.fixture(params=["sequential", "stacked"])
def space(request, make_space, records):
    return make_space(records, train={"engine": request.param})


def chain_of(space, shard=0):
    return space.chain(shard, space.everything)


def logging(space, store):
    recipe = space.recipe
    return replace(recipe, train=recipe.train.model_copy(update={"log": "stored"})), store


def test_kept_and_found_again_are_the_same_path(space, tmp_path):
    chain = chain_of(space)
    recipe, store = logging(space, Store(tmp_path / "kept"))
    train_chain(store, chain, recipe)
    kept = TrainingLog.open(chain, space.recipe, store)
    bare = Store(tmp_path / "bare")
    train_chain(bare, chain, space.recipe)
    replayed = TrainingLog.open(chain, space.recipe, bare)
    assert (kept.replayed, replayed.replayed) == (False, True)
    assert len(kept) == len(replayed) > 10
    for step in range(len(kept) + 1):
        one, other = kept.before(step), replayed.before(step)
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not any(receipt.kind == "log" for receipt in bare.receipts()), "a replay is not kept"


def test_keeping_a_log_changes_no_model(space, tmp_path):
    chain = chain_of(space)
    recipe, store = logging(space, Store(tmp_path / "kept"))
    bare = Store(tmp_path / "bare")
    train_chain(store, chain, recipe)
    train_chain(bare, chain, space.recipe)
    assert recipe.digest == space.recipe.digest
    for key in chain.keys:
        assert store.receipt(key).sha256 == bare.receipt(key).sha256


def test_the_path_leads_from_the_initial_weights_to_the_trained(space, tmp_path):
    chain = chain_of(space)
    store = Store(tmp_path)
    train_chain(store, chain, space.recipe)
    log = TrainingLog.open(chain, space.recipe, store)
    start = untrained(space.recipe, space.recipe.seed, 0).state_dict()
    end = weights_of(store.require(chain.key))
    first = log.before(0)
    assert all(torch.equal(first[name], value) for name, value in start.items())
    for name, value in end.items():
        total = first[name].double() + sum(update[name] for update in log.updates(range(len(log))))
        assert torch.allclose(total, value.double(), rtol=0, atol=1e-12), name


def test_the_records_of_a_step_are_those_it_learned_from(make_space, records, tmp_path):
    """Plain SGD: every update is the step size times the gradient of the step's own records."""
    space = make_space(records, train=PLAIN)
    chain, store = chain_of(space), Store(tmp_path)
    train_chain(store, chain, space.recipe)
    log = TrainingLog.open(chain, space.recipe, store)
    by_digest = {row.tobytes(): i for i, row in enumerate(records.digests)}
    for step in range(len(log)):
        rows = [by_digest[one.tobytes()] for one in log.records(step)]
        weights, gradients = log.path(step)
        network = untrained(space.recipe, 0, 0)
        network.load_state_dict(weights)
        logits = network(torch.from_numpy(records.inputs[rows]))
        nn.functional.cross_entropy(logits, torch.from_numpy(records.labels[rows])).backward()
        update = log.update(step)
        for name, parameter in network.named_parameters():
            assert torch.allclose(gradients[name], parameter.grad, atol=1e-6)
            moved = -space.recipe.train.learning_rate * parameter.grad.double()
            assert torch.allclose(update[name], moved, atol=1e-6), (step, name)


def test_steps_with_a_record_are_those_whose_batch_holds_it(space, tmp_path):
    chain, store = chain_of(space), Store(tmp_path)
    train_chain(store, chain, space.recipe)
    log = TrainingLog.open(chain, space.recipe, store)
    sizes = [len(part) for part in chain.slices]
    train = space.recipe.train
    counts = slice_steps(sizes, train.epochs, train.batch_size)
    assert len(log) == sum(counts)
    wanted = chain.slices[1].digests[:2]
    hit = {row.tobytes() for row in wanted}
    expected, step = [], 0
    for number, count in enumerate(counts):
        digests = np.concatenate([part.digests for part in chain.slices[: number + 1]])
        digests = digests[canonical_order(digests)]
        batches = Batches(digests, train.batch_size, space.recipe.seed, (0, number))
        for rows in batches.iterate(0, count):
            if hit & {digests[row].tobytes() for row in rows}:
                expected.append(step)
            step += 1
    assert log.steps_with(wanted) == expected
    assert min(expected) >= counts[0], "slice 0 never saw them"
    assert log.steps_with(wanted[:0]) == []


def test_running_statistics_are_part_of_the_path(make_space, make_records, tmp_path):
    images = make_records(16, (1, 8, 8))
    space = make_space(images, model={"architecture": "wideresnet"}, train={"epochs": 1})
    chain, store = chain_of(space), Store(tmp_path)
    train_chain(store, chain, space.recipe)
    log = TrainingLog.open(chain, space.recipe, store)
    name = next(name for name in log.before(0) if name.endswith("running_mean"))
    assert not log.before(0)[name].any()
    assert log.update(0)[name].any()


def test_a_killed_training_leaves_no_log_with_a_hole(space, tmp_path):
    """A log starts with its slice; a run that was killed inside one starts the slice again."""
    chain = chain_of(space)
    recipe, store = logging(space, Store(tmp_path / "killed"))
    frequent = replace(recipe, train=recipe.train.model_copy(update={"checkpoint_seconds": 0.0}))

    def die(number, step):
        if (number, step) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_chain(store, chain, frequent, die)
    train_chain(store, chain, frequent)
    log = TrainingLog.open(chain, space.recipe, store)
    assert not log.replayed
    whole = Store(tmp_path / "whole")
    train_chain(whole, chain, recipe)
    for key in chain.keys:
        assert store.receipt(log_key(key)).sha256 == whole.receipt(log_key(key)).sha256


def test_the_path_is_found_by_whoever_erases(space, tmp_path):
    chain = chain_of(space)
    recipe, store = logging(space, Store(tmp_path))
    train_chain(store, chain, recipe)
    last = chain.slices[-1].digests[:1]
    found = {receipt.key for receipt in store.learned_from(last)}
    assert log_key(chain.keys[-1]) in found
    assert log_key(chain.keys[0]) not in found


def test_what_is_fitted_in_closed_form_has_no_log(make_space, records, tmp_path):
    blocks = {"partition": {"method": "arcane"}, "model": {"architecture": "gaussian"}}
    space = make_space(records, **blocks)
    with pytest.raises(InputError, match="fitted in closed form"):
        TrainingLog.open(chain_of(space), space.recipe, Store(tmp_path))
