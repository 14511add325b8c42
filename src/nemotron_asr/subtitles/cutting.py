"""A segment -> what its cues hold, each on one line or two.

Where to cut is a shortest path over the words: few cues, ended by punctuation or a pause, of similar length, and no
shorter on the screen than it takes to read them.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from nemotron_asr.events import Segment

COLUMNS = 42
"""Width of a line."""

SPEED = 17
"""Columns a second that are read with ease."""

SHORTEST, LONGEST = 1.0, 7.0
"""Seconds that a cue stays: at least, if the next one leaves room; at most."""

_SENTENCE_END = ".!?。؟।॥"
_CLAUSE_END = ",;:、،؛·\N{EN DASH}\N{EM DASH}"
_NEVER_FIRST = frozenset("ーっゃゅょぁぃぅぇぉゎッャュョァィゥェォヮヵヶ々ゝゞヽヾ")
_TITLES = {"Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "St.", "Sr.", "Sra.", "Hr.", "Fr."}


@dataclass(frozen=True)
class Piece:
    """What is never torn apart: a word or words, or a line's length of a long one; with the space before it, if any."""

    text: str
    start: float  # seconds
    end: float

    @cached_property
    def columns(self) -> int:
        """Its width."""
        return columns(self.text)

    @cached_property
    def reluctance(self) -> float:
        """What it costs to cut after this piece."""
        last = _last_mark(self.text)
        if last in _SENTENCE_END and self.text.strip() not in _TITLES:
            return 0.0
        return 1.0 if last in _CLAUSE_END else 3.0


@dataclass(frozen=True)
class Frame:
    """What the cues of a segment have to fit in.

    Attributes:
        lines: one or two.
        label: columns of the speaker's name before the first line.
        until: seconds at which something else is shown.
    """

    lines: int
    label: int
    until: float


def cut(segment: Segment, frame: Frame) -> list[tuple[Sequence[Piece], ...]]:
    """The lines of each cue of a segment."""
    limit = COLUMNS - frame.label
    pieces = _joined(_pieces(segment, limit), limit)
    return [_lines(group, frame) for group in _groups(pieces, frame)]


def reading_time(pieces: Sequence[Piece]) -> float:
    """Seconds that a cue should stay."""
    return max(SHORTEST, _width(pieces) / SPEED)


def _pieces(segment: Segment, limit: int) -> Iterator[Piece]:
    """Cut a segment's text along its words; what follows the last one, a language tag, is a piece of its own."""
    position, clock = 0, segment.start
    for word in segment.words:
        end = segment.text.index(word.word, position) + len(word.word)
        yield from _short_pieces(segment.text[position:end], word.start, word.end, limit)
        position, clock = end, word.end
    yield from _short_pieces(segment.text[position:], clock, segment.end, limit)


def _short_pieces(text: str, start: float, end: float, limit: int) -> Iterator[Piece]:
    """One piece, or several if it has more columns, the time divided evenly among them; none for mere space."""
    runs, width = [" " if text[:1].isspace() else ""], 0
    for character in " ".join(text.split()):
        width += columns(character)
        if width > limit:
            runs.append("")
            width = columns(character)
        runs[-1] += character
    step = (end - start) / len(runs)
    for i, run in enumerate(runs):
        if run.strip():
            yield Piece(run, start + i * step, start + (i + 1) * step)


def _joined(pieces: Iterable[Piece], limit: int) -> list[Piece]:
    """Join what must not begin a line, such as a small kana, to what is before it, where a line holds both."""
    joined: list[Piece] = []
    for piece in pieces:
        together = [*joined[-1:], piece]
        fits = _width(together) <= limit and piece.end - together[0].start <= LONGEST
        if piece.text[0] in _NEVER_FIRST and fits:
            joined[-1:] = [Piece("".join(each.text for each in together), together[0].start, piece.end)]
        else:
            joined.append(piece)
    return joined


def _groups(pieces: Sequence[Piece], frame: Frame) -> list[Sequence[Piece]]:
    """Cut a segment's pieces into cues at the least cost."""
    cost, start = [0.0], [0]
    for end in range(1, len(pieces) + 1):
        best = min(_group_costs(pieces, end, cost, frame))
        cost.append(best[0])
        start.append(best[1])
    ends = [len(pieces)]
    while ends[-1]:
        ends.append(start[ends[-1]])
    return [pieces[first:last] for first, last in pairwise(reversed(ends))]


def _group_costs(pieces: Sequence[Piece], end: int, cost: Sequence[float], frame: Frame) -> Iterator[tuple[float, int]]:
    """What it costs to end a cue after `end` pieces, for each place where it may start."""
    last, following = pieces[end - 1], pieces[end].start if end < len(pieces) else frame.until
    reluctance = last.reluctance / (1 + 2 * max(0.0, following - last.end)) if end < len(pieces) else 0.0
    for start in range(end - 1, -1, -1):
        group = pieces[start:end]
        if start < end - 1 and not _fits(group, frame):
            return
        fill = (frame.label + _width(group)) / (frame.lines * COLUMNS)
        shown = min(max(following, last.end) - group[0].start, LONGEST)
        lacking = max(0.0, reading_time(group) - shown)
        yield cost[start] + 1 + reluctance + fill**2 + 2 * lacking, start


def _fits(group: Sequence[Piece], frame: Frame) -> bool:
    """Whether a cue holds a group: its time, and its columns when the first line takes all that it can."""
    if group[-1].end - group[0].start > LONGEST:
        return False
    widths = accumulate((piece.columns for piece in group), initial=frame.label - _indent(group))
    second = bisect_right(list(widths), COLUMNS) - 1
    return second == len(group) or (frame.lines == 2 and _width(group[second:]) <= COLUMNS)


def _lines(group: Sequence[Piece], frame: Frame) -> tuple[Sequence[Piece], ...]:
    """Lay a group out on one line, or on two, cut where it reads best."""
    if frame.label + _width(group) <= COLUMNS:
        return (group,)
    layouts = ((group[:cut], group[cut:]) for cut in range(1, len(group)))
    fitting = (
        (upper, lower)
        for upper, lower in layouts
        if frame.label + _width(upper) <= COLUMNS and _width(lower) <= COLUMNS
    )
    return min(fitting, key=_unsightliness)


def _unsightliness(lines: tuple[Sequence[Piece], Sequence[Piece]]) -> float:
    upper, lower = lines
    return upper[-1].reluctance / 3 + ((_width(upper) - _width(lower)) / COLUMNS) ** 2


def _width(line: Sequence[Piece]) -> int:
    return sum(piece.columns for piece in line) - _indent(line)


def _indent(line: Sequence[Piece]) -> int:
    """Columns of the space before a line's first word, which is not shown."""
    return int(line[0].text.startswith(" "))


def columns(text: str) -> int:
    """Columns of a text: a Chinese, Japanese or Korean character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1 for character in text)


def milliseconds(seconds: float) -> int:
    """Whole milliseconds."""
    return round(seconds * 1000)


def _last_mark(text: str) -> str:
    """The last character that is no closing quote or bracket, a wide or narrow form as the usual one."""
    inner = (c for c in reversed(text) if c not in "\"'" and unicodedata.category(c) not in {"Pe", "Pf"})
    return unicodedata.normalize("NFKC", next(inner, "_"))[-1]
