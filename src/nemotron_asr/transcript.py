"""Tokens with times -> words -> segments and events; and the `Transcript` of which every format is a function.

A segment ends at a language tag, after a pause, or when it has grown too long. All three depend on frames alone, not on
how the frames arrived, so a file and a stream are cut alike.
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nemotron_asr import subtitles
from nemotron_asr.config import FRAME_SECONDS
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.events import Event, Final, Partial, Segment, SpeechEnded, SpeechStarted, Word
from nemotron_asr.languages import AUTO
from nemotron_asr.tokenizer import SPACE, Tokenizer

PAUSE_FRAMES = 10
"""Blank frames after a token that end a segment: 800 ms."""

LONGEST_SEGMENT = 375
"""Frames after which a segment is cut at the next word: 30 s."""

_ONE_WORD_PER_CHARACTER = (
    (0x0E01, 0x0E5B),  # Thai
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFF66, 0xFF9D),  # half-width Katakana
    (0x20000, 0x3FFFF),  # Han, further extensions
)


@dataclass(frozen=True)
class Transcript:
    """What was said in one recording."""

    duration: float  # seconds of audio
    language: str | None
    segments: tuple[Segment, ...]
    file: str | None = None

    @property
    def text(self) -> str:
        """All segments as one text."""
        return "".join((" " if s.spaced else "") + s.text for s in self.segments).strip()

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    def to_dict(self) -> dict[str, Any]:
        """The transcript as `--format json` prints it."""
        return {
            "file": self.file,
            "duration": self.duration,
            "language": self.language,
            "text": self.text,
            "segments": [segment.to_dict() for segment in self.segments],
        }

    def to_srt(self) -> str:
        """SubRip subtitles."""
        return subtitles.to_srt(self.segments, self.duration)

    def to_vtt(self) -> str:
        """WebVTT subtitles with a time for every word."""
        return subtitles.to_vtt(self.segments, self.duration)


@dataclass
class TranscriptBuilder:
    """Turns the emissions of one stream into events; holds the current segment and nothing older.

    Attributes:
        tokenizer: names the pieces.
        language: the locale that was asked for, or "auto" to take it from the model's tags.
        keep_language_tags: leave the tags in the text, as the model wrote them.
        pause_frames: blank frames after a token that end a segment; none: no pause does.
        longest_frames: frames after which a segment is cut.
        detected: the last language that the model named.
    """

    tokenizer: Tokenizer
    language: str = AUTO
    keep_language_tags: bool = False
    pause_frames: int | None = PAUSE_FRAMES
    longest_frames: int = LONGEST_SEGMENT
    detected: str | None = None
    _tokens: list[Emission] = field(default_factory=list)
    _tag: str = ""
    _announced: bool = False
    _frame: int = 0
    _duration: float = math.inf

    def push(self, emissions: Sequence[Emission], frames: int, duration: float = math.inf) -> Iterator[Event]:
        """Take the tokens of newly decoded frames.

        Args:
            emissions: the tokens in order, `frame` counted from the start of the stream.
            frames: encoder frames decoded so far, these included.
            duration: seconds of audio, once that is known: no word lasts longer.
        """
        said, self._duration = False, duration
        for emission in emissions:
            tag = self.tokenizer.language_tags.get(emission.token)
            if self._tokens and self._cut_before(emission):
                yield from self._close()
            if tag is not None:
                self.detected, self._tag = tag, self.tokenizer.piece(emission.token)
                yield from self._close()
            else:
                self._tokens.append(emission)
            said = tag is None
        self._frame = frames
        if self._tokens and self._paused(frames - 1):
            yield from self._close()
        elif said:
            yield from self._open()

    def cut(self) -> Iterator[Event]:
        """End the segment here, whatever follows."""
        yield from self._close()

    def finish(self, duration: float) -> Iterator[Event]:
        """End the stream, which lasted `duration` seconds."""
        self._duration = duration
        yield from self._close()

    def _paused(self, frame: int) -> bool:
        """Whether nothing was said in the `pause_frames` up to `frame`."""
        return self.pause_frames is not None and frame - self._tokens[-1].frame >= self.pause_frames

    def _cut_before(self, emission: Emission) -> bool:
        if self._paused(emission.frame - 1):
            return True
        too_long = emission.frame - self._tokens[0].frame >= self.longest_frames
        return too_long and self.tokenizer.piece(emission.token).startswith(SPACE)

    def _open(self) -> Iterator[Event]:
        segment = self._segment(None)
        if segment is None:
            return
        yield from self._announce(segment)
        yield Partial(self._now, segment)

    def _announce(self, segment: Segment) -> Iterator[Event]:
        if not self._announced:
            self._announced = True
            yield SpeechStarted(segment.start)

    def _close(self) -> Iterator[Event]:
        segment = self._segment(self.detected if self._tag else None)
        if segment is not None:
            yield from self._announce(segment)
            yield Final(self._now, segment)
            yield SpeechEnded(segment.end)
        self._tokens, self._tag, self._announced = [], "", False

    @property
    def _now(self) -> float:
        return min(_seconds(self._frame), self._duration)

    def _segment(self, tag: str | None) -> Segment | None:
        """The current segment, or nothing when no word has been said."""
        characters = _characters(self.tokenizer, self._tokens)
        words = tuple(_words(characters, self._tokens, self._duration))
        if not words:
            return None
        text = "".join(character for character, _ in characters)
        shown = f"{text.strip()} {self._tag}" if self.keep_language_tags and self._tag else text.strip()
        language = tag if self.language == AUTO else self.language
        confidence = _confidence(self._tokens)
        return Segment(words[0].start, words[-1].end, shown, language, confidence, words, text.startswith(" "))


def _characters(tokenizer: Tokenizer, tokens: Sequence[Emission]) -> list[tuple[str, int]]:
    """Every character of the text with the index of the token that brought it."""
    return [(c, i) for i, token in enumerate(tokens) for c in tokenizer.text(token.token)]


def _alone(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in _ONE_WORD_PER_CHARACTER)


def _attaches(character: str) -> bool:
    """Whether a character belongs to the one before it: marks, and punctuation that does not open anything."""
    category = unicodedata.category(character)
    return category[0] in "MP" and category not in {"Ps", "Pi"}


def _opens(word: Sequence[tuple[str, int]]) -> bool:
    """Whether a word so far is nothing but opening punctuation, which belongs to what follows."""
    return all(unicodedata.category(character) in {"Ps", "Pi"} for character, _ in word)


def _words(characters: Sequence[tuple[str, int]], tokens: Sequence[Emission], duration: float) -> Iterator[Word]:
    """Cut at spaces, and around every character of a script that writes none."""
    word: list[tuple[str, int]] = []
    for character, token in characters:
        space = character.isspace()
        script_edge = not _attaches(character) and (_alone(character) or any(_alone(c) for c, _ in word))
        if word and (space or (script_edge and not _opens(word))):
            yield _word(word, tokens, duration)
            word = []
        if not space:
            word.append((character, token))
    if word:
        yield _word(word, tokens, duration)


def _word(characters: Sequence[tuple[str, int]], tokens: Sequence[Emission], duration: float) -> Word:
    spoken = tokens[characters[0][1] : characters[-1][1] + 1]
    start, end = _seconds(spoken[0].frame), _seconds(spoken[-1].frame + 1)
    return Word("".join(c for c, _ in characters), min(start, duration), min(end, duration), _confidence(spoken))


def _confidence(tokens: Sequence[Emission]) -> float:
    return round(math.exp(math.fsum(token.logprob for token in tokens) / len(tokens)), 4)


def _seconds(frame: int) -> float:
    return round(frame * FRAME_SECONDS, 3)


def collect(events: Sequence[Event], duration: float, detected: str | None, language: str) -> Transcript:
    """The transcript of a whole stream from its events.

    Args:
        events: all events of the stream; only the finals count.
        duration: seconds of audio.
        detected: the last language that the model named.
        language: the locale that was asked for, or "auto".
    """
    segments = tuple(event.segment for event in events if isinstance(event, Final))
    if not segments:
        return Transcript(duration, None, ())
    spoken: dict[str, int] = {}
    for segment in segments:
        if segment.language is not None:
            spoken[segment.language] = spoken.get(segment.language, 0) + len(segment.words)
    found = max(spoken, key=spoken.__getitem__, default=detected)
    return Transcript(duration, found if language == AUTO else language, segments)


def merge(channels: Sequence[Transcript]) -> Transcript:
    """One transcript of the channels of a recording: segments by time, each with its channel as the speaker.

    Its language is that of the channel which says most in one.
    """
    segments = [
        replace(segment, speaker=f"channel {number}", spaced=True)
        for number, channel in enumerate(channels)
        for segment in channel.segments
    ]
    named = max(channels, key=lambda channel: len(channel.words) if channel.language else -1)
    by_time = tuple(sorted(segments, key=lambda segment: segment.start))
    return Transcript(max(channel.duration for channel in channels), named.language, by_time)
