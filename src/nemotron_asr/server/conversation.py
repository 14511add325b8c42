"""One stream as an adapter sees it: bytes in, events out; no frames, no chunks, no queues."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self

from nemotron_asr.audio.pcm import Array
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.engine import Session
from nemotron_asr.engine.promise import Promise
from nemotron_asr.errors import NemotronError
from nemotron_asr.events import Final
from nemotron_asr.languages import AUTO
from nemotron_asr.server.answers import Finalized, RequestedFinal, StreamEvent
from nemotron_asr.server.audio_input import AudioInput
from nemotron_asr.server.bounds import Bounds, Clock
from nemotron_asr.server.problems import Kind, Problem, invalid, problem_of, translated
from nemotron_asr.server.telling import Telling
from nemotron_asr.server.watch import Watch
from nemotron_asr.transcript import Transcript, collect

__all__ = ["CHANGES", "Conversation", "Finalized", "Prepare", "RequestedFinal", "StreamEvent"]

Prepare = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Options from outside -> as the engine takes them."""

CHANGES = ("language", "languages", "latency_ms", "boost")
"""Options that can change in the course of a stream."""


class Conversation:
    """Feed it, iterate over it, close it; an asynchronous context that leaves nothing behind.

    One coroutine feeds while another iterates. Iterating ends when all was said after `close`, and raises what went
    wrong. Every `finalize` is answered by one `Finalized`, in order, behind the events that it caused.

    Attributes:
        id: names the stream in logs and messages.
        language: that was asked for, or "auto".
        recording: nobody waits for single words.
        ended: by the server, whatever the client has still to say.
    """

    def __init__(
        self, name: str, session: Session, make_input: Callable[..., AudioInput],
        prepare: Prepare, bounds: Bounds, watch: Watch, language: str, *, recording: bool,
    ) -> None:  # fmt: skip
        self.id, self.language, self.recording = name, language, recording
        self._session, self._bounds, self._watch = session, bounds, watch
        self._input = make_input(hear=self._hear, wanted=lambda: session.wanted, ended=session.close, failed=self.abort)
        self._prepare = prepare
        self._telling = Telling(session, lambda: self.duration, watch.answered)
        self._clock = Clock(bounds, self.abort)
        self.ended = self._closed = False
        self._heeding = asyncio.Lock()  # the client: only when what it asked for is done is the stream ended
        self._problem: Problem | None = None

    @property
    def duration(self) -> float:
        """Seconds of audio fed so far."""
        return round(self._session.duration + self._input.held, 3)

    async def feed(self, data: bytes) -> None:
        """Take bytes of the conversation's format, cut anywhere; waits while the engine is far behind.

        Raises:
            Problem: they are not usable, or too many.
        """
        self._clock.touch()
        async with self._heeding:
            if not self.ended:
                with self._failing():
                    await self._input.feed(data)

    async def play(self, path: str) -> None:
        """Hear a file of any format to its end, and close; waits as `feed` does.

        Raises:
            Problem: it is not usable, or too long.
        """
        self._all_said()
        with self._failing():
            await self._input.play(path)

    def keep_alive(self) -> None:
        """The client is there, though it sends no audio."""
        self._clock.touch()

    async def finalize(self) -> None:
        """Ask for the words said so far at once; the stream goes on. `Finalized` is the answer.

        Waits while a thousand answers have not been read.

        Raises:
            Problem: the stream has ended.
        """
        async with self._heeding:
            if not self.ended:
                with self._failing():
                    await self._hear_rest()
                    await self._telling.finalize()

    async def change(self, /, **options: Any) -> None:
        """Change `CHANGES`, from the audio on that is fed next; waits while phrases are compiled.

        Raises:
            Problem: unknown option or value; the stream goes on.
        """
        if unknown := options.keys() - set(CHANGES):
            name = min(unknown)
            raise invalid(f"{name} cannot change in the course of a stream; choose {', '.join(CHANGES)}", name)
        async with self._heeding:
            if not self.ended:
                with translated():
                    await self._change(await self._prepare(options))

    async def close(self) -> None:
        """No more audio; the remaining events come, then the iteration ends.

        Raises:
            Problem: what was fed was not usable.
        """
        if not self._closed:
            self._all_said()
            with self._failing():
                await self._input.close()

    async def end(self) -> None:
        """Close for the client, which may go on; what comes of it behind that is let go, and does no harm.

        Raises:
            Problem: what was fed was not usable.
        """
        self.ended = True
        async with self._heeding:
            await self.close()

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
        return self.transcript_of([event async for event in self if isinstance(event, Final)])

    def transcript_of(self, finals: Sequence[Final]) -> Transcript:
        """The transcript, from the finals that a caller has collected by iterating to the end."""
        return collect(finals, self.duration, self._session.detected, self.language)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        with self._failing():
            event = await self._telling.next()
        if event is None:
            raise StopAsyncIteration
        self._watch.told(event)
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clock.stop()
        if not self._telling.over:
            self._session.abort()
        if isinstance(error, Problem):
            self._problem = error
        self._watch.ended(self._problem)
        await self._input.release()

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

    async def _change(self, options: Mapping[str, Any]) -> None:
        await self._hear_rest()
        if options.keys() & {"language", "languages"}:
            language = options.get("language", AUTO)
            self._session.set_language(language, options.get("languages", ()))
            self.language = language
        if "latency_ms" in options:
            self._session.set_latency(options["latency_ms"])
        if "boost" in options:
            self._session.set_boost(options["boost"])

    def _all_said(self) -> None:
        self._closed = True
        self._clock.expect_nothing()

    async def _hear(self, samples: Array) -> None:
        self._clock.touch()
        if len(samples) and not (room := self._take(samples)).done():
            await room

    async def _hear_rest(self) -> None:
        """Hear what is held back: what comes next belongs behind it."""
        if len(samples := await self._input.rest()):
            self._take(samples)

    def _take(self, samples: Array) -> Promise[None]:
        """Hand samples over; a promise of room for more."""
        room = self._session.feed(samples)
        self._watch.fed(len(samples) / SAMPLE_RATE)
        self._bounds.check(self.duration)
        return room

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
