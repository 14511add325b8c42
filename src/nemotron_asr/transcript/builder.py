"""Tokens and voice -> events, frame by frame: what a frame tells does not depend on how the frames arrived.

Speech begins with its first word, or with the voice where that is listened to, and ends after silence. In between it is
written down in segments: one ends at a language tag, with the speech, or when it has grown too long.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from nemotron_asr.audio.activity import Edge
from nemotron_asr.config import FRAME_MS, FRAME_SAMPLES
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.events import Event, Final, Partial, Segment, SpeechEnded, SpeechStarted
from nemotron_asr.languages import AUTO
from nemotron_asr.options import LONGEST_SEGMENT_MS, PAUSE_MS
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.transcript.segments import segment_of, with_alternatives
from nemotron_asr.transcript.voice import Voice
from nemotron_asr.transcript.words import (
    begins_word,
    closes,
    ends_sentence,
    ends_within_word,
    frames_until,
    goes_on,
    is_spoken,
    seconds,
)

PAUSE_FRAMES = PAUSE_MS // FRAME_MS
"""Frames of silence that end speech."""

LONGEST_SEGMENT = LONGEST_SEGMENT_MS // FRAME_MS
"""Frames after which a segment is cut at the next word."""

SETTLED = 3
"""Frames without a word after which none is on its way, once the voice is silent."""

EARLY, LATE = 10, 10
"""Frames by which a word may be written before its voice begins, and after it has ended."""

SURE = 3
"""Frames after which the beginning of a voice is known at the latest."""


@dataclass
class TranscriptBuilder:
    """Turns the tokens of one stream into events; holds the current segment and nothing older.

    Attributes:
        tokenizer: names the pieces.
        language: the locale that was asked for, or "auto" to take it from the model's tags; see `listen_for`.
        keep_language_tags: leave the tags in the text, as the model wrote them.
        pause_frames: frames of silence that end speech; None: no silence does.
        longest_frames: frames after which a segment is cut.
        voice: where somebody speaks; None: nobody listens, and frames without a word are silence.
        detected: the last language that the model named.
    """

    tokenizer: Tokenizer
    language: str = AUTO
    keep_language_tags: bool = False
    pause_frames: int | None = PAUSE_FRAMES
    longest_frames: int = LONGEST_SEGMENT
    voice: Voice | None = None
    detected: str | None = None
    _next_language: str | None = None  # from the next word on
    _tokens: list[Emission] = field(default_factory=list)  # of the current segment
    _first: int | None = None  # frame of its first word
    _tag: Emission | None = None  # that ends it as soon as its last word is over
    _grown: bool = False  # since it was shown
    _last: int | None = None  # frame of the last word ever
    _floor: int = 0  # frame in which the next segment's words may begin
    _held: deque[Emission] = field(default_factory=deque)  # far from any voice, unless one begins soon
    _speaking: bool = False
    _ahead: bool = False  # speech was announced by a voice that is not decoded yet
    _over: bool = False  # speech ends with this chunk, if not before: its silence has lasted long enough
    _ends: deque[int] = field(default_factory=deque)  # frames before which chunks end
    _time: float = 0.0  # of the last beginning or end of speech
    _frame: int = 0  # frames decoded
    _duration: float = math.inf

    def hear(self, edges: Iterable[Edge]) -> Iterator[Event]:
        """Take edges of the voice in audio that is yet to be decoded.

        Speech is announced at once if decoding cannot come to tell anything before it.
        """
        if self.voice is None:
            return
        self.voice.hear(edges)
        idle = not (self._speaking or self._held) and self.voice.silence(self._frame) > LATE
        if idle and self.voice.coming and self.voice.coming[0].voice:
            self._ahead = True
            yield from self._start(self.voice.coming[0].sample / FRAME_SAMPLES)

    def push(
        self, emissions: Sequence[Emission], frames: int, duration: float = math.inf, ends: Iterable[int] = ()
    ) -> Iterator[Event]:
        """Take the tokens of newly decoded frames.

        Args:
            emissions: the tokens in order, `frame` counted from the start of the stream.
            frames: encoder frames decoded so far, these included.
            duration: seconds of audio, once that is known: no word lasts longer.
            ends: the frames before which the chunks end that these are of, `frames` unless given. A final waits for the
                end of its chunk, which costs nothing, and has the punctuation and the tag that come with it.
        """
        self._duration = duration
        self._ends.extend(ends)
        coming = deque(emissions)
        first = min([self._frame, *(emission.frame for emission in emissions[:1])])
        for frame in range(first, frames):
            self._frame = max(self._frame, frame + 1)
            yield from self._listen(frame)
            while coming and coming[0].frame == frame:
                yield from self._take(coming.popleft())
            self._over |= self._quiet(frame)
            if self._ends_chunk(frame, frames) and self._over:
                yield from self._stop()
        if self._first is not None and self._grown:
            self._grown = False
            yield Partial(self._now, self._segment(None))

    def listen_for(self, language: str) -> None:
        """Another language is asked for from the next word on: a segment that has begun ends before it, in its own."""
        if self._first is None:
            self.language, self._next_language = language, None
        else:
            self._next_language = None if language == self.language else language

    def begin_anew(self) -> None:
        """The model has forgotten all, after a long silence: what is held was made of it, or will be heard again."""
        self._held.clear()
        self._ends.clear()
        if self._first is None:
            self._tokens, self._grown = [], False

    def cut(self) -> Iterator[Event]:
        """End speech here, whatever follows."""
        if self._speaking and not self._ahead:
            yield from self._stop()

    def finish(self, duration: float) -> Iterator[Event]:
        """End the stream, which lasted `duration` seconds."""
        self._duration = duration
        yield from self._listen(math.inf)
        if self._speaking:
            yield from self._stop()

    def _listen(self, frame: float) -> Iterator[Event]:
        """Take in what is known of the voice, and decide on the words that are held."""
        while self.voice is not None and self.voice.turns(frame):
            if self._over:
                yield from self._stop()
            edge, self._ahead = self.voice.turn(), False
            begun = edge.sample / FRAME_SAMPLES
            if edge.voice and not self._speaking:
                yield from self._start(begun)
            self._forget(begun - EARLY)
            while edge.voice and self._held:
                yield from self._accept(self._held.popleft())
        self._forget(frame - EARLY - SURE)

    def _forget(self, frame: float) -> None:
        """Drop the words that were held since before a frame."""
        while self._held and self._held[0].frame < frame:
            self._held.popleft()

    def _take(self, emission: Emission) -> Iterator[Event]:
        """Accept a token, or hold it until a voice begins."""
        heard = self.voice is None or self.voice.silence(emission.frame) <= LATE
        if not self._held and (heard or not is_spoken(self._text(emission))):
            yield from self._accept(emission)
        else:
            self._held.append(emission)

    def _accept(self, emission: Emission) -> Iterator[Event]:
        text = self._text(emission)
        if emission.token in self.tokenizer.language_tags:
            self.detected = self.tokenizer.language_tags[emission.token]
            self._tag = self._tag or emission
            if self._first is None or not ends_within_word(self._ending):
                yield from self._close()
            return
        if self._tag and text and not goes_on(text):
            yield from self._close()
        if is_spoken(text):
            if self._over:
                yield from self._stop()
            if self._ripe(emission.frame, text) or (self._next_language and begins_word(text)):
                yield from self._close()
            if self._first is None:
                self._first = emission.frame
            if not self._speaking:
                yield from self._start(max(emission.frame, self._floor))
            self._last = emission.frame
            self._add(emission)
        elif self._first is not None or not closes(text):
            self._add(emission)

    def _add(self, emission: Emission) -> None:
        self._tokens.append(emission)
        self._grown = True

    def _text(self, emission: Emission) -> str:
        return "" if emission.token in self.tokenizer.language_tags else self.tokenizer.text(emission.token)

    def _quiet(self, frame: int) -> bool:
        """Whether speech has ended by the end of a frame."""
        if not self._speaking or self._ahead or self.pause_frames is None:
            return False
        silence = math.inf if self._last is None else frame - self._last
        if self.voice is None:
            return silence >= self.pause_frames
        return self.voice.silence(frame + 1) >= self.pause_frames and silence >= min(self.pause_frames, SETTLED)

    def _ends_chunk(self, frame: int, frames: int) -> bool:
        """Whether a chunk ends with a frame; what ended before is forgotten."""
        while self._ends and self._ends[0] <= frame:
            self._ends.popleft()
        return frame + 1 == (self._ends[0] if self._ends else frames)

    def _ripe(self, frame: int, text: str) -> bool:
        """Whether to cut before a word, the segment being long.

        In the last third of the longest segment the pause that suffices shrinks to nothing. Until then the end of a
        sentence does, too. So the cut is at a good gap, and nothing that was shown before has to be taken back.
        """
        if self._first is None or self._last is None or not begins_word(text):
            return False
        third = self.longest_frames / 3
        late = (frame - self._first - 2 * third) / third
        if late < 0:
            return False
        pause = PAUSE_FRAMES if self.pause_frames is None else self.pause_frames
        return ends_sentence(self._ending) or frame - self._last - 1 >= (1 - late) * pause

    def _start(self, frame: float) -> Iterator[Event]:
        """Speech begins, never before the last has ended."""
        self._speaking = True
        yield SpeechStarted(self._pass(frame))

    def _stop(self) -> Iterator[Event]:
        """Speech ends, with the voice or with its last word."""
        yield from self._close()
        self._speaking = self._ahead = self._over = False
        if self.voice is None:
            end: float = self._floor
        else:
            end = self._frame if self.voice.on else (self.voice.end or 0) / FRAME_SAMPLES
        yield SpeechEnded(self._pass(end))

    def _pass(self, frame: float) -> float:
        self._time = max(self._time, min(seconds(frame), self._duration))
        return self._time

    def _close(self) -> Iterator[Event]:
        """The segment ends; without a word there was none."""
        if self._first is not None:
            make = partial(self._segment, self._tag)
            segment = with_alternatives(make(), self._tokens, self.tokenizer, make)
            self._floor = frames_until(segment.end)
            yield Final(self._now, segment)
        self._tokens, self._first, self._tag, self._grown = [], None, None, False
        self.language, self._next_language = self._next_language or self.language, None

    @property
    def _ending(self) -> str:
        """How the segment ends so far: its last two tokens with a text."""
        texts = filter(None, map(self._text, reversed(self._tokens)))
        return "".join(reversed(list(islice(texts, 2))))

    @property
    def _now(self) -> float:
        return min(seconds(self._frame), self._duration)

    def _segment(self, tag: Emission | None, tokens: Sequence[Emission] | None = None) -> Segment:
        """A segment of tokens, the current ones unless given, which has a word."""
        return segment_of(
            self._tokens if tokens is None else tokens, tag, self.tokenizer, self.language,
            keep_tag=self.keep_language_tags, floor=self._floor, duration=self._duration,
        )  # fmt: skip
