"""Messages that no parser of JSON should be trusted with: each protocol says what is wrong, in its own shape."""

import asyncio
import json
import re
from typing import Any

import httpx2 as httpx
import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection

from nemotron_asr.server.objects import DEEPEST, inner, object_of, typed
from nemotron_asr.server.problems import Kind, Problem
from tests.server.conftest import Running

HOSTILE = {
    "deep": '{"type": ' + '{"a": ' * 9_000 + "1" + "}" * 9_001,
    "deep enough": '{"type": "change", "session": ' + "[" * 400 + "]" * 400 + "}",
    "half a character": r'{"type": "\ud800"}',
    "no number": '{"type": NaN}',
    "infinite": '{"type": 1e999}',
    "huge": '{"type": 1' + "0" * 5000 + "}",
    "not an object": "[]",
    "not whole": '{"type": ',
}
SAID = re.compile("nested too deeply|not JSON|not a JSON object|not text in UTF-8")

hostile = pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)


@hostile
def test_one_line_says_what_is_wrong(message: str) -> None:
    for data in (message, message.encode()):
        with pytest.raises(Problem, match=SAID.pattern) as raised:
            object_of(data)
        assert raised.value.kind is Kind.INVALID
        assert "\n" not in str(raised.value)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(Problem, match="the body is not text in UTF-8"):
        object_of(b'{"a": "\xff"}', "the body")


def test_the_limit_of_size() -> None:
    with pytest.raises(Problem, match="an event has 12 bytes; 11 is the limit") as raised:
        object_of('{"a": "bcd"}', "an event", 11)
    assert raised.value.kind is Kind.TOO_LARGE


def test_the_limit_of_depth() -> None:
    def nested(levels: int) -> str:
        return '{"a": ' * levels + "1" + "}" * levels

    assert object_of(nested(DEEPEST))
    with pytest.raises(Problem, match=f"{DEEPEST} levels are the limit"):
        object_of(nested(DEEPEST + 1))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.booleans())
@settings(deadline=None, max_examples=50)
def test_objects_come_as_they_are(content: dict[str, Any], ascii_only: bool) -> None:
    assert object_of(json.dumps(content, ensure_ascii=ascii_only)) == content


@hostile
async def test_native(server: Running, message: str) -> None:
    async with websockets.connect(f"{server.websocket}/v1/stream") as socket:
        await socket.send(message)
        said = json.loads(await socket.recv())
        assert said["type"] == "error"
        assert SAID.search(said["message"])
        assert await code_of(socket) == 1008


@hostile
async def test_openai_realtime_goes_on(server: Running, message: str) -> None:
    async with websockets.connect(f"{server.websocket}/v1/realtime?intent=transcription") as socket:
        assert json.loads(await socket.recv())["type"] == "session.created"
        await socket.send(message)
        said = json.loads(await socket.recv())
        assert said["type"] == "error"
        assert said["error"]["type"] == "invalid_request_error"
        assert SAID.search(said["error"]["message"])
        await socket.send('{"type": "session.update", "session": {"type": "transcription"}}')
        assert json.loads(await socket.recv())["type"] == "session.updated"


@hostile
async def test_nim_realtime(server: Running, message: str) -> None:
    secret = (await mint(server, "{}")).json()["client_secret"]["value"]
    offered = [websockets.Subprotocol("realtime"), websockets.Subprotocol(f"realtime-token.{secret}")]
    async with websockets.connect(f"{server.websocket}/v1/realtime", subprotocols=offered) as socket:
        assert json.loads(await socket.recv())["type"] == "conversation.created"
        await socket.send(message)
        assert SAID.search(json.loads(await socket.recv())["error"]["message"])
        assert await code_of(socket) == 1008


@hostile
async def test_a_session_is_not_minted(server: Running, message: str) -> None:
    answer = await mint(server, message)
    assert answer.status_code == 400
    assert SAID.search(answer.json()["detail"])


@hostile
async def test_deepgram_goes_on(server: Running, message: str) -> None:
    async with websockets.connect(f"{server.websocket}/v1/listen?encoding=linear16&sample_rate=16000") as socket:
        await socket.send(message)
        said = json.loads(await socket.recv())
        assert (said["type"], said["variant"]) == ("Error", "SchemaError")
        assert SAID.search(said["description"])
        await socket.send('{"type": "CloseStream"}')
        assert json.loads(await socket.recv())["type"] == "Metadata"
        assert await code_of(socket) == 1000


@hostile
async def test_wyoming(server: Running, message: str) -> None:
    data = message.encode()
    for sent in (data[:60_000] + b"\n", b'{"type": "transcribe", "data_length": %d}\n' % len(data) + data):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["wyoming"])
        writer.write(sent)
        header = json.loads(await reader.readline())
        said = json.loads(await reader.readexactly(header["data_length"]))
        assert (header["type"], said["code"]) == ("error", "invalid")
        assert SAID.search(said["text"])
        assert not await reader.read()
        writer.close()
        await writer.wait_closed()


@hostile
def test_the_page(server: Running, message: str) -> None:
    answer = httpx.post(f"{server.http}/page/transcript.srt", content=message)
    assert answer.status_code == 400
    assert SAID.search(answer.json()["error"]["message"])


async def mint(server: Running, body: str) -> httpx.Response:
    url = f"{server.http}/v1/realtime/transcription_sessions"
    return await asyncio.to_thread(httpx.post, url, content=body, timeout=30)


async def code_of(socket: ClientConnection) -> int | None:
    """With which the other side closes."""
    await socket.wait_closed()
    return socket.close_code


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (True, int, "rate is True, not a whole number"),
        (None, str, "rate is None, not a string"),
        ({}, list, "rate is {}, not a list"),
    ],
)
def test_a_value_of_another_type_is_named(value: object, kind: type, said: str) -> None:
    with pytest.raises(Problem, match=f"^{said}$") as refused:
        typed(value, kind, "audio.rate")
    assert refused.value.parameter == "audio.rate"


def test_an_object_in_an_object_may_be_missing() -> None:
    assert inner(None, "audio") == {}
    with pytest.raises(Problem, match="audio is not an object"):
        inner([], "audio")
