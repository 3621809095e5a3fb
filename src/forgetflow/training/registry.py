"""Engines: one file each in this room, one line here.

`learners` makes those that take steps; `prepare` and `extend` are the one that takes none.
"""

from collections.abc import Sequence

from forgetflow.training.closed_form import extend, prepare
from forgetflow.training.learners import Learners
from forgetflow.training.recipe import Recipe

__all__ = ["extend", "learners", "prepare"]


def learners(recipe: Recipe, members: Sequence[tuple[int, int]], sign: int = 1) -> Learners:
    """Return untrained learners.

    Args:
        recipe: architecture, settings, device and engine.
        members: (run seed, shard) of each; both go into the initial weights.
        sign: 1 to descend the loss, -1 to ascend it.
    """
    if recipe.engine == "stacked":
        from forgetflow.training.stacked import StackedLearners

        return StackedLearners(recipe, members, sign)
    if recipe.engine == "vmap":
        from forgetflow.training.vmapped import VmappedLearners

        return VmappedLearners(recipe, members, sign)
    from forgetflow.training.sequential import SequentialLearners

    return SequentialLearners(recipe, members, sign)
