"""What of a chain is missing: neighbouring slices whose states are not in the store."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forgetflow.keys.digests import digest_of
from forgetflow.store.store import Store
from forgetflow.training.chain import Chain
from forgetflow.training.learners import Resident
from forgetflow.training.lockstep import Segment, Track
from forgetflow.training.recipe import Recipe
from forgetflow.training.schedule import Batches, slice_steps
from forgetflow.training.work import Work


@dataclass(frozen=True, eq=False)
class Gap:
    """Neighbouring slices of one chain whose states are missing.

    Attributes:
        chain, recipe: what is trained.
        first, last: slices.
        plan: steps of every slice of the chain.
        resumed: steps of slice `first` that a recovery point saves.
        resumed_seconds: what they took.
        work: where the work is counted.
    """

    chain: Chain
    recipe: Recipe
    first: int
    last: int
    plan: Sequence[int]
    resumed: int
    resumed_seconds: float
    work: Work

    @property
    def steps(self) -> int:
        """Steps to make."""
        return sum(self.plan[self.first : self.last + 1]) - self.resumed

    def track(self, data: Resident) -> Track:
        """Return the plan of this gap, one segment a slice."""
        segments = []
        for number in range(self.first, self.last + 1):
            parts = [part.digests for part in self.chain.slices[: number + 1]]
            where = data.find(np.concatenate(parts))
            place = (self.chain.shard, number)
            train = self.recipe.train
            batches = Batches(data.digests[where], train.batch_size, self.recipe.seed, place)
            start = self.resumed if number == self.first else 0
            segments.append(Segment(batches, where, start, self.plan[number]))
        return Track(segments)


def gaps_of(store: Store, task: tuple[Chain, Recipe], work: Work) -> list[Gap]:
    """Return what of a chain is missing."""
    chain, recipe = task
    train = recipe.train
    plan = slice_steps([len(part) for part in chain.slices], train.epochs, train.batch_size)
    for part in chain.slices:  # also of finished states: a lost index is made good
        store.put_members(part.digests)
    if store.keeps_only_finished:
        missing = [] if store.verify(chain.key) else list(range(len(chain.keys)))
    else:
        missing = [n for n, key in enumerate(chain.keys) if not store.verify(key)]
    for number, key in enumerate(chain.keys):
        if number not in missing:
            # There is one if a kill came between writing the state and removing it.
            store.remove(progress_key(key))
    gaps = []
    for first in missing:
        if first - 1 in missing:
            continue
        last = next(n for n in range(first, len(chain.keys)) if n + 1 not in missing)
        logs = train.log == "stored"  # which a recovery point would cut in two
        progress = None if logs else store.verify(progress_key(chain.keys[first]))
        steps, seconds = 0, 0.0
        if progress:
            steps, seconds = progress.facts["steps"], progress.facts["seconds"]
        gaps.append(Gap(chain, recipe, first, last, plan, steps, seconds, work))
    return gaps


def progress_key(key: str) -> str:
    """Return the key of the recovery point inside the slice that ends in state `key`."""
    return digest_of(["progress", key])
