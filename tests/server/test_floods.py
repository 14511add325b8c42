"""Clients that send as fast as they can and read nothing, in every protocol."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import grpc
import httpx2 as httpx
import numpy as np
import pytest
import websockets
from numpy.typing import NDArray
from wyoming.audio import AudioChunk, AudioStart
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe

from nemotron_asr.server import connections
from nemotron_asr.server.riva_messages import SERVICE, StreamingRequest
from tests.server.conftest import Running, running
from tests.server.fuzz.conftest import left, neighbour

__all__ = ["neighbour"]  # a fixture

Send = Callable[[], Awaitable[None]]
Flood = Callable[[Running], AbstractAsyncContextManager[Send]]

AHEAD = 48_000_000
"""Bytes of audio by which a client may be ahead of what was heard: most of them in the sockets' buffers."""

MEMORY = 100_000_000
"""Bytes by which the process may grow meanwhile."""

ENDED = websockets.ConnectionClosed, ConnectionError, grpc.aio.AioRpcError, asyncio.InvalidStateError
"""What a client finds whose connection was ended."""

REALTIME, STREAM = "/v1/realtime?intent=transcription", "/v1/stream?encoding=s16le"
LISTEN = "/v1/listen?encoding=linear16&sample_rate=16000&interim_results=true"
UPDATE = '{"type": "transcription_session.update", "session": {"input_audio_params": {"sample_rate_hz": 16000}}}'
FORCED = StreamingRequest(audio_content=bytes(640), runtime_config={"force_eou": "true"})


@asynccontextmanager
async def websocket(
    server: Running, path: str, message: str | bytes, first: tuple[str, ...] = ()
) -> AsyncIterator[Send]:
    url = server.websocket + path
    async with websockets.connect(url, max_queue=1, ping_interval=None, close_timeout=0.1) as socket:
        for each in first:
            await socket.send(each)
        yield lambda: socket.send(message)
        socket.transport.abort()


@asynccontextmanager
async def pings(server: Running) -> AsyncIterator[Send]:
    """Of which each is to be answered by the server's WebSocket itself."""
    async with websockets.connect(server.websocket + STREAM, ping_interval=None, close_timeout=0.1) as socket:
        socket.transport.pause_reading()
        many = 1000 * (b"\x89\xfd\0\0\0\0" + bytes(125))

        async def send() -> None:
            if socket.transport.is_closing():
                raise ConnectionAbortedError
            socket.transport.write(many)
            while socket.transport.get_write_buffer_size() > len(many) and not socket.transport.is_closing():  # noqa: ASYNC110 - no event tells of an emptier buffer
                await asyncio.sleep(0.01)

        yield send


@asynccontextmanager
async def riva(server: Running, message: StreamingRequest, name: str = "") -> AsyncIterator[Send]:
    first, data = StreamingRequest(), message.SerializeToString()
    first.streaming_config.interim_results = True
    first.id.value = name
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.ports['riva']}") as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/StreamingRecognize")()
        await call.write(first.SerializeToString())

        async def send() -> None:
            """What the call ended with stands behind all that was not read."""
            writing = asyncio.ensure_future(call.write(data))
            while server.service.conversations and not writing.done():
                await asyncio.wait([writing], timeout=0.1)
            if not writing.done():
                async for _ in call:
                    pass
            await writing

        await call.write(data)
        while not server.service.conversations:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
        yield send
        call.cancel()


@asynccontextmanager
async def wyoming(server: Running, event: Event) -> AsyncIterator[Send]:
    client = AsyncTcpClient("127.0.0.1", server.ports["wyoming"])
    await client.connect()
    await client.write_event(AudioStart(16_000, 2, 1).event())
    yield lambda: client.write_event(event)
    with suppress(ConnectionError):
        await client.disconnect()


AUDIO: dict[str, Callable[[bytes], Flood]] = {
    "native": lambda sound: partial(websocket, path=STREAM, message=sound),
    "openai": lambda sound: partial(websocket, path=REALTIME, message=append(sound)),
    "nim": lambda sound: partial(websocket, path=REALTIME, first=(UPDATE,), message=append(sound)),
    "deepgram": lambda sound: partial(websocket, path=LISTEN, message=sound),
    "riva": lambda sound: partial(riva, message=StreamingRequest(audio_content=sound)),
    "wyoming": lambda sound: partial(wyoming, event=AudioChunk(16_000, 2, 1, sound).event()),
}
"""Far more than anybody says."""

QUESTIONS: dict[str, Flood] = {
    "native": partial(websocket, path=STREAM, message='{"type": "finalize"}'),
    "openai": partial(websocket, path=REALTIME, message='{"type": "nonsense"}'),
    "nim": partial(websocket, path=REALTIME, first=(UPDATE,), message=UPDATE),
    "deepgram": partial(websocket, path=LISTEN, message='{"type": "Finalize"}'),
    "deepgram nonsense": partial(websocket, path=LISTEN, message='{"type": "Nonsense"}'),
    "pings": pings,
    "riva": partial(riva, message=FORCED, name="a" * 60_000),  # which stands in every answer
    "wyoming": partial(wyoming, event=Describe().event()),
}
"""Of which each has an answer."""


def append(sound: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(sound).decode()})


def memory() -> int:
    """Bytes that the process takes up, where it is known."""
    return int(Path("/proc/self/statm").read_text().split()[1]) << 12 if sys.platform == "linux" else 0


async def keep_sending(send: Send) -> AsyncIterator[int]:
    """How often it was sent."""
    sent = 0
    while True:
        await send()
        sent += 1
        yield sent
        await asyncio.sleep(0)


@pytest.mark.parametrize("protocol", AUDIO)
@pytest.mark.usefixtures("neighbour")
async def test_audio(server: Running, speech: NDArray[np.int16], protocol: str) -> None:
    """It is taken in no faster than it is heard, and the neighbour gets its words."""
    before, sent, others = memory(), 0, set(server.service.conversations)
    async with AUDIO[protocol](speech.tobytes())(server) as send:
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                async for sent in keep_sending(send):  # noqa: B007 - told in the end
                    pass
        (flooded,) = server.service.conversations - others
        assert flooded.duration > 0
        assert sent * speech.nbytes - 32_000 * flooded.duration < AHEAD
        assert memory() - before < MEMORY


@pytest.mark.parametrize("protocol", QUESTIONS)
async def test_questions(impatient: Running, protocol: str) -> None:
    """Whoever reads no answers waits, and then is cut off, though it would go on."""
    before = memory()
    async with QUESTIONS[protocol](impatient) as send:
        async with asyncio.timeout(150):
            with pytest.raises(ENDED) as ended:
                async for _ in keep_sending(send):
                    pass
        if isinstance(ended.value, grpc.aio.AioRpcError):
            assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await asyncio.to_thread(left, impatient) == 0
        assert memory() - before < MEMORY
    async with httpx.AsyncClient(base_url=impatient.http) as client:
        assert (await client.get("/health/ready")).status_code == 200


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch, running(idle_seconds=1) as server:
        patch.setattr(connections, "UNREAD", 1)
        yield server
