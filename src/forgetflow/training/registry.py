"""Engines: one file each in this room, one line here.

`learners` makes those that take steps; `prepare` and `extend` are the one that takes none.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from forgetflow.training.closed_form import extend, prepare
from forgetflow.training.learners import Learners
from forgetflow.training.objective import CrossEntropy, Objective, Reconstruction
from forgetflow.training.recipe import Engine, Recipe
from forgetflow.training.sequential import SequentialLearners, Statistics

__all__ = ["engine_of", "extend", "learners", "objective_of", "prepare"]


def objective_of(recipe: Recipe) -> Objective:
    """Return what training a constituent from nothing descends."""
    return Reconstruction() if recipe.model.family == "one-class" else CrossEntropy()


def engine_of(recipe: Recipe, objective: Objective) -> Engine:
    """Return the engine whose learners descend an objective.

    `stacked` knows the gradient of the cross-entropy only. For others one network trains after
    another or, in pools on a GPU, all of them under `vmap`.
    """
    if recipe.engine != "stacked" or isinstance(objective, CrossEntropy):
        return recipe.engine
    return "vmap" if not recipe.independent else "sequential"


def learners(
    recipe: Recipe,
    members: Sequence[tuple[int, int]],
    objective: Objective | None = None,
    statistics: Statistics = "moving",
    only: Mapping[str, Tensor] | None = None,
) -> Learners:
    """Return untrained learners.

    Args:
        recipe: architecture, settings, device and engine.
        members: (run seed, shard) of each; both go into the initial weights.
        objective: what they descend; none: what training from nothing descends.
        statistics: whether running statistics (of batch normalisation) move.
        only: parameter name -> mask of the weights that move, one network after another; None: all.
    """
    chosen = objective or objective_of(recipe)
    if only is not None:
        return SequentialLearners(recipe, members, chosen, statistics, only)
    engine = engine_of(recipe, chosen)
    if engine == "stacked" and isinstance(chosen, CrossEntropy):
        from forgetflow.training.stacked import StackedLearners

        return StackedLearners(recipe, members, chosen)
    if engine == "vmap":
        from forgetflow.training.vmapped import VmappedLearners

        return VmappedLearners(recipe, members, chosen, statistics)
    return SequentialLearners(recipe, members, chosen, statistics)
