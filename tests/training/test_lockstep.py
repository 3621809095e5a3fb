"""Plans of several members carried out together: every step once, in order, with its records."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetflow.training.lockstep import Segment, Track, longest_first, run
from forgetflow.training.schedule import Batches

BATCH = 3


class Recorder:
    """Learners that write down what they are told to learn."""

    def __init__(self, members):
        self.seen = [[] for _ in range(members)]
        self.calls = []

    def steps(self, data, rows, counts, own):
        assert data == "data"
        assert own is None
        assert rows.shape == (*counts.shape, BATCH)
        self.calls.append(tuple(counts.shape))
        for member in range(rows.shape[1]):
            for batch, size in zip(rows[:, member], counts[:, member], strict=True):
                assert 1 <= size <= BATCH
                self.seen[member].append(batch[:size].tolist())


def track_of(member, *segments):
    """Return a track of segments (records, first, last); a member's records are its own."""
    made = []
    for number, (records, first, last) in enumerate(segments):
        digests = np.zeros((records, 32), np.uint8)
        digests[:, 0] = np.arange(records)
        where = 100 * member + np.arange(records)
        made.append(Segment(Batches(digests, BATCH, 0, (member, number)), where, first, last))
    return Track(made)


def alone(track):
    """Return the batches that a member has to see, one after another."""
    return [
        segment.where[batch].tolist()
        for segment in track.segments
        for batch in segment.batches.iterate(segment.first, segment.last)
    ]


def carried_out(tracks, burst=4):
    """Run tracks, longest first; return them with what was seen and what was told."""
    tracks = [tracks[i] for i in longest_first(tracks)]
    recorder, told = Recorder(len(tracks)), []
    run(
        recorder,
        "data",
        tracks,
        begin=lambda member, number: told.append(("begin", member, number)),
        end=lambda member, number: told.append(("end", member, number)),
        after=lambda active: told.append(("after", active, [t.step for t in tracks[:active]])),
        burst=burst,
    )
    return tracks, recorder, told


some_segments = st.lists(
    st.tuples(st.integers(1, 8), st.integers(0, 3), st.integers(0, 9)).map(
        lambda s: (s[0], s[1], s[1] + s[2])
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(some_segments, min_size=1, max_size=5), st.integers(1, 7))
def test_every_member_sees_what_it_would_see_alone(plans, burst):
    tracks = [track_of(member, *plan) for member, plan in enumerate(plans)]
    tracks, recorder, told = carried_out(tracks, burst)
    assert recorder.seen == [alone(track) for track in tracks]
    assert all(steps <= burst for steps, _ in recorder.calls)
    assert all(track.left == 0 for track in tracks)
    for member, track in enumerate(tracks):
        own = [(name, number) for name, who, number in told if name != "after" and who == member]
        expected = [(name, n) for n in range(len(track.segments)) for name in ("begin", "end")]
        assert own == expected, "each segment is opened and closed once, in order"
    assert [active for name, active, _ in told if name == "after"] == [m for _, m in recorder.calls]


def test_segments_of_unequal_length_end_when_they_end():
    long, short = track_of(0, (5, 0, 3), (7, 0, 4)), track_of(1, (4, 0, 2), (6, 0, 1))
    _, recorder, told = carried_out([long, short], burst=64)
    assert told == [
        ("begin", 0, 0),
        ("begin", 1, 0),
        ("after", 2, [2, 2]),
        ("end", 1, 0),
        ("begin", 1, 1),
        ("after", 2, [3, 1]),
        ("end", 0, 0),
        ("begin", 0, 1),
        ("end", 1, 1),
        ("after", 1, [4]),
        ("end", 0, 1),
    ]
    assert recorder.calls == [(2, 2), (1, 2), (4, 1)]


def test_segments_without_steps_are_opened_and_closed():
    """Also those of nobody: an empty slice has its state, too."""
    empty = track_of(0, (0, 0, 0), (0, 0, 0))
    between = track_of(1, (0, 0, 0), (5, 0, 2), (5, 0, 0), (5, 0, 1), (5, 0, 0))
    tracks, recorder, told = carried_out([empty, between])
    assert tracks == [between, empty]
    assert told[:6] == [
        ("begin", 0, 0),
        ("end", 0, 0),
        ("begin", 0, 1),
        ("begin", 1, 0),
        ("end", 1, 0),
        ("begin", 1, 1),
    ]
    assert told[-5:] == [
        ("begin", 0, 3),
        ("after", 1, [1]),
        ("end", 0, 3),
        ("begin", 0, 4),
        ("end", 0, 4),
    ]
    assert recorder.seen == [alone(between), []]


def test_a_member_may_start_in_the_middle():
    resumed = track_of(0, (8, 4, 9), (8, 0, 2))
    assert (resumed.left, resumed.done) == (7, 0)
    _, recorder, _ = carried_out([resumed])
    whole = track_of(0, (8, 0, 9), (8, 0, 2))
    assert recorder.seen[0] == alone(whole)[4:]


def test_tracks_must_be_sorted():
    tracks = [track_of(0, (4, 0, 2)), track_of(1, (4, 0, 3))]
    with pytest.raises(ValueError, match="sorted"):
        run(Recorder(2), "data", tracks)
    assert longest_first(tracks) == [1, 0]
    assert longest_first([track_of(0, (4, 0, 2)), track_of(1, (4, 3, 5)), *tracks]) == [3, 0, 1, 2]


def test_time_is_shared_by_those_who_were_active(monkeypatch):
    """A clock that stands still except while learners learn: a second per step."""
    now = [0.0]
    monkeypatch.setattr("forgetflow.training.lockstep.time.perf_counter", lambda: now[0])

    class Slow(Recorder):
        def steps(self, data, rows, counts, own):
            now[0] += len(rows)

    tracks = [track_of(0, (4, 0, 6)), track_of(1, (4, 0, 2))]
    run(Slow(2), "data", tracks)
    assert [track.seconds for track in tracks] == [1 + 4, 1]
