"""A server that is loading its models, full, or about to stop says so in each protocol's words: come again later."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx2 as httpx
import pytest
from grpc_health.v1 import health_pb2
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from wyoming.audio import AudioStart
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe

from nemotron_asr.server.riva_messages import SERVICE, StreamingRequest
from nemotron_asr.server.service import Service
from tests.server.conftest import Running, running

Ports = dict[str, int]

HOST = "127.0.0.1"
APPEND = {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(6400)).decode()}
UPDATE = {"type": "transcription_session.update", "session": {"input_audio_params": {"sample_rate_hz": 16_000}}}


def handshake(path: str) -> Callable[[Ports], Any]:
    """The status with which a WebSocket is refused, and whether it says when to come again."""

    def ask(ports: Ports) -> Any:
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://{HOST}:{ports['http']}{path}"):
            pass
        return refused.value.response.status_code, "retry-after" in refused.value.response.headers

    return ask


def realtime(message: dict[str, Any]) -> Callable[[Ports], Any]:
    """The code with which a connection is closed that is open before a stream is wanted, and its last message."""

    def ask(ports: Ports) -> Any:
        with connect(f"ws://{HOST}:{ports['http']}/v1/realtime?intent=transcription") as socket:
            socket.send(json.dumps(message))
            *_, last = everything(socket)
        return last["type"], last["error"]["code"], socket.close_code

    return ask


def everything(socket: ClientConnection) -> list[dict[str, Any]]:
    said = list[dict[str, Any]]()
    try:
        while True:
            said.append(json.loads(socket.recv(30)))
    except ConnectionClosed:
        return said


def riva(ports: Ports) -> Any:
    with grpc.insecure_channel(f"{HOST}:{ports['riva']}") as channel:
        first = StreamingRequest()
        first.streaming_config.interim_results = True
        method: Callable[..., Any] = channel.stream_stream(f"/{SERVICE}/StreamingRecognize")
        with pytest.raises(grpc.RpcError) as refused:
            list(method(iter([first.SerializeToString(), StreamingRequest(audio_content=b"a").SerializeToString()])))
    return refused.value.code()


def wyoming(ports: Ports, asked: Event | None = None) -> Any:
    async def talk() -> Any:
        async with AsyncTcpClient(HOST, ports["wyoming"]) as client:
            await client.write_event(asked or AudioStart(16_000, 2, 1).event())
            event = await asyncio.wait_for(client.read_event(), 30)
        return event and (event.type, event.data["code"])

    return asyncio.run(talk())


STREAMS: dict[str, tuple[Callable[[Ports], Any], Any]] = {
    "native": (handshake("/v1/stream"), (503, True)),
    "deepgram": (handshake("/v1/listen?encoding=linear16&sample_rate=16000"), (503, True)),
    "openai": (realtime(APPEND), ("error", "unavailable", 1013)),
    "nim": (realtime(UPDATE), ("error", "unavailable", 1013)),
    "riva": (riva, grpc.StatusCode.UNAVAILABLE),
    "wyoming": (wyoming, ("error", "unavailable")),
}
"""How to ask for a stream, and how it is refused."""


def refusals(ports: Ports) -> dict[str, Any]:
    return {protocol: ask(ports) for protocol, (ask, _) in STREAMS.items()}


EXPECTED = {protocol: answer for protocol, (_, answer) in STREAMS.items()}


def health(ports: Ports) -> tuple[int, str, bool]:
    """Whether it is ready, as HTTP and gRPC say it; it is alive, whatever it does."""
    address = f"http://{HOST}:{ports['http']}"
    assert httpx.get(f"{address}/health/live").status_code == 200
    ready = httpx.get(f"{address}/health/ready")
    with grpc.insecure_channel(f"{HOST}:{ports['riva']}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        serving = check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    return ready.status_code, ready.json()["status"], serving


def test_while_models_are_loaded(monkeypatch: pytest.MonkeyPatch, random_model_folder: Path) -> None:
    seen, start = dict[str, Any](), Service.start

    def look(ports: Ports) -> None:
        seen.update(health=health(ports), refusals=refusals(ports))
        form = {"file": ("a.wav", b"RIFF")}
        seen["models"] = wyoming(ports, Describe().event())
        seen["http"] = httpx.post(f"http://{HOST}:{ports['http']}/v1/audio/transcriptions", files=form).status_code

    async def start_slowly(service: Service) -> None:
        await asyncio.to_thread(look, service.ports)
        await start(service)

    monkeypatch.setattr(Service, "start", start_slowly)
    with running(model=[str(random_model_folder)]):
        pass
    later = ("error", "unavailable")
    assert seen == {"health": (503, "loading", False), "refusals": EXPECTED, "models": later, "http": 503}


def test_when_there_is_no_room_and_when_it_is_about_to_stop(random_model_folder: Path) -> None:
    with running(model=[str(random_model_folder)], max_streams=1) as server, only_stream(server) as first:
        assert refusals(server.ports) == EXPECTED
        assert httpx.get(f"{server.http}/health/ready").status_code == 200
        server.stop()
        while server.service.ready:
            pass
        assert refusals(server.ports) == EXPECTED
        first.send('{"type": "close"}')


def only_stream(server: Running) -> ClientConnection:
    return connect(f"{server.websocket}/v1/stream?encoding=s16le")
