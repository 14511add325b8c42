"""How long a stream may be, and what ends one that goes beyond."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from nemotron_asr.server.problems import Kind, Problem


@dataclass(frozen=True)
class Bounds:
    """How long a stream may be, in seconds.

    Attributes:
        audio: that may be fed.
        idle: without audio and without a sign of life.
        lasting: from beginning to end.
    """

    audio: float
    idle: float
    lasting: float

    def check(self, audio: float) -> None:
        """Look whether so many seconds of audio may be fed.

        Raises:
            Problem: they may not.
        """
        if audio > self.audio:
            raise Problem(Kind.TOO_LARGE, f"the audio lasts longer than {self.audio:g} s, which is the limit")


class Clock:
    """Ends a stream that lasts too long, or whose client is silent for too long.

    Args:
        bounds: of the stream.
        end: called with the problem.
    """

    def __init__(self, bounds: Bounds, end: Callable[[Problem], None]) -> None:
        self._bounds, self._end = bounds, end
        self._expecting = True
        self._began = self._last = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(bounds.idle, self._look)

    def touch(self) -> None:
        """The client is there."""
        self._last = time.monotonic()

    def expect_nothing(self) -> None:
        """The client has said all: it may be silent."""
        self._expecting = False

    def stop(self) -> None:
        """The stream has ended."""
        self._timer.cancel()

    def _look(self) -> None:
        """End the stream, or look again when that may be due."""
        now, bounds = time.monotonic(), self._bounds
        if now - self._began >= bounds.lasting:
            self._end(Problem(Kind.TIMEOUT, f"the stream has lasted {bounds.lasting:g} s, which is the limit"))
        elif self._expecting and now - self._last >= bounds.idle:
            self._end(Problem(Kind.TIMEOUT, f"no audio came for {bounds.idle:g} s, which is the limit"))
        else:
            next_look = self._last + bounds.idle - now if self._expecting else bounds.idle
            wait = max(0.01, min(next_look, self._began + bounds.lasting - now))
            self._timer = self._loop.call_later(wait, self._look)
