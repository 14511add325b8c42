"""Clients that are slow on purpose, that vanish, or that want too much at once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import grpc
import httpx2 as httpx
import pytest
import websockets
from wyoming.audio import AudioStart
from wyoming.client import AsyncTcpClient

from nemotron_asr.server import connections, riva, web
from nemotron_asr.server.riva_messages import SERVICE, StreamingRequest
from tests.server.conftest import Running, running
from tests.server.fuzz.conftest import left
from tests.server.test_disconnects import WEBSOCKETS

SOUND = bytes(6400)
STREAM = "/v1/stream?encoding=s16le"


async def drip(port: int, data: bytes, head: bytes = b"", wait: float = 0.1) -> bytes:
    """Behind a head, send a few bytes now and then until the server closes the connection; what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    answer = asyncio.create_task(_all(reader))
    for place in range(0, len(data), 8):
        if answer.done():
            break
        with suppress(ConnectionError):
            writer.write(data[place : place + 8])
            await writer.drain()
        await asyncio.sleep(wait)
    assert answer.done(), "the server waits for ever"
    writer.close()
    return await answer


async def _all(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end, also if that is a reset: it must not take with it what came before."""
    said = b""
    with suppress(ConnectionError):
        while piece := await reader.read(1 << 16):
            said += piece
    return said


async def test_headers_that_drip(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADERS", 0.5)
    for head in (b"GET / HTTP/1.1\r\n", b"GET /v1/stream HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"):
        assert await drip(server.ports["http"], head + b"X-Slow: yes\r\n" * 20) == b""


async def test_headers_without_end(server: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
    writer.write(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 200_000)
    answer = b""
    with suppress(ConnectionResetError):  # what it has not read may swallow its answer
        answer = await asyncio.wait_for(reader.read(), 30)
    assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_handshake_may_be_long(server: Running) -> None:
    """As one with many likely words is."""
    phrases = "".join(f"&boost=Person+Name{number}" for number in range(1000))
    async with websockets.connect(server.websocket + STREAM + phrases) as socket:
        await socket.send('{"type": "close"}')
        await socket.wait_closed()
    assert socket.close_code == 1000


async def test_a_handshake_that_cannot_be_read_is_answered(server: Running) -> None:
    head = b"GET /v1/stream HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
    writer.write(head + b"X-Many: yes\r\n" * 200 + b"\r\n")
    answer = await asyncio.wait_for(reader.read(), 30)
    assert answer.startswith(b"HTTP/1.1 431 ")
    writer.close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/v1/audio/transcriptions", b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"),
        (b"/v1/listen", b"Content-Type: audio/wav\r\n\r\n"),
    ],
)
async def test_a_body_that_drips(monkeypatch: pytest.MonkeyPatch, path: bytes, kind: bytes) -> None:
    """However seldom it stands still: it takes up a place that others could have."""
    monkeypatch.setattr(connections, "HEADERS", 1)
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n%b" % (path, kind)
    with running(idle_seconds=1) as server:
        answer = await drip(server.ports["http"], b"X-Slow: yes\r\n" * 100, head)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert f"fewer than {web.SLOWEST} bytes a second".encode() in answer
        assert server.service._uploads == 0


async def test_a_message_that_drips() -> None:
    """Bytes of a message are no sign of life until it is whole."""
    with running(idle_seconds=1) as server:
        async with websockets.connect(server.websocket + STREAM) as socket:
            socket.transport.write(b"\x82\xfe\x10\x00\0\0\0\0")  # a binary message of 4096 bytes, masked with nothing
            dripping = asyncio.create_task(keep(lambda: socket.transport.write(b"\0")))
            event = json.loads(await asyncio.wait_for(socket.recv(), 10))
            dripping.cancel()
    assert (event["type"], event["kind"]) == ("error", "timeout")


async def keep(do: Callable[[], Any]) -> None:
    while True:
        do()
        await asyncio.sleep(0.1)


class Wire:
    """A connection between a client and the server that can be cut without either being told."""

    def __init__(self) -> None:
        self.cut = False
        self.port = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                if not self.cut:
                    writer.write(data)
        finally:
            writer.close()


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    carried, between = set[asyncio.Task[None]](), Wire()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        carried.add(asyncio.create_task(between.carry(reader, back)))
        carried.add(asyncio.create_task(between.carry(there, writer)))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as listening:
        between.port = listening.sockets[0].getsockname()[1]
        yield between
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)


async def websocket_until_cut(
    between: Wire, cut: Callable[[], Awaitable[None]], path: str, messages: Sequence[str | bytes]
) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{between.port}{path}", close_timeout=0.1) as socket:
        for message in messages:
            await socket.send(message)
        await cut()


async def riva_until_cut(between: Wire, cut: Callable[[], Awaitable[None]]) -> None:
    first = StreamingRequest()
    first.streaming_config.interim_results = True
    async with grpc.aio.insecure_channel(f"127.0.0.1:{between.port}") as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/StreamingRecognize")()
        for message in (first, StreamingRequest(audio_content=SOUND)):
            await call.write(message.SerializeToString())
        await cut()
        call.cancel()


async def wyoming_until_cut(between: Wire, cut: Callable[[], Awaitable[None]]) -> None:
    async with AsyncTcpClient("127.0.0.1", between.port) as client:
        await client.write_event(AudioStart(16_000, 2, 1).event())
        await cut()


@pytest.mark.parametrize(
    ("talk", "port", "idle"),
    [
        *[
            pytest.param(partial(websocket_until_cut, path=path, messages=messages[:2]), "http", 60, id=protocol)
            for protocol, (path, messages) in WEBSOCKETS.items()
        ],
        pytest.param(riva_until_cut, "riva", 60, id="riva"),
        pytest.param(wyoming_until_cut, "wyoming", 1, id="wyoming"),
    ],
)
async def test_a_client_that_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, talk: Callable[[Wire, Any], Awaitable[None]], port: str, idle: int
) -> None:
    """The server finds out by itself: it looks whether the other side is there, or nothing comes for too long."""
    monkeypatch.setattr(connections, "PING", 0.3)
    monkeypatch.setattr(riva, "PING_MS", 500)
    with running(idle_seconds=idle) as server:
        async with wire(server.ports[port]) as between:

            async def cut() -> None:
                while not server.service.conversations:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.02)
                between.cut = True
                assert await asyncio.to_thread(left, server) == 0

            await asyncio.wait_for(talk(between, cut), 40)


async def test_a_flood_of_questions_nobody_hears_the_answers_of(server: Running) -> None:
    """Each is answered, in order, though the client reads only in the end."""
    async with websockets.connect(server.websocket + STREAM, max_queue=1, ping_interval=None) as socket:
        await socket.send(SOUND)
        for _ in range(2000):
            await socket.send('{"type": "finalize"}')
        await socket.send('{"type": "close"}')
        events = [json.loads(message) async for message in socket]
    assert [event["type"] for event in events].count("finalized") == 2000
    assert socket.close_code == 1000


async def test_connections_are_limited() -> None:
    """Whoever looks after the server is answered however many there are."""
    with running(max_connections=3) as server:
        url = f"{server.websocket}/v1/realtime"
        async with httpx.AsyncClient(base_url=server.http) as client:
            async with websockets.connect(url), websockets.connect(url), websockets.connect(url):
                refused = await client.get("/v1/models")
                assert refused.status_code == 503
                assert refused.json()["error"]["message"] == "3 connections are open, which is the limit"
                assert 'refused_total{kind="unavailable",protocol="http"} 1.0' in (await client.get("/metrics")).text
                with pytest.raises(websockets.InvalidStatus, match="503"):
                    await websockets.connect(url)
                watched = [(await client.get(path)).status_code for path in ("/health/live", "/v1/metrics")]
                assert watched == [200, 200]
            statuses = [(await client.get("/v1/models", timeout=10)).status_code for _ in range(20)]
            assert statuses[-1] == 200
        quiet = [await asyncio.open_connection("127.0.0.1", server.ports["wyoming"]) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["wyoming"])
        assert await asyncio.wait_for(reader.read(), 10) == b""
        for _, each in [*quiet, (reader, writer)]:
            each.close()
