"""Clients that go away, without a word, behind any of their messages: nothing is left, and a neighbour hears all."""

import asyncio
import base64
import json
import threading
from collections.abc import Sequence

import grpc
import pytest
import websockets

from nemotron_asr.server.conversation import Conversation
from nemotron_asr.server.riva_messages import SERVICE, RecognizeRequest, StreamingRequest
from tests.server.conftest import Running
from tests.server.fuzz.conftest import neighbour

__all__ = ["neighbour"]  # a fixture

pytestmark = pytest.mark.usefixtures("neighbour")

Message = str | bytes

SOUND = bytes(6400)
APPEND = json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(SOUND).decode()})
COMMIT = '{"type": "input_audio_buffer.commit"}'
NIM = {"input_audio_params": {"sample_rate_hz": 16_000}, "recognition_config": {}}

WEBSOCKETS: dict[str, tuple[str, Sequence[Message]]] = {
    "native": (
        "/v1/stream?encoding=s16le",
        [SOUND, '{"type": "finalize"}', '{"type": "change", "latency_ms": 80}', SOUND, '{"type": "close"}'],
    ),
    "openai": (
        "/v1/realtime?intent=transcription",
        ['{"type": "session.update", "session": {"audio": {"input": {"turn_detection": null}}}}', APPEND, COMMIT,
         APPEND, '{"type": "input_audio_buffer.clear"}', APPEND, COMMIT],
    ),
    "nim": (
        "/v1/realtime?intent=transcription",
        [json.dumps({"type": "transcription_session.update", "session": NIM}), APPEND, COMMIT, APPEND,
         '{"type": "input_audio_buffer.done"}'],
    ),
    "deepgram": (
        "/v1/listen?encoding=linear16&sample_rate=16000&interim_results=true",
        [SOUND, '{"type": "Finalize"}', '{"type": "KeepAlive"}', '{"type": "Configure", "keyterms": ["Ada"]}', SOUND,
         '{"type": "CloseStream"}'],
    ),
}  # fmt: skip


@pytest.mark.parametrize("protocol", WEBSOCKETS)
async def test_websockets(server: Running, protocol: str) -> None:
    path, messages = WEBSOCKETS[protocol]
    for end in range(len(messages) + 1):
        async with websockets.connect(server.websocket + path) as socket:
            for message in messages[:end]:
                await socket.send(message)
            socket.transport.abort()
    await alone(server)


FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF' + SOUND + b"\r\n--b--\r\n"


async def alone(server: Running) -> None:
    """Until the neighbour is."""
    async with asyncio.timeout(30):
        while len(server.service.conversations) > 1 or server.service._uploads:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


BODIES = {
    "/v1/stream?encoding=s16le": ("audio/l16", SOUND),
    "/v1/listen?encoding=linear16&sample_rate=16000": ("audio/l16", SOUND),
    "/v1/audio/transcriptions": ("multipart/form-data; boundary=b", FORM),
}


@pytest.mark.parametrize("path", BODIES)
async def test_requests(server: Running, path: str) -> None:
    kind, body = BODIES[path]
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    await cut(server.ports["http"], head + body, [4, len(head) - 2, len(head), len(head) + 70, -1, len(head + body)])
    await alone(server)


async def test_a_recording_of_which_much_is_left(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    playing = threading.Event()

    async def play(*_: object) -> None:
        playing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Conversation, "play", play)
    kind, body = BODIES["/v1/audio/transcriptions"]
    _, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
    writer.write(f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n".encode())
    writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert await asyncio.to_thread(playing.wait, 30)
    writer.transport.abort()
    await alone(server)


async def test_wyoming(server: Running) -> None:
    form = {"rate": 16_000, "width": 2, "channels": 1}
    sound = json.dumps({"type": "audio-chunk", "data": form, "payload_length": len(SOUND)}).encode() + b"\n" + SOUND
    start = json.dumps({"type": "audio-start", "data": form}).encode() + b"\n"
    said = b'{"type": "describe"}\n{"type": "transcribe", "data": {"language": "de"}}\n' + start + 2 * sound
    ends = [place + 1 for place, byte in enumerate(said) if byte == ord("\n")]
    await cut(server.ports["wyoming"], said + b'{"type": "audio-stop"}\n', [*ends, len(said), len(said) + 23])
    await alone(server)


async def cut(port: int, data: bytes, ends: Sequence[int]) -> None:
    """Send so much of it, and go away."""
    for end in ends:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data[:end])
        await writer.drain()
        await asyncio.sleep(0.02)  # otherwise nothing of it would arrive
        writer.transport.abort()


async def test_riva(server: Running) -> None:
    first, sound = StreamingRequest(), StreamingRequest(audio_content=SOUND)
    first.streaming_config.interim_results = True
    forced = StreamingRequest(audio_content=SOUND, runtime_config={"force_eou": "true"})
    messages = [message.SerializeToString() for message in (first, sound, forced, sound)]
    for end in range(len(messages) + 1):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.ports['riva']}") as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/StreamingRecognize")()
            for message in messages[:end]:
                await call.write(message)
            call.cancel()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.ports['riva']}") as channel:
        request = RecognizeRequest(audio=SOUND).SerializeToString()
        recognize: grpc.aio.UnaryUnaryCall[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Recognize")(request)
        await recognize.wait_for_connection()
        recognize.cancel()
    await alone(server)
