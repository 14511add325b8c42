"""One live stream as its user sees it: audio in, events out, from a thread or from coroutines."""

import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from nemotron_asr.audio import Resampler, Samples
from nemotron_asr.audio.activity import VoiceActivity
from nemotron_asr.config import SAMPLE_RATE, chunk_frames
from nemotron_asr.decoding.boosting import Boost, boost_tree
from nemotron_asr.engine.live import Live
from nemotron_asr.engine.loop import BACKLOG, Loop
from nemotron_asr.engine.promise import Promise, in_event_loop
from nemotron_asr.engine.settings import SpeechModel, choose_target
from nemotron_asr.errors import AudioError, EngineClosedError, StreamClosedError, StreamFailedError
from nemotron_asr.events import Event, Segment
from nemotron_asr.languages import AUTO
from nemotron_asr.options import check_types

MOST_BACKLOG = 600.0
"""Seconds of audio beyond which a coroutine that does not await `feed` is refused."""

_KEPT: Promise[None] = Promise.kept(None)


class Session:
    """A live stream of an `Engine`. Feed it, iterate over it, close it; or use it as a context manager.

    `feed`, `finalize` and the setters return at once, and may be called from any thread. Leaving the context closes the
    stream; leaving it with an exception, or dropping the session, drops the stream and what it had still to say. One
    reader, a thread or a coroutine, iterates over it.
    """

    def __init__(self, engine: object, loop: Loop, live: Live, model: SpeechModel, sample_rate: int) -> None:
        self._engine = engine  # lives as long as any of its sessions
        self._loop, self._live, self._model = loop, live, model
        self._resampler = Resampler(sample_rate)
        self._activity = VoiceActivity() if live.builder.voice is not None else None
        self._lock = Lock()
        self._fed = 0
        self._held: list[Samples] = []  # packets that the engine has not been told of
        self._told = 0
        self._closed = False
        self._dropped = weakref.finalize(self, _drop, loop, live)
        self._dropped.atexit = False

    @property
    def duration(self) -> float:
        """Seconds of audio fed so far."""
        return round(self._fed / SAMPLE_RATE, 3)

    @property
    def detected(self) -> str | None:
        """The last language that the model named."""
        return self._live.builder.detected

    @property
    def backlog(self) -> float:
        """Seconds of audio that wait for the engine."""
        return max(0.0, self._fed / SAMPLE_RATE - self._live.done)

    @property
    def wanted(self) -> int:
        """Samples at 16 kHz without which nothing new can be heard; whoever holds back fewer delays nothing."""
        return 0 if self._activity is not None else max(0, self._live.wanted(self._told) - self._fed)

    def feed(self, samples: ArrayLike) -> Promise[None]:
        """Take a packet of any size, float32 in [-1, 1] or int16, mono, at the session's sample rate.

        A caller that runs more than 30 s ahead of the engine is slowed: a thread waits in here; a coroutine, which must
        not, awaits what is returned.

        Raises:
            AudioError: the samples are not usable; the stream ends with this error.
            StreamClosedError: the stream was closed.
            StreamFailedError: the engine had to end the stream, or a coroutine has fed 10 minutes without awaiting.
        """
        with self._lock:
            self._check_open()
            if self.backlog > MOST_BACKLOG:
                self.abort(StreamFailedError(f"{self.backlog:.0f} s of audio wait unheard; await feed() to keep pace"))
                self._check_open()
            self._hand_over(samples)
        if self.backlog <= BACKLOG:
            return _KEPT
        room: Promise[None] = Promise()
        self._loop.tell(self._loop.make_room, self._live, room)
        if not in_event_loop():
            room.result()
        return room

    def finalize(self) -> Promise[Segment | None]:
        """Ask for the words said so far at once, as a final event; the stream goes on.

        They are found by looking ahead on a copy of the encoder's state as if the audio ended here, so that what
        follows is heard with its real past; no word is said twice.

        Returns:
            A promise of the segment that this ends, None if nothing was said since the last; to be awaited, asked for
            its `result()`, or ignored.
        """
        with self._lock:
            self._check_open()
            promise: Promise[Segment | None] = Promise()
            self._tell_all()
            self._loop.tell(self._loop.flush, self._live, promise)
            return promise

    def set_language(self, language: str = AUTO, languages: Sequence[str] = ()) -> None:
        """Listen for another language from the next chunk on.

        Args:
            language: a locale or alias, or "auto".
            languages: with "auto", the only ones that it may find.

        Raises:
            LanguageError: a language is unknown.
            OptionError: it is no text.
        """
        check_types({"language": language, "languages": languages})
        target = choose_target(self._model, language, languages)
        with self._lock:
            self._check_open()
            self._tell_all()
            self._loop.tell(self._loop.change, self._live, target, None, None)

    def set_latency(self, latency_ms: int) -> None:
        """Look ahead less or further from the next chunk on.

        Raises:
            OptionError: the latency is not offered.
            AtCapacity: the machine does not sustain this stream at that latency.
        """
        check_types({"latency_ms": latency_ms})
        chunk = chunk_frames(latency_ms)
        with self._lock:
            self._check_open()
            self._loop.admission.move(self._live, chunk)
            self._tell_all()
            self._loop.tell(self._loop.change, self._live, None, chunk, None)

    def set_boost(self, boost: Boost) -> None:
        """Take other phrases for likely from the next chunk on; see `Options`.

        Raises:
            OptionError: a phrase or its weight is not possible.
        """
        check_types({"boost": boost})
        tree = boost_tree(boost, self._model.tokenizer)
        with self._lock:
            self._check_open()
            self._tell_all()
            self._loop.tell(self._loop.change, self._live, None, None, tree)

    def settle(self) -> Promise[None]:
        """A promise that is kept when all that can be said of the audio fed so far has been said."""
        promise: Promise[None] = Promise()
        with self._lock:
            self._tell_all()
            self._loop.tell(self._loop.settle, self._live, promise)
        return promise

    def close(self) -> None:
        """No more audio; the remaining events come, then the iteration ends."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._take_in(self._resampler.finish())
            self._tell_all()
            self._loop.tell(self._loop.close, self._live)

    def abort(self, error: BaseException | None = None) -> None:
        """Drop the stream and what it had still to say; iterating over it raises `error`, if there is one."""
        self._closed = True
        self._dropped.detach()
        error = error or _dropped()
        self._live.events.end(error)
        self._loop.tell(self._loop.fail, self._live, error)
        self._loop.admission.free(self._live)  # at once: who opens another one next finds its place free

    def take(self) -> list[Event]:
        """The events that are there, without waiting.

        Raises:
            NemotronError: the stream ended with it.
        """
        return self._live.events.take()

    def poll(self) -> Event | Promise[None] | None:
        """The next event; a promise that is kept when there may be one; None at the end.

        Raises:
            EngineClosedError: the engine is another process's.
            NemotronError: the stream ended with it.
        """
        self._loop.check_process()
        return self._live.events.poll()

    def __iter__(self) -> Iterator[Event]:
        while (event := self.poll()) is not None:
            if isinstance(event, Promise):
                event.result()
            else:
                yield event

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while (event := self.poll()) is not None:
            if not isinstance(event, Promise):
                return event
            await event
        raise StopAsyncIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _check_open(self) -> None:
        if self._live.events.error is not None:
            raise self._live.events.error.with_traceback(None)
        if self._closed:
            raise StreamClosedError("this stream has ended; open a new one to go on")

    def _hand_over(self, samples: ArrayLike) -> None:
        try:
            heard = self._resampler.feed(samples)
        except AudioError as error:
            self.abort(error)
            raise
        self._take_in(heard)
        if self._fed >= self._live.wanted(self._told):
            self._tell_all()

    def _take_in(self, heard: Samples) -> None:
        """Hold a copy, for the caller may use its memory again; the engine knows of voices before it hears them.

        They are looked for in the thread that feeds, so that the engine's own is not held up.
        """
        if self._activity is not None and (edges := self._activity.feed(heard)):
            self._tell_all()
            self._loop.tell(self._loop.hear, self._live, edges)
        self._fed += len(heard)
        if len(heard):
            self._held.append(heard.copy())

    def _tell_all(self) -> None:
        """Hand over what is held; this wakes the engine, so it is done when there is something that it can do."""
        held, self._held = self._held, []
        if self._told < self._fed:
            self._told = self._fed
            self._loop.tell(self._loop.feed, self._live, held[0] if len(held) == 1 else np.concatenate(held))


def _drop(loop: Loop, live: Live) -> None:
    """End a stream whose session nobody holds any more."""
    with suppress(EngineClosedError):
        loop.tell(loop.fail, live, _dropped())
        loop.admission.free(live)


def _dropped() -> StreamClosedError:
    """A new one for each stream: an error keeps what was on the stack where it was raised."""
    return StreamClosedError("this stream was dropped")
