"""The order of what is told: events as the engine gives them, and behind them the answers to `finalize`."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from nemotron_asr.events import Event, Final, Segment, SpeechEnded


@dataclass(frozen=True, slots=True)
class RequestedFinal(Final):
    """A final that is the answer to `finalize`, and not to a pause; `Finalized` follows."""


@dataclass(frozen=True, slots=True)
class Finalized:
    """All that was said before a `finalize` has been told."""

    type: ClassVar[str] = "finalized"
    time: float  # audio fed before it was asked for
    segment: Segment | None  # what that ended; None: nothing was said since the last final

    def to_dict(self) -> dict[str, Any]:
        """The event as one JSON line."""
        return {"type": self.type, "time": self.time}


StreamEvent = Event | Finalized

Answer = asyncio.Future[Segment | None]


class Answers:
    """Puts events and answers in order.

    Args:
        duration: how much audio was fed so far, in seconds.
        answered: told how many seconds an answer took.

    Attributes:
        ready: what can be told now.
    """

    def __init__(self, duration: Callable[[], float], answered: Callable[[float], None]) -> None:
        self.ready: deque[StreamEvent] = deque()
        self._duration, self._answered = duration, answered
        self._arrived: deque[Event] = deque()
        self._asked: deque[tuple[float, float, Answer]] = deque()  # when, behind how much audio, and the answer

    @property
    def waiting(self) -> bool:
        """Whether a `finalize` is still to be answered."""
        return bool(self._asked)

    @property
    def unread(self) -> int:
        """How much is told, or still to be answered, and has not been read."""
        return len(self.ready) + len(self._asked)

    def ask(self, answer: Answer) -> None:
        """A `finalize` was asked for."""
        self._asked.append((time.monotonic(), self._duration(), answer))

    def sort(self, arrived: Iterable[Event], *, over: bool) -> None:
        """Take in events; say of every final whether it answers a finalize, and hold it back until that is known.

        Args:
            arrived: in their order.
            over: no more will come.
        """
        self._arrived += arrived
        while self._arrived:
            event = self._arrived[0]
            if not (isinstance(event, Final) and self._asked):
                self.ready.append(self._arrived.popleft())
            elif not self._tell(event):
                return
        while self._asked and self._asked[0][2].done() and (over or self._asked[0][2].result() is None):
            self._finalized(None)

    def _tell(self, final: Final) -> bool:
        """Tell the next event, a final, and what it answers; or not yet, if that is not known."""
        answers = [answer.result() for *_, answer in self._asked if answer.done()]
        place = next((i for i, segment in enumerate(answers) if segment is final.segment), None)
        if place is None and len(answers) < len(self._asked):
            return False
        self._arrived.popleft()
        if place is None and any(later.segment is answers[0] for later in self._arrived if isinstance(later, Final)):
            self.ready.append(final)  # nobody asked for it; what was asked for comes
        else:
            self._answer(final, place or 0)
        return True

    def _answer(self, final: Final, place: int) -> None:
        """This final was asked for; nothing was said before the finalizes up to that `place`.

        A final that came when nobody was left to be answered ended, by a pause or a tag, just what was asked for.
        """
        for _ in range(place):
            self._finalized(None)
        self.ready.append(RequestedFinal(final.time, final.segment))
        if self._arrived and isinstance(self._arrived[0], SpeechEnded):
            self.ready.append(self._arrived.popleft())
        self._finalized(final.segment)

    def _finalized(self, segment: Segment | None) -> None:
        asked, duration, _ = self._asked.popleft()
        self._answered(time.monotonic() - asked)
        self.ready.append(Finalized(duration, segment))
