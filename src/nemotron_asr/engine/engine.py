"""Many live streams on one machine."""

import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, Unpack

from nemotron_asr.config import FRAME_SAMPLES, LATENCIES, SAMPLE_RATE
from nemotron_asr.engine.admission import Admission
from nemotron_asr.engine.calibration import calibrate
from nemotron_asr.engine.cost import Capacity, StepCost
from nemotron_asr.engine.event_queue import EventQueue
from nemotron_asr.engine.live import Live
from nemotron_asr.engine.loop import Loop
from nemotron_asr.engine.promise import Promise
from nemotron_asr.engine.session import Session
from nemotron_asr.engine.settings import Settings, SpeechModel, check_options
from nemotron_asr.engine.stream import KEPT, NO_ROW, Stream
from nemotron_asr.errors import AtCapacity, EngineClosedError
from nemotron_asr.options import Options, check_count


@dataclass(frozen=True)
class Statistics:
    """How an engine is doing.

    Attributes:
        streams: live streams that are open.
        chunks: chunks of live streams decoded so far.
        late: how many of them finished more than a chunk after their audio had come.
        delay, delays: seconds from the audio of a chunk to its words, summed; and chunks by `DELAYS`.
        steps: steps computed so far.
        computing: seconds that they took.
        waiting: streams that may have something to do now.
        capacity: latency in ms -> live streams that can be open at it, beside those now open at others.
    """

    streams: int
    chunks: int
    late: int
    delay: float
    delays: tuple[int, ...]
    steps: int
    computing: float
    waiting: int
    capacity: dict[int, int]


class Engine:
    """Steps many streams together, live ones in time and recordings in between.

    Args:
        asr: a loaded model.
        max_streams: how many live streams may be open; by default as many as the machine sustains, which is measured
            now and watched from then on.

    Use it as a context manager, or close it; one that is dropped, and all its sessions too, ends its threads.
    """

    def __init__(self, asr: SpeechModel, max_streams: int | None = None) -> None:
        if max_streams is not None:
            check_count("max_streams", max_streams)
        self._model, self._cost = asr, StepCost()
        self._admission = Admission(Capacity(self._cost), max_streams)
        self._loop = Loop(asr.runner, self._admission, self._cost)
        self._closed = False
        self._lock, self._measuring = threading.Lock(), threading.Lock()
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._dropped = weakref.finalize(self, _drop, self._loop)
        if max_streams is None:
            self._loop.ask(partial(calibrate, asr.runner, self._cost)).result()

    def open(
        self,
        *,
        sample_rate: int = SAMPLE_RATE,
        recording: bool = False,
        **options: Unpack[Options],
    ) -> Session:
        """Open a stream, from a thread or a coroutine.

        Args:
            sample_rate: of the samples that will be fed, in Hz.
            recording: it is not live: it has no deadline, goes when live streams need not, and is not counted.
            options: see `Options`.

        Raises:
            AtCapacity: the machine does not sustain one more live stream at this latency.
            EngineClosedError: the engine was closed, or is another process's.
            LanguageError: a language is unknown.
            OptionError: an option is not offered.
            AudioError: the sample rate is absurd.
        """
        settings = check_options(self._model, **options)
        return self.listen(settings, sample_rate=sample_rate, recording=recording)

    def listen(self, settings: Settings, *, sample_rate: int = SAMPLE_RATE, recording: bool = False) -> Session:
        """Open a stream whose options were checked before; otherwise like `open`."""
        self._loop.check_open()
        if self._closed:
            raise EngineClosedError("the engine is closed")
        kept = KEPT if settings.vad else 0
        stream = Stream(NO_ROW, settings.target, settings.chunk, settings.boost, settings.beam, kept)
        events, memory = EventQueue(settings.postprocess), FRAME_SAMPLES * self._model.config.left_context
        live = Live(stream, settings.builder(self._model.tokenizer), recording, events, memory)
        session = Session(self, self._loop, live, self._model, sample_rate)
        if not recording:
            self._enter(live, settings.chunk)
        with self._lock:
            self._sessions.add(session)
        self._loop.tell(self._loop.open, live)
        return session

    def _enter(self, live: Live, chunk: int) -> None:
        try:
            self._admission.enter(live, chunk)
        except AtCapacity:
            if not self._admission.lanes() and self._measuring.acquire(blocking=False):
                self._loop.ask(self._measure_again)
            raise

    def _measure_again(self) -> None:
        """Where nobody is served, nothing else tells that the machine has time again."""
        try:
            calibrate(self._model.runner, self._cost)
        finally:
            self._measuring.release()

    def reserve(self, most: int) -> None:
        """Take the memory of so many streams before the first one opens, so that no step waits for it.

        Args:
            most: streams; fewer if the machine sustains fewer.

        Raises:
            EngineClosedError: the engine was closed.
        """
        self._loop.reserve(min(most, max(self.statistics.capacity.values())))

    @property
    def statistics(self) -> Statistics:
        """How the engine is doing."""
        admission = self._admission
        capacity = {ms: admission.limit(lookahead + 1) for ms, lookahead in LATENCIES.items()}
        loop = self._loop
        return Statistics(
            admission.lanes().total(), admission.chunks, admission.late, admission.delay, tuple(admission.delays),
            loop.steps, loop.computing, loop.waiting, capacity,
        )  # fmt: skip

    def close(self, *, drain: bool = True) -> Promise[None]:
        """Let no more streams in.

        Args:
            drain: say all that is to be said of what was fed before ending the streams; otherwise end them at once.

        Returns:
            A promise that is kept when all streams have ended; to be awaited, or asked for its `result()`.

        Raises:
            EngineClosedError: the engine is another process's.
        """
        if not self._closed or not drain:  # one that drains can be cut short
            self._closed = True
            self._dropped.detach()
            with self._lock:
                sessions = list(self._sessions) if drain else []
            for session in sessions:
                session.close()  # which hands over what it still holds
            self._loop.tell(partial(self._loop.shut_down, drain=drain))
        return self._loop.ended.shared()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(drain=kind is None).result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(drain=kind is None)


def _drop(loop: Loop) -> None:
    """End the threads of an engine that nobody holds any more, or of a process that ends."""
    with suppress(EngineClosedError, TimeoutError):
        loop.tell(partial(loop.shut_down, drain=False))
        if threading.current_thread() is threading.main_thread():
            loop.ended.result(timeout=10)
