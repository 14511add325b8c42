"""Segments -> subtitles: SubRip and WebVTT, cut where people read.

A cue has at most two lines of 42 columns (a Chinese, Japanese or Korean character takes two) and lasts at most 7 s.
Where to cut is a shortest path over the words of a segment: few cues, ended by punctuation, of similar length.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise, zip_longest

from nemotron_asr.events import Segment

COLUMNS = 42
"""Width of a line."""

LONGEST_MS = 7_000
"""Time that a cue may stay."""

SHORTEST_MS = 1_000
"""Time that a cue stays at least, if the next one leaves room."""

_SENTENCE_END = ".!?。؟।॥"
_CLAUSE_END = ",;:、،؛·\N{EN DASH}\N{EM DASH}"
_TITLES = {"Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "St.", "Sr.", "Sra.", "Hr.", "Fr."}


@dataclass(frozen=True)
class _Piece:
    """What is never torn apart: a word, or a line's length of a longer one; with the space before it, if any."""

    text: str
    start: float  # seconds
    end: float

    @cached_property
    def columns(self) -> int:
        return _columns(self.text)

    @cached_property
    def reluctance(self) -> float:
        """What it costs to cut after this piece."""
        last = _last_mark(self.text)
        if last in _SENTENCE_END and self.text.strip() not in _TITLES:
            return 0.0
        return 1.0 if last in _CLAUSE_END else 3.0


@dataclass(frozen=True)
class _Cue:
    start: int  # milliseconds
    end: int
    lines: tuple[Sequence[_Piece], ...]


def to_srt(segments: Sequence[Segment]) -> str:
    """SubRip subtitles of a transcript's segments."""
    blocks = (
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n"
        + "\n".join(_text(line) for line in cue.lines)
        + "\n"
        for number, cue in enumerate(_cues(segments), 1)
    )
    return "\n".join(blocks)


def to_vtt(segments: Sequence[Segment]) -> str:
    """WebVTT subtitles of a transcript's segments, with a time before every word after the first of a cue."""
    blocks = (f"{_clock(cue.start)} --> {_clock(cue.end)}\n{_timed_text(cue)}\n" for cue in _cues(segments))
    return "\n".join(["WEBVTT\n", *blocks])


def _timed_text(cue: _Cue) -> str:
    """The cue's lines, escaped; WebVTT wants times that rise and lie inside the cue."""
    lines, clock = [], cue.start
    for line in cue.lines:
        text = ""
        for piece in line:
            word = piece.text.lstrip()
            text += piece.text[: len(piece.text) - len(word)] if text else ""
            if clock < (start := _milliseconds(piece.start)) < cue.end:
                text += f"<{_clock(start)}>"
                clock = start
            text += word.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        lines.append(text)
    return "\n".join(lines)


def _cues(segments: Iterable[Segment]) -> list[_Cue]:
    """All cues, one after the other: starts rise, and each ends when the next one starts at the latest."""
    groups = [group for segment in segments for group in _groups(list(_pieces(segment)))]
    starts: list[int] = []
    for group in groups:
        starts.append(max(_milliseconds(group[0].start), starts[-1] + 1 if starts else 0))
    return [
        _Cue(start, _end(start, group, limit), _lines(group))
        for group, start, limit in zip_longest(groups, starts, starts[1:])
    ]


def _end(start: int, group: Sequence[_Piece], limit: int | None) -> int:
    """When a cue ends; only one that another follows may stay longer than its words."""
    end = max(_milliseconds(group[-1].end), start + 1)
    if limit is not None:
        end = min(max(end, start + SHORTEST_MS), limit)
    return min(end, start + LONGEST_MS)


def _pieces(segment: Segment) -> Iterator[_Piece]:
    """Cut a segment's text along its words; what follows the last one, a language tag, is a piece of its own."""
    position, clock = 0, segment.start
    for word in segment.words:
        end = segment.text.index(word.word, position) + len(word.word)
        yield from _short_pieces(segment.text[position:end], word.start, word.end)
        position, clock = end, word.end
    yield from _short_pieces(segment.text[position:], clock, segment.end)


def _short_pieces(text: str, start: float, end: float) -> Iterator[_Piece]:
    """One piece, or several if it does not fit on a line, the time divided evenly among them; none for mere space."""
    runs, columns = [" " if text[:1].isspace() else ""], 0
    for character in " ".join(text.split()):
        columns += _columns(character)
        if columns > COLUMNS:
            runs.append("")
            columns = _columns(character)
        runs[-1] += character
    step = (end - start) / len(runs)
    for i, run in enumerate(runs):
        if run.strip():
            yield _Piece(run, start + i * step, start + (i + 1) * step)


def _groups(pieces: Sequence[_Piece]) -> list[Sequence[_Piece]]:
    """Cut a segment's pieces into cues at the least cost."""
    cost, cut = [0.0], [0]
    for end in range(1, len(pieces) + 1):
        best = min(_group_costs(pieces, end, cost))
        cost.append(best[0])
        cut.append(best[1])
    ends = [len(pieces)]
    while ends[-1]:
        ends.append(cut[ends[-1]])
    return [pieces[start:end] for start, end in pairwise(reversed(ends))]


def _group_costs(pieces: Sequence[_Piece], end: int, cost: Sequence[float]) -> Iterator[tuple[float, int]]:
    """What it costs to end a cue after `end` pieces, for each place where it may start."""
    reluctance = 0.0 if end == len(pieces) else pieces[end - 1].reluctance
    for start in range(end - 1, -1, -1):
        group = pieces[start:end]
        if start < end - 1 and not _fits(group):
            return
        fill = _width(group) / (2 * COLUMNS)
        yield cost[start] + 1 + reluctance + fill**2, start


def _fits(group: Sequence[_Piece]) -> bool:
    """Whether a cue holds a group: its time, and its columns when the first line takes all that it can."""
    if group[-1].end - group[0].start > LONGEST_MS / 1000:
        return False
    columns = accumulate((piece.columns for piece in group), initial=-_indent(group))
    second = bisect_right(list(columns), COLUMNS) - 1
    return second == len(group) or _width(group[second:]) <= COLUMNS


def _lines(group: Sequence[_Piece]) -> tuple[Sequence[_Piece], ...]:
    """Lay a group out on one line, or on two, cut where it reads best."""
    if _width(group) <= COLUMNS:
        return (group,)
    layouts = ((group[:cut], group[cut:]) for cut in range(1, len(group)))
    return min((layout for layout in layouts if max(map(_width, layout)) <= COLUMNS), key=_unsightliness)


def _unsightliness(lines: tuple[Sequence[_Piece], Sequence[_Piece]]) -> float:
    upper, lower = lines
    return upper[-1].reluctance / 3 + ((_width(upper) - _width(lower)) / COLUMNS) ** 2


def _width(line: Sequence[_Piece]) -> int:
    return sum(piece.columns for piece in line) - _indent(line)


def _indent(line: Sequence[_Piece]) -> int:
    """Columns of the space before a line's first word, which is not shown."""
    return int(line[0].text.startswith(" "))


def _text(line: Sequence[_Piece]) -> str:
    return "".join(piece.text for piece in line).strip()


def _last_mark(text: str) -> str:
    """The last character that is no closing quote or bracket, a wide or narrow form as the usual one."""
    inner = (c for c in reversed(text) if c not in "\"'" and unicodedata.category(c) not in {"Pe", "Pf"})
    return unicodedata.normalize("NFKC", next(inner, "_"))[-1]


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1 for character in text)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(milliseconds: int, point: str = ".") -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{thousandths:03}"
