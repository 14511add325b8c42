"""How a stream or a recording is to be heard, as its user says it."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any, TypedDict

from nemotron_asr.errors import OptionError
from nemotron_asr.postprocess import Postprocess

LIVE_MS, RECORDING_MS = 320, 1120
"""The latency of live streams and of recordings, unless asked otherwise."""

PAUSE_MS = 800
"""Silence after speech that ends a segment, unless asked otherwise."""

LONGEST_SEGMENT_MS = 30_000
"""Speech after which a segment is cut, unless asked otherwise."""


class Options(TypedDict, total=False):
    """Keyword arguments of `transcribe`, `transcribe_many`, `stream` and `Engine.open`; all of them have defaults.

    Attributes:
        language: a locale or alias, or "auto" (the default) to have the model find out.
        languages: with "auto", the only ones that it may find; one alone is the same as giving it as `language`.
        latency_ms: 80, 160, 320, 560 or 1120: how much audio is heard at a time. More gives better words; the released
            model was not trained on 160. The default is 1120 for recordings, 320 for live streams.
        boost: phrases that are likely, with weights, either {"Nemotron": 2.0} or ["Nemotron:2", "Parakeet"]; the usual
            weight is 1, and 0 has no effect.
        beam: hypotheses that are followed at a time, from 1 (the default), which is greedy search, to 16. More give
            better words, some of them later, and cost more.
        lm: an ARPA file, a word n-gram model that the beam listens to as well, which is then 4 unless it is given.
        lm_weight: how much it counts, 0.2 by default.
        endpointing_ms: silence after speech that ends a segment, 800 by default; None: only `finalize` and the longest
            segment do.
        longest_segment_ms: speech after which a segment is cut, 30,000 by default.
        vad: listen to where somebody speaks: speech begins and ends with the voice, and words far from any are left
            out. It is off by default, and needs the extra `vad`.
        keep_language_tags: leave the model's language tags in the text; they are taken out by default.
        postprocess: what changes finished segments, a function or one for each language; see `postprocess`.
    """

    language: str
    languages: Sequence[str]
    latency_ms: int
    boost: Mapping[str, float] | Sequence[str]
    beam: int
    lm: str | PathLike[str] | None
    lm_weight: float
    endpointing_ms: int | None
    longest_segment_ms: int
    vad: bool
    keep_language_tags: bool
    postprocess: Postprocess | None


def check_types(options: Mapping[str, Any]) -> None:
    """Look at names and types; whether a value is offered, the engine says.

    Raises:
        OptionError: a name is unknown, or a value of another type.
    """
    for name, value in options.items():
        if name not in _TYPES:
            raise OptionError(f"option {name!r} is unknown; choose {', '.join(_TYPES)}")
        fits, meant = _TYPES[name]
        if not fits(value):
            raise OptionError(f"{name} is {value!r}, not {meant}"[:200], name)


def check_count(name: str, value: Any) -> None:
    """Look at how many of something are wanted.

    Raises:
        OptionError: no whole number, or less than 1.
    """
    if not _whole(value):
        raise OptionError(f"{name} is {value!r}, not a whole number"[:200])
    if value < 1:
        raise OptionError(f"{name} {value} is too small; it must be at least 1")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _yes_or_no(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _whole_or_none(value: Any) -> bool:
    return value is None or _whole(value)


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, Sequence | set | frozenset) and not _text(value) and all(map(_text, value))


def _weights(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_text, value)) and all(map(_number, value.values()))
    return _text(value) or _texts(value)


def _steps(value: Any) -> bool:
    return value is None or all(map(callable, value.values() if isinstance(value, Mapping) else [value]))


_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "language": (_text, "a string"),
    "languages": (_texts, "a list of strings"),
    "latency_ms": (_whole, "a whole number"),
    "boost": (_weights, "a list of phrases, or phrases with weights"),
    "beam": (_whole, "a whole number"),
    "lm": (lambda value: value is None or isinstance(value, str | PathLike), "the path of a file"),
    "lm_weight": (_number, "a number"),
    "endpointing_ms": (_whole_or_none, "a whole number or none"),
    "longest_segment_ms": (_whole, "a whole number"),
    "vad": (_yes_or_no, "true or false"),
    "keep_language_tags": (_yes_or_no, "true or false"),
    "postprocess": (_steps, "a function, or one for each language"),
}
