"""Wyoming's events as they come in: a line of JSON, more JSON, bytes; each within limits, and of the right type.

The `wyoming` package's own reader believes every length that it is told.
"""

import asyncio
from typing import Any

from wyoming.event import Event

from nemotron_asr.options import PAUSE_MS
from nemotron_asr.server.formats import AudioFormat
from nemotron_asr.server.objects import object_of, typed
from nemotron_asr.server.problems import Kind, Problem, invalid
from nemotron_asr.server.settings import Settings

LONGEST_LINE = 1 << 16
"""Bytes of an event's first line."""

NAME_WEIGHT, TERM_WEIGHT = 1.0, 0.5
"""How likely `transcript_names` are, and `transcript_terms`, which the protocol puts behind them."""

_WIDTHS = {1: "u8", 2: "s16le", 3: "s24le", 4: "s32le"}
_PAUSES = {"default": PAUSE_MS, "relaxed": 1250, "aggressive": 400}


async def read_event(reader: asyncio.StreamReader, settings: Settings) -> Event | None:
    """The next event; None when the client has gone away.

    Raises:
        Problem: it is none, is too long, or does not come; what follows cannot be understood any more.
    """
    try:
        async with asyncio.timeout(settings.idle_seconds):
            return await _read(reader, settings.max_message_bytes)
    except TimeoutError:
        raise Problem(Kind.TIMEOUT, f"nothing came for {settings.idle_seconds} s, which is the limit") from None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def _read(reader: asyncio.StreamReader, most: int) -> Event | None:
    try:
        line = await reader.readline()
    except ValueError:
        raise Problem(Kind.TOO_LARGE, f"the first line of an event has more than {LONGEST_LINE} bytes") from None
    if not line:
        return None
    header = object_of(line, "an event")
    name, data = header.get("type"), header.get("data", {})
    if not isinstance(name, str) or not isinstance(data, dict):
        raise invalid("an event has no type, or data that is no JSON object")
    if length := _length(header, "data_length", most):
        data = data | object_of(await reader.readexactly(length), "the data of an event")
    length = _length(header, "payload_length", most)
    return Event(name, data, await reader.readexactly(length) if length else None)


def _length(header: dict[str, Any], name: str, most: int) -> int:
    length = header.get(name) or 0
    if not isinstance(length, int) or length < 0:
        raise invalid(f"{name} is {length!r}"[:100], name)
    if length > most:
        raise Problem(Kind.TOO_LARGE, f"{name} is {length}; {most} is the limit", name)
    return length


def format_of(event: Event) -> AudioFormat:
    """What an `audio-start` or an `audio-chunk` says of its samples.

    Raises:
        Problem: they are not offered.
    """
    rate, width, channels = (typed(event.data.get(name), int, name) for name in ("rate", "width", "channels"))
    if width not in _WIDTHS:
        raise invalid(f"width is {width}; choose 1 to 4 bytes", "width")
    return AudioFormat(_WIDTHS[width], rate, channels)


def options_of(event: Event) -> dict[str, Any]:
    """What a `transcribe` asks for, as `Service.open` takes it.

    Raises:
        Problem: a value is of another type, or a sensitivity unknown.
    """
    data, options = event.data, dict[str, Any]()
    for name, option in (("name", "model"), ("language", "language")):
        if value := data.get(name):
            options[option] = typed(value, str, name)
    if sensitivity := data.get("vad_sensitivity"):
        if typed(sensitivity, str, "vad_sensitivity") not in _PAUSES:
            raise invalid(f"vad_sensitivity is {sensitivity!r}; choose {', '.join(_PAUSES)}", "vad_sensitivity")
        options["endpointing_ms"] = _PAUSES[sensitivity]
    terms, names = _texts(data, "transcript_terms"), _texts(data, "transcript_names")
    if boost := dict.fromkeys(terms, TERM_WEIGHT) | dict.fromkeys(names, NAME_WEIGHT):
        options["boost"] = boost
    return options


def _texts(data: dict[str, Any], name: str) -> list[str]:
    return [value for value in typed(data.get(name) or [], list, name) if typed(value, str, name).strip()]
