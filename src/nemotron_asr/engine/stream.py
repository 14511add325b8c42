"""One stream: the samples it still needs, the clock it has reached, and what it can do next. Knows nothing of tensors.

Whatever is asked of a stream in its course - another language, another latency, the words so far - belongs to a place
in its audio, not to a moment: the same calls between the same packets give the same words on an idle and on a busy
machine.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from nemotron_asr.audio.activity import SURE, WINDOW
from nemotron_asr.audio.samples import Samples
from nemotron_asr.config import FRAME_SAMPLES, SAMPLE_RATE
from nemotron_asr.decoding.beam import GREEDY, Beam
from nemotron_asr.decoding.boosting import NO_BOOST, BoostTree
from nemotron_asr.engine.recent import Recent
from nemotron_asr.errors import StreamClosedError
from nemotron_asr.features import mel_frames, window_samples, window_start
from nemotron_asr.model import encoder_frames

UNKNOWN_END = 2**40
"""The length of an utterance that still goes on, in samples or frames: two years."""

NO_ROW = -1
"""The row of a stream that has not been in a step yet."""

STEP_FRAMES = 112
"""Encoder frames in one step at most: 9 s, a multiple of every chunk size; more makes nothing faster."""

LOOK_BACK = 3
"""Frames before the voice where a stream begins anew: 240 ms, for consonants that are no voice yet."""

KEPT = SURE * WINDOW + (LOOK_BACK + 1) * FRAME_SAMPLES
"""Samples that a stream keeps for that: the voice is only known when some of it was heard."""


@dataclass(frozen=True)
class Target:
    """The language that is listened for.

    Attributes:
        prompt: its prompt row.
        language: its name, or "auto".
        banned: language tags that may not be emitted.
    """

    prompt: int
    language: str
    banned: tuple[int, ...] = ()


@dataclass(frozen=True)
class Work:
    """What a stream can do next.

    Attributes:
        chunk: lookahead + 1, in encoder frames.
        chunks: how many of them; a stream with a known end counts up to a power of two, padded with zeros.
        end: length in samples of the audio as this step sees it; `UNKNOWN_END` while it goes on.
        flush: looks ahead only: the words so far, as if the audio ended here. The encoder does not move.
    """

    chunk: int
    chunks: int
    end: int = UNKNOWN_END
    flush: bool = False


@dataclass(frozen=True)
class _Beginning:
    """The stream begins anew at a frame, once so many samples are known."""

    frame: int
    known: int


@dataclass(frozen=True)
class _Change:
    """Settings from the first chunk on that starts at or after a sample, and behind so many flushes."""

    position: int
    flushes: int
    target: Target | None
    chunk: int | None
    boost: BoostTree | None


class Stream:
    """Audio in, windows of samples out.

    Attributes:
        row: where its state lives in the pool, from its first step on.
        target: the language.
        chunk: lookahead + 1, in encoder frames.
        boost: the phrases that are likely.
        beam: how its tokens are searched for.
        t: the next encoder frame.
        decoded: the next frame to decode; ahead of `t` after a flush, whose words are not said again.
        origin: the frame that is time zero to the model; what lies before it was never heard.
        anew: `origin` has moved since the last step.
    """

    def __init__(
        self,
        row: int,
        target: Target,
        chunk: int,
        boost: BoostTree = NO_BOOST,
        beam: Beam = GREEDY,
        kept: int = 0,
    ) -> None:
        """Begin at time zero; `kept` is how many samples before the next window are kept, for `begin_anew`."""
        self.row, self.target, self.chunk, self.boost, self.beam = row, target, chunk, boost, beam
        self.t = self.decoded = self.origin = 0
        self.anew = False
        self._kept = kept
        self.closed = False
        self._audio = Recent()
        self._window = (0, 0, -1), np.zeros(0, np.float32)  # the last one made, and of what
        self._changes: deque[_Change] = deque()
        self._flushes: deque[int] = deque()  # positions, in samples
        self._flushed = 0  # how many were done
        self._beginnings: deque[_Beginning] = deque()

    @property
    def fed(self) -> int:
        """Samples fed so far."""
        return self._audio.end

    @property
    def seconds(self) -> float:
        """Audio fed so far."""
        return self.fed / SAMPLE_RATE

    def feed(self, samples: Samples) -> None:
        """Append mono 16 kHz audio.

        Raises:
            StreamClosedError: the stream was closed.
        """
        if self.closed:
            raise StreamClosedError("this stream has ended; open a new one to go on")
        if len(samples):
            self._audio.append(samples)

    def close(self) -> None:
        """No more audio will come."""
        self.closed = True

    def change(self, target: Target | None = None, chunk: int | None = None, boost: BoostTree | None = None) -> None:
        """Change the language, the latency or the likely phrases at the next chunk boundary."""
        self._changes.append(_Change(self.fed, self._flushed + len(self._flushes), target, chunk, boost))

    def flush(self) -> None:
        """Ask for the words of what was fed so far."""
        self._flushes.append(self.fed)

    def begin_anew(self, voice: int, known: int) -> None:
        """Forget what was heard before a voice, as if the stream began shortly before it.

        Args:
            voice: the sample at which it begins.
            known: how many samples tell that. Chunks that need fewer are heard before the stream begins anew.
        """
        self._beginnings.append(_Beginning(max(0, voice // FRAME_SAMPLES - LOOK_BACK), known))

    def frames_within(self, samples: int) -> int:
        """Encoder frames from `t` on whose windows lie within so many samples."""
        return max(0, (samples - window_start(self.t) - window_samples(1)) // FRAME_SAMPLES + 1)

    def frames_until(self, end: int) -> int:
        """Encoder frames from `t` on that exist when the audio ends there."""
        return encoder_frames(mel_frames(end)) - self.t

    def needed(self) -> int:
        """Samples that must have been fed for the next chunk."""
        return window_start(self.t) + window_samples(self.chunk)

    def next_work(self) -> Work | None:
        """What can be done now; nothing when a whole chunk is missing or, once closed, at the end."""
        self._settle_changes()
        if self._beginnings and self._is_due(self._beginnings[0]):
            self._begin(self._beginnings.popleft())
            self._settle_changes()
        if self._flushes:
            whole = self._whole_chunks(self._flushes[0])
            return Work(self.chunk, whole) if whole else self._flush_work(self._flushes[0])
        if self.closed:
            left = self.frames_until(self.fed)
            if left == 0 and self._searching:
                return Work(self.chunk, 1, self.fed)
            chunks = 1 << (-(-left // self.chunk) - 1).bit_length()
            return Work(self.chunk, self._before_next(chunks), self.fed) if left > 0 else None
        whole = self._whole_chunks(self.fed)
        return Work(self.chunk, whole) if whole else None

    def _flush_work(self, position: int) -> Work:
        """One step of what is not yet a whole chunk; of no chunks when all was said before."""
        left = self.frames_until(position)
        chunks = -(-left // self.chunk) if self.t + left > self.decoded else int(self._searching)
        return Work(self.chunk, chunks, position, flush=True)

    @property
    def _searching(self) -> bool:
        """Whether words may be undecided, although all frames were heard: a beam decides when it is told of the end."""
        return self.beam != GREEDY and self.t > self.origin

    def _whole_chunks(self, samples: int) -> int:
        return self._before_next(self.frames_within(samples) // self.chunk)

    def _before_next(self, chunks: int) -> int:
        """No step goes beyond the boundary at which something changes, or the stream begins anew."""
        until = [self._changes[0].position - FRAME_SAMPLES * self.t] if self._changes else []
        until += [self._beginnings[0].known - self.needed()] if self._beginnings else []
        return min([chunks, *(-(-samples // (FRAME_SAMPLES * self.chunk)) for samples in until)])

    def _is_due(self, beginning: _Beginning) -> bool:
        """Whether the next chunk is the first one that is heard anew, and no flush comes before it."""
        flushed = self._flushes and self._flushes[0] < beginning.known
        return self.needed() >= beginning.known and not flushed

    def _begin(self, beginning: _Beginning) -> None:
        self.origin = self.t = self.decoded = beginning.frame
        self.anew = True
        self._audio.forget(FRAME_SAMPLES * self.origin)
        self._window = (0, 0, -1), self._window[1]

    def _settle_changes(self) -> None:
        """Those behind the place at which the stream begins anew wait until it has, however late that is."""
        reached = min([FRAME_SAMPLES * self.t, *(beginning.known for beginning in self._beginnings)])
        while self._changes and reached >= self._changes[0].position and self._changes[0].flushes <= self._flushed:
            change = self._changes.popleft()
            self.target = change.target or self.target
            self.chunk = change.chunk or self.chunk
            self.boost = self.boost if change.boost is None else change.boost

    def window(self, frames: int) -> Samples:
        """The samples of the next encoder frames, with the one before them.

        What lies before the start of the stream or after what was fed is zero.
        """
        first, length = window_start(self.t) - 1, 1 + window_samples(frames)
        made_of = (self.t, frames, min(self.fed, first + length))
        if self._window[0] == made_of:
            return self._window[1]
        self._window = made_of, self._audio.window(first, length)
        return self._window[1]

    def advance(self, work: Work, frames: int) -> None:
        """Move on behind the frames of a step, and forget the samples that no later one needs."""
        self.t += frames
        self.decoded = max(self.decoded, min(self.t, encoder_frames(mel_frames(work.end))))
        self._audio.forget(window_start(self.t) - 1 - self._kept)

    def flushed(self, last_frame: int) -> None:
        """A flush is done: its words, the last of which was said in `last_frame`, are not to be said again.

        Frames that lack their own audio are decoded once more, with it.
        """
        position = self._flushes.popleft()
        self._flushed += 1
        self.decoded = max(self.decoded, self.t + self.frames_within(position), last_frame + 1)
