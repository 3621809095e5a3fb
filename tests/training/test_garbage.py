"""Training leaves nothing large to the garbage collector, which commands let run rarely."""

import gc
from dataclasses import replace

import pytest
import torch


@pytest.mark.parametrize(
    ("architecture", "shape", "engine"),
    [
        ("mlp", (6,), "sequential"),
        ("mlp", (6,), "stacked"),
        ("mlp", (6,), "vmap"),
        ("lenet", (1, 8, 8), "sequential"),
        ("lenet", (1, 8, 8), "vmap"),
    ],
)
def test_no_tensor_is_left_in_a_cycle(
    make_recipe, make_member, make_samples, train_pool, architecture, shape, engine
):
    recipe = make_recipe(shape, model={"architecture": architecture})
    recipe = replace(recipe, engine=engine, independent=engine != "vmap")
    members = [make_member(seed, 0, make_samples(8, shape, seed=seed), 30) for seed in range(3)]
    train_pool(recipe, members)  # what is made once and kept
    before = tensors()
    gc.disable()
    try:
        train_pool(recipe, members)
        assert tensors() == before
    finally:
        gc.enable()


def tensors() -> int:
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())
