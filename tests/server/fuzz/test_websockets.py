"""Messages of the protocols over WebSocket: each is heeded, or answered as its protocol says."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
import websockets
from hypothesis import example, given
from hypothesis import strategies as st

from tests.server.conftest import Running
from tests.server.fuzz.messages import BETA, CHANGE, CONFIGURE, CONTROL, DEEPGRAM, NIM, SESSION, event
from tests.server.fuzz.strategies import SOUND, TEXT, Bounded, as_json

pytestmark = pytest.mark.usefixtures("neighbour")

Messages = Sequence[str | bytes]

CLOSED = {1000, 1008, 1009, 1013}
"""Codes of what is right, wrong, too much, or too many; 1011 would be our fault."""


def events(session: Any) -> st.SearchStrategy[Messages]:
    """Messages of the realtime protocols, and others."""
    return st.lists(as_json(event(session)) | TEXT.filter(writable) | SOUND, max_size=4)


def writable(text: str) -> bool:
    return text.isprintable() or text.isascii()


def converse(server: Running, path: str, messages: Messages, last: str, *subprotocols: str) -> tuple[list[Any], int]:
    """Say something and a farewell; what the server says, until it closes or has answered the farewell."""

    async def talk() -> tuple[list[Any], int]:
        offered = [websockets.Subprotocol(one) for one in subprotocols]
        said, url = list[Any](), server.websocket + path
        async with websockets.connect(url, subprotocols=offered or None, max_size=None, ping_interval=None) as socket:
            try:
                for message in (*messages, last):
                    await socket.send(message)
                while "farewell" not in json.dumps(said[-1:]):
                    said.append(json.loads(await asyncio.wait_for(socket.recv(), 10), parse_constant=refuse))
            except websockets.ConnectionClosed:
                return said, socket.close_code or 0
        return said, 1000

    return asyncio.run(talk())


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@given(st.lists(as_json(CHANGE | CONTROL) | SOUND | TEXT.filter(writable), max_size=4))
@Bounded
def test_native(server: Running, messages: Messages) -> None:
    said, code = converse(server, "/v1/stream", messages, '{"type": "close"}')
    assert code in CLOSED
    assert (code == 1000) == (not said or said[-1]["type"] != "error")


@given(events(SESSION | BETA))
@example(['{"type": "session.update"}'])
@example(['{"type": "transcription_session.update", "session": {"input_audio_format": []}}'])
@Bounded
def test_openai_realtime(server: Running, messages: Messages) -> None:
    said, code = converse(server, "/v1/realtime?intent=transcription", messages, '{"event_id": "farewell"}')
    assert code in CLOSED
    assert code == 1000 or said[-1]["type"] == "error"


@given(events(NIM))
@example([])
@example(['{"type": []}'])
@example(['{"type": "transcription_session.update", "session": {"input_audio_format": []}}'])
@Bounded
def test_nim_realtime(server: Running, messages: Messages) -> None:
    last = '{"type": "input_audio_buffer.done"}'
    said, code = converse(server, "/v1/realtime", messages, last, "realtime", "realtime-token.none")
    assert code in CLOSED
    assert said[-1].get("is_last_result") if code == 1000 else said[-1]["type"] == "error"


@given(st.lists(as_json(CONFIGURE | DEEPGRAM) | SOUND.filter(bool) | TEXT.filter(writable), max_size=4))
@Bounded
def test_deepgram(server: Running, messages: Messages) -> None:
    path = "/v1/listen?encoding=linear16&sample_rate=8000"
    said, code = converse(server, path, messages, '{"type": "CloseStream"}')
    assert code == 1000
    assert said[-1]["type"] == "Metadata"
