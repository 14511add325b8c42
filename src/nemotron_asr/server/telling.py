"""What is told of a stream: the engine's events and the answers to `finalize`, as they come."""

import asyncio
from collections.abc import Callable, Iterator

from nemotron_asr.engine import Session
from nemotron_asr.engine.promise import Promise
from nemotron_asr.events import Event
from nemotron_asr.server.answers import Answers, StreamEvent

UNREAD = 1000
"""Answers to `finalize` that may be asked for before the first of them is read."""


class Telling:
    """Waits for a session's events and puts them in order.

    Args:
        session: of the engine.
        duration: how much audio was fed so far, in seconds.
        answered: told how many seconds the answer to a `finalize` took.

    Attributes:
        over: the session has no more events.
    """

    def __init__(self, session: Session, duration: Callable[[], float], answered: Callable[[float], None]) -> None:
        self._session, self._answers = session, Answers(duration, answered)
        self._coming: Promise[None] | None = None  # kept when there are more events
        self._loop, self._signal, self._read = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self._signal.set()
        self.over = False

    async def finalize(self) -> None:
        """Ask for the words said so far; `Finalized` will be told. Waits while too many answers are not read.

        Raises:
            NemotronError: the session has ended.
        """
        answer = asyncio.wrap_future(self._session.finalize())
        answer.add_done_callback(lambda _: self._signal.set())
        self._answers.ask(answer)
        while self._answers.unread > UNREAD:
            self._read.clear()
            await self._read.wait()

    async def next(self) -> StreamEvent | None:
        """What is to be told next; nothing at the end.

        Raises:
            NemotronError: what ended the session.
        """
        while not self._answers.ready:
            if self.over and not self._answers.waiting:
                return None
            await self._signal.wait()
            self._signal.clear()
            self._answers.sort(list(self._arrived()), over=self.over)
        self._read.set()
        return self._answers.ready.popleft()

    def _arrived(self) -> Iterator[Event]:
        """The events that are there; more of them set the signal."""
        while not self.over and (self._coming is None or self._coming.done()):
            event = self._session.poll()
            if isinstance(event, Promise):
                self._coming = event
                event.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._signal.set))
            elif event is None:
                self.over = True
            else:
                yield event
