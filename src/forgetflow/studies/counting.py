"""What the trainer would train again for drawn forget sets, counted without training.

Two counts of the same deletions. *Samples* are what the trainer passes through the network: whole
steps of mini-batches, as `training.schedule` rounds them. *Points* are the budget before rounding,
2e'/(R+1) passes over every state's records (Eq. 1 of SISA): the unit of the formulas.

Notation:
    - D: draws, K: requests of a draw, S: shards, R: slices
    - state (s, j): shard s after slices 0 to j
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgetflow.partition.assignment import Assignment
from forgetflow.studies.draws import Draws, Floats, Ints

CELLS = 4_000_000
"""Numbers held at once, at most."""


@dataclass(frozen=True, eq=False)
class Counted:
    """What each of D draws makes the trainer train again.

    Attributes:
        samples: records passed through training, (D,).
        points: the same before rounding to steps, (D,).
    """

    samples: Floats
    points: Floats


def retrained(
    assignment: Assignment, draws: Draws, epochs: float, batch_size: int, *, together: bool
) -> Counted:
    """Count what D deletions train again.

    A request changes the states of its shard from its slice on; they are trained on what is left
    after it and all requests before it.

    Args:
        assignment: placement of N records.
        draws: who leaves.
        epochs: e'.
        batch_size: records per step.
        together: serve all requests of a draw at once, not one after another.
    """
    shards, slices = assignment.shards, assignment.slices
    turns = 1 if together else draws.requests
    cell = assignment.shard[draws.record] * slices + assignment.slice[draws.record]
    turn = np.zeros_like(draws.request) if together else draws.request
    sizes = assignment.sizes()
    found = Counted(np.zeros(draws.count), np.zeros(draws.count))
    chunk = max(1, CELLS // (turns * shards * slices))
    for first in range(0, draws.count, chunk):
        here = min(chunk, draws.count - first)
        own = (draws.draw >= first) & (draws.draw < first + here)
        row = (draws.draw[own] - first) * turns + turn[own]
        flat = np.bincount(
            row * shards * slices + cell[own], minlength=here * turns * shards * slices
        )
        gone = flat.reshape(here, turns, shards, slices)
        again = gone.cumsum(axis=3) > 0
        where = np.nonzero(again[..., -1])
        left = (sizes - gone.cumsum(axis=1))[where]
        redo = again[where]
        for totals, each in (
            (found.samples, samples(left, epochs, batch_size)),
            (found.points, points(left, epochs)),
        ):
            spent = np.where(redo, each, 0).sum(axis=1)
            totals[first : first + here] = np.bincount(where[0], spent, minlength=here)
    return found


def points(sizes: Ints, epochs: float) -> Floats:
    """Return the budget of every state of P shards with these slices, (P, R)."""
    return 2 * epochs / (sizes.shape[1] + 1) * sizes.cumsum(axis=1)


def samples(sizes: Ints, epochs: float, batch_size: int) -> Ints:
    """Return what the trainer passes through for every state, (P, R).

    The same as `schedule.slice_steps` and `schedule.samples_in`, for many shards at once.
    """
    unions = sizes.cumsum(axis=1)
    per_epoch = -(-unions // batch_size)
    exact = np.cumsum(2.0 * epochs / (sizes.shape[1] + 1) * per_epoch, axis=1)
    steps = np.diff(np.floor(exact + 0.5).astype(np.int64), axis=1, prepend=0)
    passes, rest = np.divmod(steps, np.maximum(per_epoch, 1))
    return np.where(unions > 0, passes * unions + np.minimum(rest * batch_size, unions), 0)


def remaining(records: int, draws: Draws) -> NDArray[np.int64]:
    """Return how many of N records each draw leaves, (D,)."""
    return records - np.bincount(draws.draw, minlength=draws.count)
