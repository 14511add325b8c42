"""Segments -> subtitles: SubRip and WebVTT, cut where people read.

    cutting.py   a segment -> pieces for one cue each, on one or two lines
    cues.py      all segments -> cues one after the other, with times; who speaks

A cue has at most two lines of 42 columns (a Chinese, Japanese or Korean character takes two) and lasts at most 7 s;
where the next one leaves room, it stays until it can be read at 17 columns a second.
"""

from collections.abc import Sequence

from nemotron_asr.events import Segment
from nemotron_asr.subtitles.cues import Cue, Turn, label, make_cues
from nemotron_asr.subtitles.cutting import Piece, milliseconds

__all__ = ["to_srt", "to_vtt"]


def to_srt(segments: Sequence[Segment], duration: float | None = None) -> str:
    """SubRip subtitles of a transcript's segments; where there are speakers, each turn begins with its speaker.

    Args:
        segments: in the order of their starts.
        duration: seconds of audio, until which the last cue may stay; by default it ends with its words.
    """
    blocks = (
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_text(cue)}\n"
        for number, cue in enumerate(make_cues(segments, duration), 1)
    )
    return "\n".join(blocks)


def to_vtt(segments: Sequence[Segment], duration: float | None = None) -> str:
    """WebVTT subtitles of a transcript's segments, with a time before every word after the first of a cue.

    Arguments as for `to_srt`; where there are speakers, each turn is a voice span.
    """
    cues = make_cues(segments, duration)
    blocks = (f"{_clock(cue.start)} --> {_clock(cue.end)}\n{_timed_text(cue)}\n" for cue in cues)
    return "\n".join(["WEBVTT\n", *blocks])


def _text(cue: Cue) -> str:
    return "\n".join(label(turn.speaker) + "\n".join(map(_line, turn.lines)) for turn in cue.turns)


def _line(line: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in line).strip()


def _timed_text(cue: Cue) -> str:
    """The cue's lines, escaped; WebVTT wants times that rise and lie inside the cue."""
    turns, clock = [], cue.start
    for turn in cue.turns:
        lines = []
        for line in turn.lines:
            text = ""
            for piece in line:
                word = piece.text.lstrip()
                text += piece.text[: len(piece.text) - len(word)] if text else ""
                if clock < (start := milliseconds(piece.start)) < cue.end:
                    text += f"<{_clock(start)}>"
                    clock = start
                text += _escaped(word)
            lines.append(text)
        turns.append(_voice(turn, "\n".join(lines)))
    return "\n".join(turns)


def _voice(turn: Turn, text: str) -> str:
    return text if turn.speaker is None else f"<v {_escaped(turn.speaker)}>{text}</v>"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(milliseconds: int, point: str = ".") -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{thousandths:03}"
