"""Options as they come from outside, before the engine sees them: known names, and values of the right type."""

from collections.abc import Callable, Mapping
from typing import Any

from nemotron_asr.server.problems import invalid


def check_options(options: Mapping[str, Any]) -> None:
    """Look at names and types; whether a value is offered, the engine says.

    Raises:
        Problem: a name is unknown, or a value of another type.
    """
    for name, value in options.items():
        if name not in KNOWN:
            raise invalid(f"option {name!r} is unknown; choose {', '.join(KNOWN)}", name)
        fits, meant = _TYPES[name]
        if not fits(value):
            raise invalid(f"{name} is {value!r}, not {meant}"[:200], name)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _yes_or_no(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole_or_none(value: Any) -> bool:
    return value is None or _whole(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_text, value))


def _weights(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return _texts(value)
    return all(map(_text, value)) and all(_whole(weight) or isinstance(weight, float) for weight in value.values())


_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "language": (_text, "a string"),
    "languages": (_texts, "a list of strings"),
    "latency_ms": (_whole, "a whole number"),
    "boost": (_weights, "a list of phrases, or phrases with weights"),
    "beam": (_whole, "a whole number"),
    "endpointing_ms": (_whole_or_none, "a whole number or none"),
    "longest_segment_ms": (_whole, "a whole number"),
    "vad": (_yes_or_no, "true or false"),
    "keep_language_tags": (_yes_or_no, "true or false"),
}

KNOWN = tuple(_TYPES)
"""Options that a client may give. No files of this machine are among them, and no functions."""
