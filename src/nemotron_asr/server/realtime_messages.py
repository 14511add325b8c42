"""What the messages of the realtime protocols have in common."""

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Any

from nemotron_asr.server.objects import Message
from nemotron_asr.server.problems import invalid


def audio_of(event: Mapping[str, Any]) -> bytes:
    """What an `input_audio_buffer.append` brings.

    Raises:
        Problem: it is not base64.
    """
    try:
        return base64.b64decode(event.get("audio", ""), validate=True)
    except (TypeError, ValueError):
        raise invalid("audio is not base64", "audio") from None


def to_text(message: Message) -> str:
    """A message to the client, which has a number of its own."""
    return json.dumps({"event_id": new_id("event"), **message}, ensure_ascii=False)


def new_id(of: str) -> str:
    """A number for an event, an item, a session."""
    return f"{of}_{secrets.token_hex(12)}"
