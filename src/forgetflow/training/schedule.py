"""How many optimizer steps each slice gets (SISA, Bourtoule et al. 2021, Eq. 1).

With e' epochs for a run without slicing, every one of R slices gets e = 2e'/(R+1) epochs over
all slices up to it; for equal slices that costs the same e' passes in total. Rounding happens
in steps and cumulatively, so the whole budget is met within one step whatever R is; rounding
epochs instead would leave slices that are never trained.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgetflow.keys.digests import Digests, keyed_hash, keyed_order


def slice_steps(sizes: Sequence[int], epochs: float, batch_size: int) -> list[int]:
    """Return the number of optimizer steps of every slice.

    An empty slice still gets its steps (over the slices before it): emptying a slice by
    deletion must leave the same budget that a run without those records would have.

    Args:
        sizes: records per slice, R numbers.
        epochs: e', passes over the shard.
        batch_size: records per step.
    """
    per_slice = 2.0 * epochs / (len(sizes) + 1)
    steps, done, exact, total = [], 0, 0.0, 0
    for size in sizes:
        total += size
        exact += per_slice * ceil(total / batch_size)
        # Halves go up: rounded to even, a slice whose share is one whole step could get none.
        steps.append(floor(exact + 0.5) - done)
        done += steps[-1]
    return steps


def samples_in(records: int, batch_size: int, steps: int) -> int:
    """Return how many records pass through the network in `steps` steps over `records` records."""
    if records == 0:
        return 0
    epochs, rest = divmod(steps, ceil(records / batch_size))
    return epochs * records + min(rest * batch_size, records)


@dataclass(frozen=True)
class Batches:
    """The mini-batches of one slice's training, a pure function of stable ids.

    Attributes:
        digests: records learned from, uint8 (N, 32) in canonical order.
        batch_size: records per step; the last batch of an epoch may be smaller.
        seed: run seed.
        place: (shard, slice) whose training this is.
    """

    digests: Digests
    batch_size: int
    seed: int
    place: tuple[int, int]
    _latest: dict[str, Any] = field(default_factory=dict, repr=False)

    def steps_per_epoch(self) -> int:
        """Return the number of steps that visit every record once."""
        return ceil(len(self.digests) / self.batch_size)

    def order(self, epoch: int) -> NDArray[np.intp]:
        """Return the visiting order of one epoch, (N,)."""
        if self._latest.get("epoch") != epoch:
            seed = keyed_hash(self.seed, "epoch", *self.place, epoch)
            self._latest.update(epoch=epoch, order=keyed_order(self.digests, seed))
        return self._latest["order"]

    def iterate(self, first: int, last: int) -> Iterator[NDArray[np.intp]]:
        """Yield the record positions of steps `first` to `last - 1`.

        Starting in the middle gives the same batches as running through: resumption needs no
        random state.
        """
        per_epoch = self.steps_per_epoch()
        epoch, order = -1, np.empty(0, np.intp)
        for step in range(first, last):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = self.order(epoch)
            start = (step % per_epoch) * self.batch_size
            yield order[start : start + self.batch_size]

    def block(self, first: int, last: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the batches of steps `first` to `last - 1` as one array.

        Returns:
            Positions (T, batch_size), short batches filled up with position 0, and the number of
            true entries of each batch, (T,).
        """
        per_epoch, size = self.steps_per_epoch(), self.batch_size
        rows = np.zeros((last - first, size), np.intp)
        counts = np.full(last - first, size, np.intp)
        step = first
        while step < last:
            epoch, start = divmod(step, per_epoch)
            stop = min(start + last - step, per_epoch)
            visited = self.order(epoch)[start * size : stop * size]
            # Only an epoch's last batch is short, so a run of batches is one piece of the order.
            rows[step - first :].reshape(-1)[: len(visited)] = visited
            step += stop - start
            if stop == per_epoch:
                counts[step - first - 1] = len(self.digests) - (per_epoch - 1) * size
        return rows, counts
