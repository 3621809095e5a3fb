"""How many learners fit into a GPU's memory."""

import torch

from forgetflow.training.recipe import Recipe

SHARE = 0.5
"""Part of a GPU's free memory that learners in lockstep are meant to take."""

COPIES = 3
"""How often a layer's output is counted: kept for the gradient, the gradient itself, scratch."""


LARGEST = 2**31 - 1
"""Most numbers in one tensor: beyond, some CUDA kernels cannot count."""


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
