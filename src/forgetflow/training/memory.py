"""How many learners fit into the memory that is near: a core's cache, or what is free of a GPU.

Only speed depends on it. On a CPU a learner's bits are those of itself alone, so the size of the
cache is no part of any key.
"""

import torch
from torch import nn

from forgetflow.training.recipe import Recipe

UNKNOWN_CACHE = 512 * 1024
"""Bytes of second-level cache assumed where torch cannot tell; few cores have less."""

FEWEST, MOST = 4, 64
"""Bounds of the number of learners on a CPU. Fewer would pay for each call what a small product
costs, wherever they lie; beyond the upper one, calls cost next to nothing already."""

SHARE = 0.5
"""Part of a GPU's free memory that learners in lockstep are meant to take."""

COPIES = 3
"""How often a layer's output is counted: kept for the gradient, the gradient itself, scratch."""


LARGEST = 2**31 - 1
"""Most numbers in one tensor: beyond, some CUDA kernels cannot count."""


def core_cache() -> int | None:
    """Return the bytes of a core's second-level cache; None where torch cannot tell."""
    tell = getattr(torch.cpu, "get_capabilities", None)  # older versions of torch have none
    return tell().get("l2_cache_size") or None if tell else None


def fitting_cache(recipe: Recipe) -> int:
    """Return how many learners of linear layers should train in lockstep on one core.

    As many as leave the operands of their largest product in the core's own cache, where the next
    kernel finds them; what cores share is too often in use by others. Measured optima on 1 MB,
    with another process on the third-level cache: `benchmarks/RESULTS.md`.
    """
    from forgetflow.training.sequential import untrained

    layers = [m for m in untrained(recipe, 0, 0).modules() if isinstance(m, nn.Linear)]
    sizes = [(layer.in_features, layer.out_features) for layer in layers]
    batch = recipe.train.batch_size
    operands = max(4 * (batch * (taken + given) + taken * given) for taken, given in sizes)
    return min(max((core_cache() or UNKNOWN_CACHE) // operands, FEWEST), MOST)


def fitting_gpu(recipe: Recipe) -> int:
    """Return how many learners of a recipe fit into what is free of its GPU, at least 1.

    An estimate from shapes alone: parameters, their gradients and the optimizer's memory (Adam
    has two numbers a parameter, and updating them takes one more), and the layers' outputs.
    """
    from forgetflow.training.sequential import untrained

    network = untrained(recipe, 0, 0).to("meta")
    sizes: list[int] = []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *call: sizes.append(call[-1].numel()))
    with torch.no_grad():
        network(torch.empty(recipe.train.batch_size, *recipe.input_shape, device="meta"))
    parameters = sum(p.numel() for p in network.parameters())
    each = 4 * (5 * parameters + COPIES * sum(sizes))
    free, _ = torch.cuda.mem_get_info(recipe.device)
    # What torch's allocator holds in reserve is free as well.
    free += torch.cuda.memory_reserved(recipe.device) - torch.cuda.memory_allocated(recipe.device)
    return max(1, min(int(SHARE * free) // each, LARGEST // max(*sizes, parameters)))
