"""All segments -> cues one after the other: when each comes and goes, and who speaks in it."""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nemotron_asr.events import Segment
from nemotron_asr.subtitles.cutting import LONGEST, Frame, Piece, columns, cut, milliseconds, reading_time

LABEL = 16
"""Characters of a speaker's name that are shown."""


@dataclass(frozen=True)
class Turn:
    """What one speaker says in a cue, on one or two lines."""

    speaker: str | None
    lines: tuple[Sequence[Piece], ...]

    @property
    def start(self) -> float:
        """When its first word is said."""
        return self.lines[0][0].start

    @property
    def end(self) -> float:
        """When its last word ends."""
        return self.lines[-1][-1].end

    @property
    def reading_time(self) -> float:
        """Seconds that it takes to read."""
        return reading_time([piece for line in self.lines for piece in line])


@dataclass(frozen=True)
class Cue:
    """What is shown at once, times in milliseconds; two turns are two speakers with a line each."""

    start: int
    end: int
    turns: tuple[Turn, ...]


def label(speaker: str | None) -> str:
    """What stands before a speaker's words."""
    return "" if speaker is None else f"{speaker[:LABEL]}: "


def make_cues(segments: Sequence[Segment], duration: float | None) -> list[Cue]:
    """All cues, one after the other: starts rise, and each ends when the next one starts at the latest.

    Args:
        segments: in the order of their starts; those of one speaker do not overlap.
        duration: seconds of audio, until which the last cue may stay; None: it ends with its words.
    """
    shown = list(_dialogues(_turns(segments, duration)))
    starts: list[int] = []
    for turns in shown:
        starts.append(max(milliseconds(turns[0].start), starts[-1] + 1 if starts else 0))
    limits = [*starts[1:], None if duration is None else milliseconds(duration)]
    return [
        Cue(start, _end(start, turns, limit), turns) for turns, start, limit in zip(shown, starts, limits, strict=False)
    ]


def _end(start: int, turns: Sequence[Turn], limit: int | None) -> int:
    """When a cue ends: with its words, or when it has been read if that is later and there is room."""
    end = milliseconds(max(turn.end for turn in turns))
    if limit is not None:
        needed = milliseconds(math.fsum(turn.reading_time for turn in turns))
        end = min(max(end, start + needed), limit)
    return min(max(end, start + 1), start + milliseconds(LONGEST))


def _turns(segments: Sequence[Segment], duration: float | None) -> Iterator[Turn]:
    """The turns of all speakers, those of each in their order."""
    following = [segment.start for segment in segments[1:]] + [math.inf if duration is None else duration]
    turns: dict[str | None, list[Turn]] = {}
    for segment, until, alone in zip(segments, following, _alone(segments), strict=False):
        frame = Frame(2 if alone else 1, columns(label(segment.speaker)), until)
        turns.setdefault(segment.speaker, []).extend(Turn(segment.speaker, lines) for lines in cut(segment, frame))
    return heapq.merge(*turns.values(), key=lambda turn: turn.start)


def _alone(segments: Sequence[Segment]) -> list[bool]:
    """Whether nobody else speaks during a segment."""
    alone = [True] * len(segments)
    latest: dict[str | None, int] = {}  # of each speaker
    for number, segment in enumerate(segments):
        for other in latest.values():
            if segments[other].speaker != segment.speaker and segments[other].end > segment.start:
                alone[number] = alone[other] = False
        latest[segment.speaker] = number
    return alone


def _dialogues(turns: Iterable[Turn]) -> Iterator[tuple[Turn, ...]]:
    """Show two speakers together, a line each, when the second one does not wait until the first has been read."""
    held: Turn | None = None
    for turn in turns:
        if held and held.speaker != turn.speaker and len(held.lines) == len(turn.lines) == 1 and _hurried(held, turn):
            yield held, turn
            held = None
        else:
            if held:
                yield (held,)
            held = turn
    if held:
        yield (held,)


def _hurried(one: Turn, other: Turn) -> bool:
    return other.start < one.start + one.reading_time and other.end <= one.start + LONGEST
