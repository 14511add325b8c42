"""What was said in one recording: the value of which every output format is a function."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nemotron_asr import subtitles
from nemotron_asr.events import Event, Final, Segment, Word
from nemotron_asr.languages import AUTO
from nemotron_asr.transcript.words import within


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
        return "".join((" " if s.spaced else "") + s.text for s in self.segments if s.text).strip()

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


def collect(events: Sequence[Event], duration: float, detected: str | None, language: str) -> Transcript:
    """The transcript of a whole stream from its events.

    Args:
        events: all events of the stream; only the finals count.
        duration: seconds of audio.
        detected: the last language that the model named.
        language: the locale that was asked for, or "auto".
    """
    segments: list[Segment] = []
    for event in events:
        if isinstance(event, Final):
            segments.append(_within(event.segment, segments[-1].end if segments else 0.0, duration))
    if not segments:
        return Transcript(duration, None, ())
    spoken: dict[str, int] = {}
    for segment in segments:
        if segment.language is not None:
            spoken[segment.language] = spoken.get(segment.language, 0) + len(segment.words)
    found = max(spoken, key=spoken.__getitem__, default=detected)
    return Transcript(duration, found if language == AUTO else language, tuple(segments))


def _within(segment: Segment, earliest: float, duration: float) -> Segment:
    """A segment cut off at the end of the audio, which its last frame may reach beyond.

    The model can decode that frame before it knows that no audio follows. Without this a transcript's last times would
    depend on which came first.
    """
    others = tuple(replace(o, segment=_within(o.segment, earliest, duration)) for o in segment.alternatives)
    words = tuple(within(segment.words, earliest, duration))
    times = (words[0].start, words[-1].end) if words else (segment.start, segment.end)
    start, end = (min(seconds, duration) for seconds in times)
    return replace(segment, start=start, end=end, words=words, alternatives=others)


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
