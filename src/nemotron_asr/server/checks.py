"""Options as they come from outside, before the engine sees them: known names, and values of the right type."""

from collections.abc import Mapping
from typing import Any

from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import OptionError
from nemotron_asr.languages import AUTO, without_region
from nemotron_asr.options import Options, check_types
from nemotron_asr.server.problems import invalid

KNOWN = tuple(name for name in Options.__annotations__ if name not in {"lm", "lm_weight", "postprocess"})
"""Options that a client may give. No files of this machine are among them, and no functions."""

OURS = ("latency_ms", "longest_segment_ms")
"""Numbers that the clients of other protocols may give beside what is theirs."""

OURS_AND_PAUSE = (*OURS, "endpointing_ms")
"""The same where the protocol has no silence of its own that ends speech."""

LEAST_PAUSE_MS = 300
"""The least silence that ends speech. Ours is between words, where others' 10 ms follow a voice detector."""

MOST_DIGITS = 12
"""Of a number among options: longer ones are cut off, and still beyond all limits."""


def check_names_and_types(options: Mapping[str, Any]) -> None:
    """Look at names and types; whether a value is offered, the engine says.

    Raises:
        Problem: a name is unknown, or a value of another type.
    """
    for name, value in options.items():
        if name not in KNOWN:
            raise invalid(f"option {name!r} is unknown; choose {', '.join(KNOWN)}", name)
        try:
            check_types({name: value})
        except OptionError as error:
            raise invalid(str(error), name) from None


def language_asked(name: str) -> str:
    """The language that a client of another protocol asks for; nothing, and `multi`, have the model find out."""
    return AUTO if name.lower() in {"", "multi", AUTO} else name


def without_regions(options: Mapping[str, Any], config: ModelConfig) -> dict[str, Any]:
    """Options for a model that does not have the regions which others have: `en` where `en-AU` is asked for."""
    known = dict(options)
    if "language" in options:
        known["language"] = without_region(options["language"], config)
    if "languages" in options:
        known["languages"] = [without_region(language, config) for language in options["languages"]]
    return known


def numbers(values: Mapping[str, str], names: tuple[str, ...]) -> dict[str, int]:
    """Those of the whole numbers that are given.

    Raises:
        Problem: one is none.
    """
    return {name: number(values, name, 0) for name in names if name in values}


def flag(values: Mapping[str, str], name: str, default: bool = False) -> bool:
    """A yes or no among the options of a request.

    Raises:
        Problem: it is neither.
    """
    value = values.get(name, str(default)).lower()
    if value in {"true", "1", "yes", "on", ""}:
        return True
    if value in {"false", "0", "no", "off"}:
        return False
    raise invalid(f"{name} is {value!r}; choose true or false", name)


def number(values: Mapping[str, str], name: str, default: int) -> int:
    """A whole number among the options of a request.

    Raises:
        Problem: it is none.
    """
    value = values.get(name, str(default))
    try:
        return int(value[:MOST_DIGITS])
    except ValueError:
        raise invalid(f"{name} is {value[:40]!r}, not a whole number", name) from None
