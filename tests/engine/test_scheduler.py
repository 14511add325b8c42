"""The policy under a fake clock: no model, no threads."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron_asr.engine.cost import StepCost
from nemotron_asr.engine.scheduler import MARGIN, NEVER, Batch, Ready, choose, spare_time


def costing(fixed: float, per_frame: float) -> StepCost:
    """A machine whose steps take `fixed + per_frame * frames` seconds."""
    cost = StepCost()
    for frames in (1, 8, 14, 112):
        cost.add(frames, fixed + per_frame * frames)
    return cost


FREE = StepCost()


def test_nobody_ready_nothing_to_do() -> None:
    assert choose([], (), FREE) is None


def test_the_earliest_deadline_goes_first_and_takes_its_lane_along() -> None:
    ready = [Ready("a", 4, 1, 9.0), Ready("b", 1, 1, 3.0), Ready("c", 1, 1, 7.0), Ready("d", 4, 1, 2.5)]
    assert choose(ready, (), FREE) == Batch(4, 4, ("d", "a"))
    assert choose(ready[:3], (), FREE) == Batch(1, 1, ("b", "c"))


def test_live_streams_go_before_recordings() -> None:
    ready = [Ready("file", 14, 8, NEVER), Ready("live", 1, 1, 1e9)]
    assert choose(ready, (1,), FREE) == Batch(1, 1, ("live",))


def test_a_backlog_is_worked_off_in_powers_of_two() -> None:
    assert choose([Ready("a", 2, 13, 1.0), Ready("b", 2, 1, 2.0)], (), FREE) == Batch(2, 16, ("a",))
    ready = [Ready("a", 2, 2, 1.0), *(Ready(name, 2, 1, 2.0) for name in "bcd")]
    assert choose(ready, (), FREE) == Batch(2, 2, ("a", "b", "c", "d"))


def test_recordings_step_shortly_while_live_streams_are_open() -> None:
    cost = costing(0.010, 0.001)
    recordings = [Ready(name, 14, 8) for name in "abcdefgh"]
    alone = choose(recordings, (), cost)
    assert alone is not None
    assert (alone.frames, len(alone.streams)) == (112, 8)
    beside = choose(recordings, (1, 14), cost)
    assert beside is not None
    assert cost.seconds(beside.frames * len(beside.streams)) <= 0.032
    assert choose(recordings, (1,), costing(0.030, 0.01)) == Batch(14, 14, ("a",))  # one chunk of one at least


def test_recordings_take_turns() -> None:
    ready = [Ready("far", 14, 8, progress=1120), Ready("near", 14, 4, progress=112)]
    assert choose(ready, (), FREE) == Batch(14, 56, ("near", "far"))


def test_a_slow_lane_does_not_make_a_fast_one_late() -> None:
    cost = costing(0.005, 0.0005)
    slow = [Ready(i, 14, 1, 1.0 + i) for i in range(40)]
    batch = choose(slow, (1, 14), cost)
    assert batch is not None
    assert batch.streams == (0, 1)
    alone = choose(slow, (14,), cost)
    assert alone is not None
    assert len(alone.streams) == 40


def test_a_flush_is_never_stretched() -> None:
    ready = [Ready("flush", 1, 2, 1.0, flush=True), Ready("a", 1, 5, 2.0), Ready("b", 1, 1, 2.0)]
    assert choose(ready, (), FREE) == Batch(1, 2, ("flush", "a"))
    ready = [Ready("a", 1, 5, 1.0), Ready("flush", 1, 2, 2.0, flush=True), Ready("b", 1, 4, 3.0)]
    assert choose(ready, (), FREE) == Batch(1, 4, ("a", "b"))


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 4, 7, 14]), st.integers(1, 200), st.floats(0, 10) | st.just(NEVER)),
        min_size=1,
        max_size=100,
    ),
    st.lists(st.sampled_from([1, 2, 4, 7, 14])),
)
def test_every_batch_is_possible(streams: list[tuple[int, int, float]], live: list[int]) -> None:
    ready = [Ready(i, *stream) for i, stream in enumerate(streams)]
    batch = choose(ready, live, costing(0.02, 0.002))
    assert batch is not None
    assert batch.streams[0] in {i for i, one in enumerate(ready) if one.deadline == min(r.deadline for r in ready)}
    assert len(set(batch.streams)) == len(batch.streams) <= 64
    for i in batch.streams:
        assert ready[i].chunk == batch.chunk
        assert ready[i].chunks * batch.chunk >= batch.frames
    assert batch.frames % batch.chunk == 0
    assert batch.frames <= 112


def test_a_step_waits_for_others_as_long_as_it_is_in_time() -> None:
    cost = costing(0.010, 0.001)
    assert spare_time(due=1.08, rows=4, expected=4, frames=1, cost=cost, now=1.0) == 0
    spare = spare_time(due=1.08, rows=1, expected=4, frames=1, cost=cost, now=1.0)
    assert spare == pytest.approx(0.08 - MARGIN * 0.014)
    assert spare_time(due=1.08, rows=1, expected=4, frames=1, cost=cost, now=1.0 + spare) == pytest.approx(0)
    assert spare_time(due=1.08, rows=1, expected=100, frames=1, cost=cost, now=1.0) == 0


@dataclass
class Speaker:
    """A stream whose chunks come in real time."""

    chunk: int
    start: float
    done: int = 0

    def due(self) -> float:
        return self.start + (self.done + 2) * self.chunk * 0.08

    def ready(self, now: float) -> int:
        return int((now - self.start) / (self.chunk * 0.08)) - self.done


@pytest.mark.parametrize("seed", range(4))
def test_a_simulated_minute_has_no_late_chunk(seed: int) -> None:
    """As many streams as the capacity allows, at random offsets and latencies, beside an endless recording."""
    from nemotron_asr.engine.cost import Capacity

    draw, cost = random.Random(seed), costing(0.012, 0.0011)
    capacity, lanes = Capacity(cost), dict[int, int]()
    while capacity.sustains(more := {**lanes, (chunk := draw.choice([1, 4, 14])): lanes.get(chunk, 0) + 1}):
        lanes = more
    speakers = [Speaker(chunk, 1 + draw.random()) for chunk, n in lanes.items() for _ in range(n)]
    assert len(speakers) > 4
    now, late, chunks, recorded = 1.0, 0, 0, 0
    while now < 60:
        ready: list[Ready[Speaker | None]] = [Ready(None, 14, 8)]
        ready += [Ready(s, s.chunk, n, s.due()) for s in speakers if (n := s.ready(now)) > 0]
        batch = choose(ready, set(lanes), cost)
        assert batch is not None
        now += cost.seconds(batch.frames * len(batch.streams))
        for speaker in batch.streams:
            if speaker is None:
                recorded += batch.frames
            else:
                late += now > speaker.due()
                speaker.done += batch.frames // batch.chunk
                chunks += 1
    assert chunks > 500
    assert late / chunks < 0.001
    assert recorded > 100
