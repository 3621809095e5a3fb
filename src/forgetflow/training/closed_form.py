"""Constituents fitted without gradient steps: a forest, and the density of one class.

    gaussian   adds the moments of a slice to those before it; a slice costs its own records
    forest     is grown from all records at once, and changed by `unlearning.dare`

Both are functions of the records of each slice as sets, so states are keyed, stored and restarted
like those of any chain.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from forgetflow.keys.digests import canonical_order, keyed_hash
from forgetflow.models.forest import compiled, library, settings_of, tensors_of
from forgetflow.models.gaussian import Gaussian
from forgetflow.training.chain import Samples
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import untrained

if TYPE_CHECKING:
    from forgetflow.forest import Forest

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]

PREFIX = "model.0."
"""Names of a state's tensors start with it: the network part, and the only module in it."""


def prepare(recipe: Recipe) -> None:
    """Have compiled what `extend` runs, so that no measured second is a compiler's."""
    if recipe.model.architecture == "forest":
        compiled()


def extend(
    recipe: Recipe, shard: int, state: Mapping[str, Tensor] | None, parts: Sequence[Samples]
) -> dict[str, Tensor]:
    """Return the state after the last of `parts`.

    Args:
        recipe: a recipe of the engine `closed form`.
        shard: number of the shard, which goes into a forest's draws.
        state: the state before the last part; None at the start.
        parts: records of every slice so far.

    Raises:
        ValueError: there are no records, or a forest's come without labels.
    """
    if recipe.model.architecture == "forest":
        return tensors_of(grow(recipe, shard, parts), PREFIX)
    network = untrained(recipe, recipe.seed, shard).to(recipe.device)
    if state is not None:
        network.load_state_dict({n.removeprefix("model."): t for n, t in state.items()})
    (density,) = (module for module in network.modules() if isinstance(module, Gaussian))
    latest = parts[-1]
    order = canonical_order(latest.digests)
    density.absorb(torch.from_numpy(latest.inputs[order]).to(recipe.device))
    return {f"model.{name}": value for name, value in network.state_dict().items()}


def grow(recipe: Recipe, shard: int, parts: Sequence[Samples]) -> "Forest":
    """Return the forest of these records."""
    if recipe.grid is None:
        raise ValueError("a forest needs a grid")
    forest: Forest = library().Forest.fit(
        *rows_of(parts),
        grid=recipe.grid,
        classes=recipe.classes,
        settings=settings_of(recipe.model.forest, keyed_hash(recipe.seed, "member", shard) >> 1),
    )
    return forest


def rows_of(parts: Sequence[Samples]) -> Rows:
    """Return digests (N, 32), features (N, D) and labels (N,) of all parts together.

    Raises:
        ValueError: a part comes without labels.
    """
    labels = [part.labels for part in parts if part.labels is not None]
    if len(labels) != len(parts):
        raise ValueError("a forest needs labels")
    width = prod(parts[0].inputs.shape[1:])
    return (
        np.concatenate([part.digests for part in parts]),
        np.concatenate([part.inputs.reshape(len(part), width) for part in parts]),
        np.concatenate(labels),
    )


def largest_state(recipe: Recipe, records: int) -> int:
    """Return the bytes that a state of so many records can take, at most."""
    if recipe.model.architecture == "forest":
        forest = recipe.model.forest
        leaves = records * forest.trees * forest.share  # each holds a record at least
        return round(2 * leaves * (9 + 4 * recipe.classes))
    return sum(buffer.nbytes for buffer in untrained(recipe, 0, 0).buffers())
