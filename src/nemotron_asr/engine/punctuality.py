"""Whether a machine is behind with its live streams. Pure arithmetic on the moments at which chunks were late."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

TOLERATED = 0.001
"""Share of chunks that may be late."""

FEW = 5
"""Late chunks that mean nothing, whatever their share: a hiccup, or many streams that began at once."""

REMEMBERED = 30
"""Seconds over which chunks are counted."""

SHORTEST, LONGEST = 1.0, 30.0
"""Seconds without a late chunk after which a machine is not behind any more, the first time and at most."""


@dataclass
class _Second:
    at: int
    chunks: int = 0
    late: int = 0


class Punctuality:
    """Judges whether chunks come too late too often.

    A machine that had a hiccup is soon in time again. One that has too much to do is late again as soon as somebody
    else is let in: it has to be in time for twice as long each time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """Everybody has left."""
        self._seconds: deque[_Second] = deque()
        self._behind, self._pause = False, SHORTEST
        self._last_late = self._recovered = -math.inf

    @property
    def behind(self) -> bool:
        """Whether the machine has too much to do; forgotten where chunks that could be in time do not come at all."""
        return self._behind and self._clock() - self._last_late < LONGEST

    def served(self, *, late: bool) -> None:
        """A chunk was done."""
        now = self._clock()
        if self._behind and now - self._last_late >= self._pause:
            self._behind, self._recovered = False, now
            self._seconds.clear()
        self._count(int(now), late)
        if late:
            self._last_late = now
            if not self._behind and self._too_many():
                again = now - self._recovered < REMEMBERED
                self._behind, self._pause = True, min(LONGEST, 2 * self._pause) if again else SHORTEST

    def _count(self, second: int, late: bool) -> None:
        if not self._seconds or self._seconds[-1].at != second:
            self._seconds.append(_Second(second))
            while self._seconds[0].at <= second - REMEMBERED:
                self._seconds.popleft()
        self._seconds[-1].chunks += 1
        self._seconds[-1].late += late

    def _too_many(self) -> bool:
        late = sum(second.late for second in self._seconds)
        return late > max(FEW, TOLERATED * sum(second.chunks for second in self._seconds))
