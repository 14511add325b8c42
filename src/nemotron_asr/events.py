"""What is said upward: the one vocabulary of words and events that every adapter translates from. Times in seconds."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Word:
    """A word as its script has it: between spaces, or one character in Chinese, Japanese and Thai."""

    word: str
    start: float
    end: float
    confidence: float  # how sure the model was of its least sure token, between 0 and 1
    language: str | None = None  # its segment's, which a partial may not have yet

    def to_dict(self) -> dict[str, Any]:
        """The word as in `--format json`, where its segment says the language."""
        return {"word": self.word, "start": self.start, "end": self.end, "confidence": self.confidence}


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said between two pauses or language tags."""

    start: float
    end: float
    text: str
    language: str | None  # None: the model named none
    confidence: float  # mean of the words': about the share of them that is right
    words: tuple[Word, ...]
    spaced: bool = True  # a space separates it from the segment before
    speaker: str | None = None  # e.g. "channel 0" where channels are heard one by one
    language_confidence: float | None = None  # the model's probability of the language; None: it was given, or unnamed
    alternatives: tuple["Alternative", ...] = ()  # of a final, where a beam was searched: the likeliest first

    def to_dict(self) -> dict[str, Any]:
        """The segment as in `--format json`, whose names are fixed; without a speaker if there is none."""
        content: dict[str, Any] = {
            "start": self.start, "end": self.end, "text": self.text, "language": self.language,
            "confidence": self.confidence, "words": [word.to_dict() for word in self.words],
        }  # fmt: skip
        return content if self.speaker is None else content | {"speaker": self.speaker}


@dataclass(frozen=True, slots=True)
class Alternative:
    """What a segment may have said instead: it differs in one place."""

    score: float  # natural logarithm of its probability against the segment's own
    segment: Segment


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody began to speak; `SpeechEnded` follows, with any number of finals in between."""

    type: ClassVar[Literal["speech_started"]] = "speech_started"
    time: float  # start of the first word; with voice activity, of the voice

    def to_dict(self) -> dict[str, Any]:
        """The event as one JSON line."""
        return {"type": self.type, "time": self.time}


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Nobody speaks any more: there was silence, or the stream or `finalize` ended it."""

    type: ClassVar[Literal["speech_ended"]] = "speech_ended"
    time: float  # end of the last word; with voice activity, of the voice

    def to_dict(self) -> dict[str, Any]:
        """The event as one JSON line."""
        return {"type": self.type, "time": self.time}


@dataclass(frozen=True, slots=True)
class Partial:
    """The whole current segment so far; within a segment its text only grows."""

    type: ClassVar[Literal["partial"]] = "partial"
    time: float  # how much of the stream has been decoded
    segment: Segment

    def to_dict(self) -> dict[str, Any]:
        """The event as one JSON line."""
        return {"type": self.type, "time": self.time, **self.segment.to_dict()}


@dataclass(frozen=True, slots=True)
class Final:
    """A segment that will not change."""

    type: ClassVar[Literal["final"]] = "final"
    time: float  # how much of the stream has been decoded
    segment: Segment

    def to_dict(self) -> dict[str, Any]:
        """The event as one JSON line."""
        return {"type": self.type, "time": self.time, **self.segment.to_dict()}


Event = SpeechStarted | Partial | Final | SpeechEnded
