"""Train given networks a little further: what fine-tuning and gradient ascent do.

The optimizer starts with empty memory: the old one is made of gradients of forgotten records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from torch import Tensor

from forgetflow.training.chain import Samples
from forgetflow.training.learners import Resident
from forgetflow.training.lockstep import BURST, Segment, Track, longest_first, run
from forgetflow.training.recipe import Recipe
from forgetflow.training.registry import learners
from forgetflow.training.schedule import Batches, samples_in
from forgetflow.training.trainer import together
from forgetflow.training.work import OnStep

PLACE = -1
"""Stands for the slice number in the seeds of data orders: no slice has it."""


@dataclass(frozen=True, eq=False)
class Start:
    """A network to go on with.

    Attributes:
        seed: run seed, for the data order.
        shard: whose constituent it is.
        weights: the network, names as `state_dict()` has them.
        parts: the records to learn from or, ascending, to unlearn.
    """

    seed: int
    shard: int
    weights: Mapping[str, Tensor]
    parts: Sequence[Samples]


@dataclass(frozen=True, eq=False)
class Result:
    """A network trained further.

    Attributes:
        state: network and optimizer memory.
        steps: optimizer steps made.
        samples: records that passed through.
        seconds: its share of the time.
    """

    state: dict[str, Tensor]
    steps: int
    samples: int
    seconds: float


def train_further(
    recipe: Recipe,
    starts: Sequence[Start],
    epochs: float,
    sign: int = 1,
    on_step: OnStep | None = None,
) -> list[Result]:
    """Train every start for `epochs` passes over its records, together where the engine can.

    Args:
        recipe: architecture, settings (step size, batch size) and device; its seed is not used.
        starts: the networks.
        epochs: passes over each one's records.
        sign: 1 to descend the loss, -1 to ascend it.
        on_step: called after every step with (-1, step); meant for one start.
    """
    results: list[Result | None] = [None] * len(starts)
    size = together(recipe)
    for first in range(0, len(starts), size):
        group = starts[first : first + size]
        for place, result in _together(recipe, group, epochs, sign, on_step):
            results[first + place] = result
    return [result for result in results if result is not None]


def _together(
    recipe: Recipe, starts: Sequence[Start], epochs: float, sign: int, on_step: OnStep | None
) -> list[tuple[int, Result]]:
    data = Resident.of([part for start in starts for part in start.parts], recipe)
    tracks = []
    for start in starts:
        where = data.find(np.concatenate([part.digests for part in start.parts]))
        batches = Batches(
            data.digests[where], recipe.train.batch_size, start.seed, (start.shard, PLACE)
        )
        steps = ceil(epochs * batches.steps_per_epoch())
        tracks.append(Track([Segment(batches, where, 0, steps)]))
    order = longest_first(tracks)
    tracks = [tracks[i] for i in order]
    group = learners(recipe, [(starts[i].seed, starts[i].shard) for i in order], sign)
    for member, place in enumerate(order):
        group.load_weights(member, starts[place].weights)

    def tell(active: int) -> None:
        if on_step:
            for track in tracks[:active]:
                on_step(PLACE, track.step - 1)

    run(group, data, tracks, after=tell, burst=1 if on_step else BURST)
    results = []
    for member, (place, track) in enumerate(zip(order, tracks, strict=True)):
        steps = track.segment.last
        samples = samples_in(len(track.segment.where), recipe.train.batch_size, steps)
        results.append((place, Result(group.state(member), steps, samples, track.seconds)))
    return results
