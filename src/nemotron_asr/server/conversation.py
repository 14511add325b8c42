"""One stream as an adapter sees it: bytes in, events out; no frames, no chunks, no queues."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.decoding.boosting import Boost
from nemotron_asr.engine import Session
from nemotron_asr.engine.promise import Promise
from nemotron_asr.errors import NemotronError
from nemotron_asr.events import Event, Final
from nemotron_asr.languages import AUTO
from nemotron_asr.server.answers import Answers, Finalized, Heard, RequestedFinal
from nemotron_asr.server.checks import check_options
from nemotron_asr.server.hearing import Hearing
from nemotron_asr.server.pcm import Array
from nemotron_asr.server.problems import Kind, Problem, invalid, problem_of
from nemotron_asr.transcript import Transcript, collect

__all__ = ["CHANGES", "Bounds", "Conversation", "Finalized", "Heard", "RequestedFinal", "Watcher", "side_by_side"]

CHANGES = ("language", "languages", "latency_ms", "boost")
"""Options that can change in the course of a stream."""


@dataclass(frozen=True)
class Bounds:
    """How long a stream may be, in seconds.

    Attributes:
        audio: that may be fed.
        idle: without audio and without `keep_alive`.
        lasting: from beginning to end.
    """

    audio: float
    idle: float
    lasting: float


class Watcher(Protocol):
    """Who keeps count of a conversation."""

    def fed(self, seconds: float) -> None:
        """Audio came; raises a Problem if it is more than the key may have."""

    def answered(self, seconds: float) -> None:
        """A `finalize` was answered after so many seconds."""

    def told(self, event: Heard) -> None:
        """An event goes out."""

    def ended(self, problem: Problem | None) -> None:
        """The conversation is over."""


class Conversation:
    """Feed it, iterate over it, close it; an asynchronous context that leaves nothing behind.

    One coroutine feeds while another iterates. Iterating ends when all was said after `close`, and raises what went
    wrong. Every `finalize` is answered by one `Finalized`, in order, behind the events that it caused.

    Attributes:
        id: names the stream in logs and messages.
        language: that was asked for, or "auto".
    """

    def __init__(
        self, name: str, session: Session, hearing: Callable[..., Hearing],
        prepare: Callable[[Boost], Awaitable[None]], bounds: Bounds, watcher: Watcher, language: str,
    ) -> None:  # fmt: skip
        self.id, self.language = name, language
        self._session, self._bounds, self._watcher = session, bounds, watcher
        self._hearing = hearing(hear=self._hear, wanted=lambda: session.wanted, ended=session.close, failed=self.abort)
        self._prepare = prepare  # phrases, so that the session finds them compiled
        self._answers = Answers(lambda: self.duration, watcher.answered)
        self._coming: Promise[None] | None = None  # kept when there are more events
        self._loop, self._signal = asyncio.get_running_loop(), asyncio.Event()
        self._signal.set()
        self._over = self._closed = False
        self._problem: Problem | None = None
        self._began = self._last = time.monotonic()
        self._timer = self._loop.call_later(bounds.idle, self._check_time)

    @property
    def duration(self) -> float:
        """Seconds of audio fed so far."""
        return round(self._session.duration + self._hearing.held, 3)

    @property
    def detected(self) -> str | None:
        """The last language that the model named."""
        return self._session.detected

    async def feed(self, data: bytes) -> None:
        """Take bytes of the conversation's format, cut anywhere; waits while the engine is far behind.

        Raises:
            Problem: they are not usable, or too many.
        """
        self._last = time.monotonic()
        with self._failing():
            await self._hearing.feed(data)

    async def play(self, path: str) -> None:
        """Hear a file of any format to its end, and close; waits as `feed` does.

        Raises:
            Problem: it is not usable, or too long.
        """
        self._closed = True
        with self._failing():
            await self._hearing.play(path)

    def keep_alive(self) -> None:
        """The client is there, though it sends no audio."""
        self._last = time.monotonic()

    def finalize(self) -> None:
        """Ask for the words said so far at once; the stream goes on. `Finalized` is the answer.

        Raises:
            Problem: the stream has ended.
        """
        with self._failing():
            self._hear_rest()
            answer = asyncio.wrap_future(self._session.finalize())
        answer.add_done_callback(lambda _: self._signal.set())
        self._answers.ask(answer)

    async def change(self, **options: Any) -> None:
        """Change `CHANGES`, from the audio on that is fed next; waits while phrases are compiled.

        Raises:
            Problem: unknown option or value; the stream goes on.
        """
        if unknown := options.keys() - set(CHANGES):
            name = min(unknown)
            raise invalid(f"{name} cannot change in the course of a stream; choose {', '.join(CHANGES)}", name)
        check_options(options)
        with _translated():
            await self._prepare(options.get("boost", ()))
            self._hear_rest()
            if options.keys() & {"language", "languages"}:
                language = options.get("language", AUTO)
                self._session.set_language(language, options.get("languages", ()))
                self.language = language
            if "latency_ms" in options:
                self._session.set_latency(options["latency_ms"])
            if "boost" in options:
                self._session.set_boost(options["boost"])

    async def close(self) -> None:
        """No more audio; the remaining events come, then the iteration ends.

        Raises:
            Problem: what was fed was not usable.
        """
        if not self._closed:
            self._closed = True
            with self._failing():
                await self._hearing.close()

    def abort(self, error: NemotronError) -> None:
        """End at once; iterating raises the error."""
        self._session.abort(problem_of(error))

    @asynccontextmanager
    async def beside(self, feeding: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Have a coroutine feed while the context iterates; what goes wrong in it ends the iteration, too."""
        task = asyncio.create_task(self._guard(feeding))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def transcript(self) -> Transcript:
        """Wait for the end and return all that was said; for clients that want no events.

        Raises:
            Problem: what went wrong.
        """
        finals = [event async for event in self if isinstance(event, Final)]
        return collect(finals, self.duration, self.detected, self.language)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Heard:
        with self._failing():
            while not self._answers.ready:
                if self._over and not self._answers.waiting:
                    raise StopAsyncIteration
                await self._more()
        event = self._answers.ready.popleft()
        self._watcher.told(event)
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if not self._over:
            self._session.abort()
        if isinstance(error, Problem):
            self._problem = error
        self._watcher.ended(self._problem)
        await self._hearing.release()

    async def _guard(self, feeding: Coroutine[Any, Any, None]) -> None:
        finished = False
        try:
            await feeding
            finished = True
        except NemotronError as error:
            finished = True
            self.abort(error)
        finally:
            if not finished:
                self.abort(Problem(Kind.INTERNAL, "taking in the audio broke off"))

    async def _hear(self, samples: Array) -> None:
        self._last = time.monotonic()
        if len(samples) and not (room := self._take(samples)).done():
            await room

    def _hear_rest(self) -> None:
        """Hear what is held back: what comes next belongs behind it."""
        if (samples := self._hearing.rest()) is not None:
            self._take(samples)

    def _take(self, samples: Array) -> Promise[None]:
        """Hand samples over; a promise of room for more."""
        room = self._session.feed(samples)
        self._watcher.fed(len(samples) / SAMPLE_RATE)
        if self.duration > self._bounds.audio:
            raise Problem(Kind.TOO_LARGE, f"the audio lasts longer than {self._bounds.audio:g} s, which is the limit")
        return room

    async def _more(self) -> None:
        """Wait for events, or for the answer to a finalize, and put them in order."""
        await self._signal.wait()
        self._signal.clear()
        self._answers.sort(list(self._arrived()), over=self._over)

    def _arrived(self) -> Iterator[Event]:
        """The events that are there; more of them set the signal."""
        while not self._over and (self._coming is None or self._coming.done()):
            event = self._session.poll()
            if isinstance(event, Promise):
                self._coming = event
                event.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._signal.set))
            elif event is None:
                self._over = True
            else:
                yield event

    def _check_time(self) -> None:
        """End a stream that is silent or has lasted too long; look again when it may be."""
        now, bounds = time.monotonic(), self._bounds
        if now - self._began >= bounds.lasting:
            self.abort(Problem(Kind.TIMEOUT, f"the stream has lasted {bounds.lasting:g} s, which is the limit"))
        elif not self._closed and now - self._last >= bounds.idle:
            self.abort(Problem(Kind.TIMEOUT, f"no audio came for {bounds.idle:g} s, which is the limit"))
        else:
            next_look = bounds.idle if self._closed else self._last + bounds.idle - now
            wait = max(0.01, min(next_look, self._began + bounds.lasting - now))
            self._timer = self._loop.call_later(wait, self._check_time)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Whatever goes wrong in here ends the stream, as a problem."""
        try:
            yield
        except NemotronError as error:
            self._problem = problem = problem_of(error)
            self.abort(problem)
            if problem is error:
                raise
            raise problem from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except NemotronError as error:
        raise problem_of(error) from error


async def side_by_side(listening: Coroutine[Any, Any, None], telling: Coroutine[Any, Any, None]) -> None:
    """Take in what the client sends while telling it what was heard; over when all is told or either fails.

    Args:
        listening: from the client into the conversation.
        telling: from the conversation to the client.
    """
    tasks = [asyncio.ensure_future(listening), asyncio.ensure_future(telling)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done() and not tasks[0].exception():
            await asyncio.wait(tasks)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
