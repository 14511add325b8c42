"""Which streams step together next. Pure policy: no clock, no tensors, no threads.

Earliest deadline first. The most urgent stream takes along others of its lane (the same chunk size), the most urgent
first, in the shape that moves most audio, but not in a step so long that a stream of another lane which becomes ready
meanwhile would be late. A recording has no deadline: it goes when no live stream can, the one that has come least far
first.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from nemotron_asr.engine.cost import StepCost, patience
from nemotron_asr.engine.stream import STEP_FRAMES

T = TypeVar("T")

NEVER = math.inf
"""The deadline of a recording."""

MARGIN = 2.0
"""How much longer than expected a step may take that was put off: another process may have one of two cores."""

MOST_ROWS = 64
"""Streams in one step at most: on a CPU more makes nothing faster."""


@dataclass(frozen=True)
class Ready(Generic[T]):
    """A stream that can go on.

    Attributes:
        stream: whatever the caller knows it by.
        chunk: lookahead + 1, in encoder frames.
        chunks: how many can be done now.
        deadline: seconds on the caller's clock; `NEVER` for a recording.
        progress: encoder frames done.
        flush: its step must not be mixed with longer ones: it takes exactly `chunks`.
    """

    stream: T
    chunk: int
    chunks: int
    deadline: float = NEVER
    progress: int = 0
    flush: bool = False


@dataclass(frozen=True)
class Batch(Generic[T]):
    """The streams of the next step, which all advance by `frames`."""

    chunk: int
    frames: int
    streams: tuple[T, ...]


def choose(
    ready: Sequence[Ready[T]], live_chunks: Collection[int], cost: StepCost, most: int = MOST_ROWS
) -> Batch[T] | None:
    """The next step.

    Args:
        ready: streams that can go on, in the order in which equals are served.
        live_chunks: chunk sizes of all live streams that are open, ready or not.
        cost: what a step takes.
        most: streams in one step.

    Returns:
        Nothing when no stream is ready.
    """
    if not ready:
        return None
    urgent, *others = sorted(ready, key=_urgency)
    lane = [one for one in others if one.chunk == urgent.chunk]
    limit = patience(chunk for chunk in live_chunks if urgent.deadline == NEVER or chunk != urgent.chunk)
    chunks = urgent.chunks if urgent.flush else _chunks(urgent, lane, limit, cost, most)
    frames = urgent.chunk * chunks
    rows = max(1, min(most, cost.rows_within(limit, frames)))
    joining = [urgent, *(one for one in lane if _fits(one, chunks))][:rows]
    return Batch(urgent.chunk, frames, tuple(one.stream for one in joining))


def spare_time(due: float, rows: int, expected: int, frames: int, cost: StepCost, now: float) -> float:
    """Seconds by which a step of live streams may be put off so that more of its lane can join.

    A step reads all weights, however few streams it serves. It starts at once when everybody is there, and otherwise
    early enough to be in time with all of them, with a margin for what else the machine does.

    Args:
        due: the earliest deadline.
        rows: streams that are ready.
        expected: streams of this lane that are speaking.
        frames: of each.
        cost: what a step takes.
        now: on the clock of the deadline.
    """
    if rows >= expected:
        return 0.0
    return max(0.0, due - now - MARGIN * cost.seconds(frames * expected))


def _urgency(one: Ready[T]) -> tuple[float, int]:
    return one.deadline, one.progress


def _chunks(urgent: Ready[T], lane: Sequence[Ready[T]], limit: float, cost: StepCost, rows: int) -> int:
    """The number of chunks that moves most audio in one step; a power of two or the most, so that shapes are few."""
    most = STEP_FRAMES // urgent.chunk
    choices = [most] if urgent.chunks >= most else []
    choices += [1 << i for i in range(min(urgent.chunks, most).bit_length())]
    short = [chunks for chunks in choices if chunks == 1 or cost.seconds(urgent.chunk * chunks) <= limit]
    return max(short, key=lambda chunks: (chunks * min(rows, 1 + sum(_fits(one, chunks) for one in lane)), -chunks))


def _fits(one: Ready[T], chunks: int) -> bool:
    return one.chunks == chunks if one.flush else one.chunks >= chunks
