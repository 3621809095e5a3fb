"""Training plans of several members, carried out together step by step.

    member 0   |== slice 0 ==|==== slice 1 ====|====== slice 2 ======|
    member 1   |= slice 0 =|=== slice 1 ===|==== slice 2 ====|
    member 2   |===== slice 2 =====|            (continues from a saved state)
               └─ every column is one step of all active members ─┘

Members are sorted by how much is left, so those that finish drop off the end and the others stay
where they are.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetflow.training.learners import Learners, Resident
from forgetflow.training.schedule import Batches

T = TypeVar("T")

BURST = 64
"""Most steps between two looks at the clock."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Steps `first` to `last - 1` over one set of records.

    Attributes:
        batches: which records make up each step.
        where: position of each of its records in the resident data, (n,).
        first, last: steps within the segment.
    """

    batches: Batches
    where: NDArray[np.intp]
    first: int
    last: int


@dataclass(eq=False)
class Track:
    """The segments of one member, and how far it is.

    Attributes:
        segments: in order.
        own: position in `Resident.own` of the first record of the (only) segment's; None where
            there is nothing of the member's own.
        number: index of the current segment.
        step: next step of the current segment.
        seconds: this member's share of the time spent in the current segment.
    """

    segments: Sequence[Segment]
    own: int | None = None
    number: int = 0
    step: int = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.step = self.segments[0].first

    @property
    def left(self) -> int:
        """Number of steps to go."""
        return sum(s.last - s.first for s in self.segments[self.number :]) - self.done

    @property
    def done(self) -> int:
        """Steps made in the current segment."""
        return self.step - self.segment.first

    @property
    def segment(self) -> Segment:
        """The current segment."""
        return self.segments[self.number]


def longest_first(tracks: Sequence[Track]) -> list[int]:
    """Return the order in which `run` needs tracks: by steps to go, most first."""
    return sorted(range(len(tracks)), key=lambda i: -tracks[i].left)


def evenly(things: Sequence[T], most: int) -> list[Sequence[T]]:
    """Cut a sequence into as few pieces of at most `most` as can be, as equal as can be."""
    count = ceil(len(things) / most)
    return [things[len(things) * n // count : len(things) * (n + 1) // count] for n in range(count)]


def run(
    learners: Learners,
    data: Resident,
    tracks: Sequence[Track],
    *,
    begin: Callable[[int, int], None] = lambda _member, _segment: None,
    end: Callable[[int, int], None] = lambda _member, _segment: None,
    after: Callable[[int], None] = lambda _active: None,
    burst: int = BURST,
) -> None:
    """Carry out all tracks.

    Args:
        learners: one per track.
        data: records of all tracks.
        tracks: sorted by `longest_first`.
        begin: called with (member, segment) before a segment's first step.
        end: called with (member, segment) after its last step.
        after: called with the number of active members after every burst.
        burst: most steps at once.
    """
    lengths = [track.left for track in tracks]
    if lengths != sorted(lengths, reverse=True):
        raise ValueError("tracks must be sorted by the steps that are left")
    for member, track in enumerate(tracks):
        begin(member, 0)
        _settle(member, track, begin, end)
    while active := sum(track.left > 0 for track in tracks):
        running = tracks[:active]
        count = min(burst, *(t.segment.last - t.step for t in running))
        started = time.perf_counter()
        learners.steps(data, *_batches(running, count))
        spent = time.perf_counter() - started
        for track in running:
            track.step += count
            track.seconds += spent / active
        after(active)
        for member, track in enumerate(running):
            _settle(member, track, begin, end)


def _settle(
    member: int,
    track: Track,
    begin: Callable[[int, int], None],
    end: Callable[[int, int], None],
) -> None:
    """Close segments that have no step left, and open the next."""
    while track.number < len(track.segments) and track.step == track.segment.last:
        end(member, track.number)
        if track.number + 1 == len(track.segments):
            return
        track.number += 1
        track.step, track.seconds = track.segment.first, 0.0
        begin(member, track.number)


def _batches(tracks: Sequence[Track], count: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return rows (T, m, B), counts (T, m) and own rows of the next T steps: `Learners.steps`."""
    size = tracks[0].segment.batches.batch_size
    rows = np.empty((count, len(tracks), size), np.int64)
    counts = np.empty((count, len(tracks)), np.int64)
    own = None if tracks[0].own is None else np.empty_like(rows)
    for member, track in enumerate(tracks):
        segment = track.segment
        places, counts[:, member] = segment.batches.block(track.step, track.step + count)
        rows[:, member] = segment.where[places]
        if own is not None and track.own is not None:
            own[:, member] = track.own + places
    further = None if own is None else torch.from_numpy(own)
    return torch.from_numpy(rows), torch.from_numpy(counts), further
