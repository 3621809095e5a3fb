"""Training in bfloat16: other bits, kept as faithfully."""

from dataclasses import replace

import pytest
import torch

from forgetflow.errors import InputError
from forgetflow.store.store import Store
from forgetflow.training.sequential import untrained, weights_of
from forgetflow.training.trainer import train_chain

HALF = {"precision": "bfloat16"}


def trained(space, root, keep=None):
    """Return the bytes of every state of shard 0, by key."""
    store = Store(root)
    chain = space.chain(0, space.everything if keep is None else keep)
    train_chain(store, chain, space.recipe)
    return {key: store.receipt(key).sha256 for key in chain.keys}, store, chain


@pytest.mark.parametrize("architecture", ["mlp", "lenet", "wideresnet"])
def test_the_same_bytes_twice_and_others_than_in_float32(
    make_space, make_records, tmp_path, architecture
):
    images = make_records(20, (1, 8, 8))
    model = {"architecture": architecture}
    half = make_space(images, model=model, train=HALF)
    first, store, chain = trained(half, tmp_path / "one")
    assert trained(half, tmp_path / "two")[0] == first
    plain, others, _ = trained(make_space(images, model=model), tmp_path / "plain")
    assert not set(first) & set(plain)
    one = store.require(chain.key)
    assert {tensor.dtype for tensor in one.values()} <= {torch.float32, torch.int64}
    other = others.require([*plain][-1])
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_deletion_leaves_the_bytes_of_a_build(make_space, make_records, tmp_path):
    images = make_records(20, (1, 8, 8))
    space = make_space(images, model={"architecture": "lenet"}, train=HALF)
    _, store, _ = trained(space, tmp_path / "all")
    keep = space.everything
    keep[3] = False
    chain = space.chain(0, keep)
    train_chain(store, chain, space.recipe)
    fresh, _, _ = trained(space, tmp_path / "fresh", keep)
    assert {key: store.receipt(key).sha256 for key in chain.keys} == fresh


def test_networks_learn_in_it(make_space, records, tmp_path):
    right = {}
    for precision in ("float32", "bfloat16"):
        words = {"precision": precision, "epochs": 40, "learning_rate": 0.02}
        space = make_space(records, partition={"method": "monolith"}, train=words)
        _, store, chain = trained(space, tmp_path / precision)
        network = untrained(space.recipe, 0, 0)
        network.load_state_dict(weights_of(store.require(chain.key)))
        with torch.no_grad():
            predicted = network(torch.from_numpy(records.inputs)).argmax(dim=1)
        right[precision] = (predicted.numpy() == records.labels).mean()
    assert right["bfloat16"] > right["float32"] - 0.1
    assert right["bfloat16"] > 0.6, "chance is a third"


def test_only_the_engine_sequential_computes_in_it(make_space, records):
    assert make_space(records, train=HALF).recipe.engine == "sequential"
    with pytest.raises(InputError, match="stacked trains in float32"):
        make_space(records, train={**HALF, "engine": "stacked"})


def test_pools_on_a_gpu_train_one_after_another_in_it(make_space, records):
    recipe = make_space(records, train=HALF).recipe
    recipe = replace(recipe, device=torch.device("cuda"))
    assert recipe.for_pools() is recipe
