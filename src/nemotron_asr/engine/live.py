"""A stream inside the engine: its samples, its current segment, and who waits for what. Knows nothing of threads."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from nemotron_asr.audio.activity import Edge
from nemotron_asr.audio.samples import Samples
from nemotron_asr.config import FRAME_SAMPLES, FRAME_SECONDS, SAMPLE_RATE
from nemotron_asr.engine.event_queue import EventQueue
from nemotron_asr.engine.promise import Promise
from nemotron_asr.engine.runner import Part, StepResult
from nemotron_asr.engine.scheduler import NEVER
from nemotron_asr.engine.stream import Stream, Work
from nemotron_asr.errors import StreamFailedError
from nemotron_asr.events import Event, Final, Segment
from nemotron_asr.transcript import TranscriptBuilder


@dataclass(eq=False)
class Live:
    """One stream on its way through the engine.

    Attributes:
        stream: its samples and clock.
        builder: its current segment.
        recording: it has no deadline.
        events: its words, on their way out.
        memory: samples of silence, where the voice is listened to, after which the stream begins anew with the voice.
        computing: a step with it is on its way.
        done: seconds of audio that steps have taken.
        room: kept when the backlog is short again.
        settling: kept when nothing is left to be said.
    """

    stream: Stream
    builder: TranscriptBuilder
    recording: bool
    events: EventQueue = field(default_factory=EventQueue)
    memory: float = math.inf
    computing: bool = False
    done: float = 0.0
    room: list[Promise[None]] = field(default_factory=list)
    settling: list[Promise[None]] = field(default_factory=list)
    _silent_since: int = 0  # sample at which the voice ended
    _began: float | None = None  # when its first sample came
    _closed: float = 0.0
    _arrivals: deque[tuple[int, float]] = field(default_factory=deque)  # samples fed, and when
    _flushes: deque[tuple[float, Promise[Segment | None]]] = field(default_factory=deque)  # when asked for

    @property
    def backlog(self) -> float:
        """Seconds of audio that wait for a step."""
        return max(0.0, self.stream.seconds - self.done)

    @property
    def flushing(self) -> bool:
        """Whether somebody waits for the words so far."""
        return bool(self._flushes)

    @property
    def in_a_hurry(self) -> bool:
        """Whether somebody waits for its words: a step with it is not put off."""
        return bool(self._flushes or self.settling or self.stream.closed)

    def wanted(self, told: int) -> int:
        """Samples that must have been fed for a step to have more to do than with those told so far.

        Any thread may ask, packet by packet: an answer that a step has just made stale is put right by the next.
        """
        needed, chunk = self.stream.needed(), FRAME_SAMPLES * self.stream.chunk
        return needed + chunk * max(0, (told - needed) // chunk + 1)

    def hear(self, edges: Sequence[Edge]) -> None:
        """Voice begins or ends in audio that comes next.

        Raises:
            StreamFailedError: nobody reads the events, or postprocessing failed.
        """
        self.events.put(list(self.builder.hear(edges)))
        for edge in edges:
            if not edge.voice:
                self._silent_since = edge.sample
            elif edge.sample - self._silent_since >= self.memory:
                self.stream.begin_anew(edge.sample, edge.known)

    def heard(self, samples: Samples, now: float) -> None:
        """Audio has come."""
        self.stream.feed(samples)
        if not self.recording:
            if self._began is None:  # packets are held until they make a chunk: they came one by one, in real time
                self._began = now - min(self.stream.fed, self.stream.needed()) / SAMPLE_RATE
            self._arrivals.append((self.stream.fed, now))

    def close(self, now: float) -> None:
        """No more audio will come."""
        self.stream.close()
        self._closed = now

    def flush(self, promise: Promise[Segment | None], now: float) -> None:
        """The words so far are wanted."""
        self._flushes.append((now, promise))
        self.stream.flush()

    def due(self, work: Work) -> float:
        """When a step is to be done: a chunk after it was asked for, or after its audio was there."""
        if self.recording:
            return NEVER
        since = self._flushes[0][0] if work.flush else self._audible()
        return since + self.stream.chunk * FRAME_SECONDS

    def _audible(self) -> float:
        """When the audio of the next chunk came, or should have come from one who speaks: the later of both."""
        needed, fed = self.stream.needed(), self.stream.fed
        said = (self._began or 0.0) + min(needed, fed) / SAMPLE_RATE
        # A rest that is no whole chunk could not be heard before it was known to be all.
        return max(said, self._came(needed) if needed <= fed else self._closed)

    def _came(self, sample: int) -> float:
        """When a sample came; nobody asks for those before it any more."""
        while len(self._arrivals) > 1 and self._arrivals[0][0] < sample:
            self._arrivals.popleft()
        return self._arrivals[0][1]

    def speaking(self, now: float) -> bool:
        """Whether audio came within the last two chunks."""
        last = self._arrivals[-1][1] if self._arrivals else -math.inf
        return not self.recording and now - last < 2 * self.stream.chunk * FRAME_SECONDS

    def begin(self, work: Work, frames: int) -> Part:
        """What it brings into a step; its clock moves on."""
        part = Part.of(self.stream, work, frames)
        self.computing, self.stream.anew = True, False
        if not work.flush:
            self.stream.advance(work, frames)
            self.done = min(self.stream.seconds, self.stream.t * FRAME_SECONDS)
        return part

    def take(self, part: Part, heard: StepResult) -> None:
        """The tokens of a step, which become events.

        Raises:
            StreamFailedError: nobody reads the events, or postprocessing failed.
        """
        self.builder.listen_for(part.target.language)
        if part.anew:
            self.builder.begin_anew()
        events = list(self.builder.push(heard.said, heard.settled, part.duration, part.ends))
        if part.flush:
            self.stream.flushed(heard.last)
            self.cut(events)
        else:
            self.events.put(events)

    def cut(self, events: Sequence[Event] = ()) -> None:
        """Answer a flush: the segment ends here, unless a language tag among its own events has ended it."""
        told = self.events.put([*events, *self.builder.cut()])
        finals = [event.segment for event in told if isinstance(event, Final)]
        self._flushes.popleft()[1].keep(finals[-1] if finals else None)

    def flush_nothing(self) -> None:
        """Answer a flush before which everything was said already."""
        self.stream.flushed(-1)
        self.cut()

    def finish(self) -> None:
        """The end: the last events, or the error that they could not be given out."""
        try:
            self.events.put(list(self.builder.finish(round(self.stream.seconds, 3))))
            self.events.end()
        except StreamFailedError as error:
            self.events.end(error)

    def fail(self, error: BaseException) -> None:
        """The end, by an error."""
        self.events.end(error)
        self.answer()

    def let_on(self) -> None:
        """Producers need not wait any more."""
        while self.room:
            self.room.pop().keep(None)

    def answer(self) -> None:
        """Nothing is left to be said of what was fed."""
        self.let_on()
        while self.settling:
            self.settling.pop().keep(None)
        while self._flushes:
            self._flushes.popleft()[1].keep(None)
