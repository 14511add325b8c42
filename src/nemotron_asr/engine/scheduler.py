"""Which streams step together next. Pure policy: no clock, no tensors, no threads.

Earliest deadline first. The most urgent stream decides the shape of the step, and all others of its lane (the same
chunk size) that fill this shape join it, the most urgent first. A recording has no deadline: it goes when no live
stream can, the one that has come least far first, and then in steps short enough that a live stream which becomes
ready meanwhile is still in time.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from nemotron_asr.config import FRAME_SECONDS
from nemotron_asr.engine.cost import StepCost
from nemotron_asr.engine.stream import STEP_FRAMES

T = TypeVar("T")

NEVER = math.inf
"""The deadline of a recording."""

PATIENCE = 0.5
"""Share of a live chunk's duration that a step of others may take."""

MOST_ROWS = 64
"""Streams in one step at most: more makes nothing faster."""


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


def choose(ready: Sequence[Ready[T]], live_chunks: Collection[int], cost: StepCost) -> Batch[T] | None:
    """The next step.

    Args:
        ready: streams that can go on, in the order in which equals are served.
        live_chunks: chunk sizes of all live streams that are open, ready or not.
        cost: what a step takes.

    Returns:
        Nothing when no stream is ready.
    """
    if not ready:
        return None
    urgent = min(ready, key=_urgency)
    limit = _longest_step(urgent, live_chunks)
    chunks = _chunks(urgent, limit, cost)
    frames = urgent.chunk * chunks
    joining = [one for one in ready if one.chunk == urgent.chunk and _fits(one, chunks) and one is not urgent]
    joining.sort(key=_urgency)
    rows = max(1, min(MOST_ROWS, cost.rows_within(limit, frames)))
    return Batch(urgent.chunk, frames, tuple(one.stream for one in [urgent, *joining][:rows]))


def _urgency(one: Ready[T]) -> tuple[float, int]:
    return one.deadline, one.progress


def _longest_step(urgent: Ready[T], live_chunks: Collection[int]) -> float:
    """Seconds that this step may take without making others late: its own lane is in it."""
    others = [chunk for chunk in live_chunks if urgent.deadline == NEVER or chunk != urgent.chunk]
    return PATIENCE * FRAME_SECONDS * min(others, default=math.inf)


def _chunks(urgent: Ready[T], limit: float, cost: StepCost) -> int:
    """A power of two of chunks, or as many as a step has at most, so that shapes are few."""
    most = STEP_FRAMES // urgent.chunk
    if urgent.flush:
        return urgent.chunks
    chunks = most if urgent.chunks >= most else 1 << (urgent.chunks.bit_length() - 1)
    while chunks > 1 and cost.seconds(urgent.chunk * chunks) > limit:
        chunks = 1 << ((chunks - 1).bit_length() - 1)
    return chunks


def _fits(one: Ready[T], chunks: int) -> bool:
    return one.chunks == chunks if one.flush else one.chunks >= chunks
