"""Who may come in: a clear refusal rather than everybody late."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable
from threading import RLock

from nemotron_asr.config import FRAME_MS
from nemotron_asr.engine.cost import Capacity
from nemotron_asr.engine.punctuality import Punctuality
from nemotron_asr.errors import AtCapacity

DELAYS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds by which chunks are sorted."""


class Admission:
    """Counts live streams by chunk size, and watches whether they are served in time.

    Attributes:
        chunks, late: chunks of live streams that were decoded, and how many of them finished more than a chunk after
            their audio had come.
        delay, delays: seconds from the audio of a chunk to its words, summed; and chunks by `DELAYS`, the last ones
            beyond them.
    """

    def __init__(
        self, capacity: Capacity, max_streams: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity, self._max_streams = capacity, max_streams
        self._punctuality = Punctuality(clock)
        self._chunk_of: dict[Hashable, int] = {}
        self._lock = RLock()  # the garbage collector may drop a session under it
        self.chunks = self.late = 0
        self.delay, self.delays = 0.0, [0] * (len(DELAYS) + 1)

    def lanes(self) -> Counter[int]:
        """Open live streams per chunk size."""
        with self._lock:
            return Counter(self._chunk_of.values())

    def enter(self, who: Hashable, chunk: int) -> None:
        """Let a live stream in.

        Raises:
            AtCapacity: the machine would not sustain it.
        """
        with self._lock:
            others = self.lanes()
            if self._max_streams is not None and len(self._chunk_of) >= self._max_streams:
                raise AtCapacity(f"{len(self._chunk_of)} streams are open, and max_streams is {self._max_streams}")
            self._check(chunk, others)
            self._chunk_of[who] = chunk

    def move(self, who: Hashable, chunk: int) -> None:
        """Let a stream change its chunk size.

        Raises:
            AtCapacity: the machine would not sustain that.
        """
        with self._lock:
            if who not in self._chunk_of or self._chunk_of[who] == chunk:
                return
            others = self.lanes()
            others[self._chunk_of[who]] -= 1
            self._check(chunk, others)
            self._chunk_of[who] = chunk

    def free(self, who: Hashable) -> None:
        """A stream will be ended: others may have its place now. Any thread may say so."""
        with self._lock:
            self._chunk_of.pop(who, None)

    def leave(self, who: Hashable) -> None:
        """A stream has ended; the thread says so that says who was `served`."""
        with self._lock:
            self._chunk_of.pop(who, None)
            if not self._chunk_of:
                self._punctuality.forget()

    def served(self, delay: float, *, late: bool) -> None:
        """A chunk of a live stream was decoded, so many seconds after its audio had come."""
        self._punctuality.served(late=late)
        self.chunks += 1
        self.late += late
        self.delay += delay
        self.delays[bisect_left(DELAYS, delay)] += 1

    def limit(self, chunk: int) -> int:
        """How many live streams of this chunk size can be open, beside those of other sizes."""
        others = self.lanes()
        del others[chunk]
        if self._max_streams is not None:
            return max(0, self._max_streams - others.total())
        return self._capacity.limit(chunk, others)

    def _check(self, chunk: int, others: Counter[int]) -> None:
        if self._max_streams is not None:
            return
        milliseconds = FRAME_MS * chunk
        lanes = others + Counter([chunk])
        if not self._capacity.sustains(lanes):
            del others[chunk]
            most = self._capacity.limit(chunk, others)
            if not most + others.total():
                raise AtCapacity(f"this machine sustains no stream at {milliseconds} ms, or is busy; try again")
            beside = f" beside {others.total()} at other latencies" if others.total() else ""
            raise AtCapacity(f"this machine sustains {most} streams at {milliseconds} ms{beside}, and they are open")
        if self._punctuality.behind:
            raise AtCapacity(f"{others.total()} streams are open, and the machine is late with them already")
