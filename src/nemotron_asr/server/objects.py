"""JSON objects of strangers: every message and body goes through here, whatever the protocol."""

import json
import math
from typing import Any, TypeVar

from nemotron_asr.server.problems import Kind, Problem, invalid

T = TypeVar("T")

Message = dict[str, Any]

LARGEST = 32 << 20
"""Bytes of an object: some hundred hours of transcript. Messages have limits of their own before that."""

DEEPEST = 32
"""Objects and lists within each other; what works on them goes down once for each."""

_WIDEST = 63
"""Bits of a whole number."""

_CALLED: dict[type, str] = {int: "a whole number", str: "a string", list: "a list"}


def object_of(data: str | bytes, what: str = "the message", most: int = LARGEST) -> Message:
    """A message, or a body.

    Args:
        data: text, or text in UTF-8.
        what: it is, for the user.
        most: bytes, or characters, that it may have.

    Raises:
        Problem: it is too long, or not a JSON object whose texts can be written and whose numbers are finite.
    """
    if len(data) > most:
        raise Problem(Kind.TOO_LARGE, f"{what} has {len(data)} bytes; {most} is the limit")
    try:
        text = data if isinstance(data, str) else data.decode()
        content = _DECODER.decode(text)
        if "\\u" in text:
            _dump(content).encode()  # half of a character, as JSON can escape it, is none
    except UnicodeError:
        raise invalid(f"{what} is not text in UTF-8") from None
    except ValueError as error:
        raise invalid(f"{what} is not JSON{_reason(error)}") from None
    except RecursionError:
        raise _too_deep(what) from None
    if not isinstance(content, dict):
        raise invalid(f"{what} is not a JSON object")
    if _deeper(content, DEEPEST):
        raise _too_deep(what)
    return content


def typed(value: Any, kind: type[T], where: str) -> T:
    """A value in an object, which must be of a type.

    Args:
        value: what there is.
        kind: int, str or list.
        where: its name; before it, with dots, those of the objects that it is in.

    Raises:
        Problem: it is of another type.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise invalid(f"{where.rpartition('.')[2]} is {value!r}, not {_CALLED[kind]}"[:200], where)
    return value


def inner(value: Any, where: str) -> Message:
    """An object in an object; an empty one if there is none.

    Raises:
        Problem: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{where} is not an object", where)
    return value


def _dump(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False)


def _reason(error: ValueError) -> str:
    return "" if isinstance(error, json.JSONDecodeError) else f": {error}"


def _too_deep(what: str) -> Problem:
    return invalid(f"{what} is nested too deeply; {DEEPEST} levels are the limit")


def _deeper(content: Message | list[Any], levels: int) -> bool:
    """Whether there is anything below so many levels."""
    inner = content.values() if isinstance(content, dict) else content
    return levels == 0 or any(_deeper(each, levels - 1) for each in inner if isinstance(each, dict | list))


def _whole(digits: str) -> int:
    number = int(digits) if len(digits) <= _WIDEST else 1 << _WIDEST
    if number.bit_length() > _WIDEST:
        raise ValueError("a number is too large")
    return number


def _real(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_real, parse_constant=_no_number)
