"""Options as they come from outside, before the engine sees them: known names, and values of the right type."""

from collections.abc import Mapping
from typing import Any

from nemotron_asr.errors import OptionError
from nemotron_asr.options import Options, check_types
from nemotron_asr.server.problems import invalid

KNOWN = tuple(name for name in Options.__annotations__ if name not in {"lm", "lm_weight", "postprocess"})
"""Options that a client may give. No files of this machine are among them, and no functions."""


def check_options(options: Mapping[str, Any]) -> None:
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
