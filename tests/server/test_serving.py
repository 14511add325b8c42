"""How a server begins and ends."""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import AF_INET6, create_connection, create_server, has_dualstack_ipv6
from typing import Any

import grpc
import httpx2 as httpx
import numpy as np
import pytest
import websockets
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection
from websockets.sync.client import connect

from nemotron_asr.cli.serve import _announce
from nemotron_asr.errors import CheckpointError, OptionError
from nemotron_asr.server.riva_messages import SERVICE, RecognizeRequest
from tests.server.conftest import Running, running
from tests.server.contract import RATE


@pytest.fixture
def server(random_model_folder: Path) -> Iterator[Running]:
    """A server of its own for every test, which has little patience."""
    with running(model=[str(random_model_folder)], drain_seconds=3) as server:
        yield server


@asynccontextmanager
async def stream(url: str) -> AsyncIterator[ClientConnection]:
    async with websockets.connect(f"{url}/v1/stream?encoding=s16le&interim_results=no") as socket:
        yield socket


async def rest(socket: ClientConnection) -> list[dict[str, Any]]:
    return [json.loads(message) async for message in socket]


async def test_streams_finish_before_a_server_ends(random_model_folder: Path, speech: NDArray[np.int16]) -> None:
    with running(model=[str(random_model_folder)], drain_seconds=30) as server:
        await finish_while_it_stops(server, speech)


async def finish_while_it_stops(server: Running, speech: NDArray[np.int16]) -> None:
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=320)
    half = len(speech) // 2
    async with stream(server.websocket) as socket:
        await socket.send(speech[:half].tobytes())
        server.stop()
        async with httpx.AsyncClient(base_url=server.http) as client:
            while (await client.get("/health/ready")).status_code == 200:
                pass
            assert (await client.get("/health/ready")).json() == {"status": "stopping"}
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.post("/v1/stream", content=bytes(32_000))).status_code == 503
        await socket.send(speech[half:].tobytes())
        await socket.send('{"type": "close"}')
        events = await rest(socket)
        assert socket.close_code == 1000
    assert [event["text"] for event in events if event["type"] == "final"] == [one.text for one in heard.segments]


async def test_a_stream_that_goes_on_is_closed_with_its_words(server: Running, speech: NDArray[np.int16]) -> None:
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=320)
    async with stream(server.websocket) as socket:
        await socket.send(speech.tobytes())
        server.stop()
        events = await rest(socket)
    assert [event["text"] for event in events if event["type"] == "final"] == [one.text for one in heard.segments]


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing"), running(model=[str(tmp_path / "nothing")]):
        pass


@pytest.mark.parametrize(
    ("protocol", "setting"), [("http", "port"), ("riva", "grpc_port"), ("wyoming", "wyoming_port")]
)
def test_a_port_that_is_taken_is_named(server: Running, protocol: str, setting: str) -> None:
    port = server.ports[protocol]
    reason = f"port {port}: Address already in use; choose another with --{setting.replace('_', '-')}$"
    with pytest.raises(OptionError, match=reason), running(**{setting: port}):
        pass


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(OptionError, match="choose another with --host"), running(host="192.0.2.1"):
        pass


@pytest.mark.skipif(not has_dualstack_ipv6(), reason="needs IPv6 beside IPv4")
def test_all_addresses_are_those_of_both_kinds(random_model_folder: Path) -> None:
    try:
        create_server(("::1", 0), family=AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with running(model=[str(random_model_folder)], host="::") as server:
        for port in server.ports.values():
            for host in ("127.0.0.1", "::1"):
                create_connection((host, port), timeout=10).close()


@pytest.mark.parametrize("asked", [False, True])
def test_what_was_said_is_logged_only_if_that_is_asked_for(
    speech: NDArray[np.int16], caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    with caplog.at_level(logging.DEBUG, "nemotron_asr"), running(log_transcripts=asked) as server:
        url = f"{server.http}/v1/stream?encoding=s16le&interim_results=no"
        answer = httpx.post(url, content=speech.tobytes(), timeout=60).text
        segments = [event["text"] for event in map(json.loads, answer.splitlines()) if event["type"] == "final"]
    assert segments
    logged = [dict(getattr(record, "fields", {})) for record in caplog.records]
    assert [fields["text"] for fields in logged if "text" in fields] == (segments if asked else [])
    if not asked:
        whole = " ".join([*map(str, logged), *(record.getMessage() for record in caplog.records)])
        assert not any(segment in whole for segment in segments)
    (stream,) = {fields["stream"] for fields in logged if "stream" in fields}
    assert stream


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to be sent")
def test_a_process_ends_at_a_signal_and_logs_no_secrets(random_model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("open-sesame name=ali\n")
    arguments = ["--port", "0", "--grpc-port", "0", "--wyoming-port", "-1", "--max-streams", "4", "--api-key-file",
                 str(tmp_path / "keys"), "--log-format", "json", "--log-level", "debug"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "nemotron_asr", "serve", "--model", random_model_folder, *arguments],
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stderr is not None
        hosts = dict[str, str]()
        try:
            while (line := json.loads(process.stderr.readline()))["message"] != "ready":
                if line["message"] == "listening":
                    hosts[line["protocol"]] = line["url"].removeprefix("http://")
            tell_the_key(hosts["http"])
            tell_riva_the_key(hosts["riva"])
        finally:
            process.send_signal(signal.SIGTERM)
        log = process.stderr.read().decode()
    assert process.returncode == 0
    assert line["model"] == random_model_folder.name
    assert line["capacity"] == dict.fromkeys(("80", "160", "320", "560", "1120"), 4)
    assert "sesame" not in log
    ours = [line for line in map(json.loads, log.splitlines()) if line["logger"].startswith("nemotron_asr")]
    streams = [line["stream"] for line in ours if line["message"] == "ended"]
    assert [line["stream"] for line in ours if line["message"] == "opened"] == streams
    assert {line.get("key") for line in ours if line["message"] == "opened"} == {"ali"}
    assert [line["audio"] for line in ours if line["message"] == "ended"] == [2.0, 2.0, 2.0, 0.0, 2.0, 2.0]


def test_a_server_says_where_it_listens(server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    _announce(server.service)
    *places, room = capsys.readouterr().err.splitlines()
    assert f"http at {server.http}" in places
    assert len(places) == len(server.ports)
    assert room.startswith("ready: ")
    assert "has room for live streams: 64 at 80 ms, " in room


def tell_the_key(host: str) -> None:
    """In all the ways in which it can be shown, and where it does not belong."""
    url, sound = f"http://{host}/v1/stream?encoding=s16le", bytes(64_000)
    for query, headers in (
        ("&token=open-sesame", {}), ("", {"Authorization": "Bearer open-sesame"}), ("", {"X-API-Key": "open-sesame"}),
    ):  # fmt: skip
        assert httpx.post(url + query, content=sound, headers=headers).status_code == 200
    offered = [websockets.Subprotocol("token"), websockets.Subprotocol("open-sesame")]
    with connect(f"ws://{host}/v1/listen?encoding=linear16&sample_rate=16000", subprotocols=offered) as socket:
        socket.send('{"type": "CloseStream"}')
        list(socket)
    offered = [websockets.Subprotocol("realtime"), websockets.Subprotocol("openai-insecure-api-key.open-sesame")]
    with connect(f"ws://{host}/v1/realtime", subprotocols=offered) as socket:
        socket.recv()
    assert httpx.post(f"{url}&token=close-sesame", content=sound).status_code == 401
    assert httpx.get(f"http://{host}/open-sesame").status_code == 404


def tell_riva_the_key(host: str) -> None:
    """In its metadata, both ways, and one that nobody has."""
    sound = RecognizeRequest(audio=bytes(64_000)).SerializeToString()
    with grpc.insecure_channel(host) as channel:
        recognize: Callable[..., bytes] = channel.unary_unary(f"/{SERVICE}/Recognize")
        for shown in (("authorization", "Bearer open-sesame"), ("x-api-key", "open-sesame")):
            recognize(sound, metadata=[shown])
        with pytest.raises(grpc.RpcError) as refused:
            recognize(sound, metadata=[("authorization", "Bearer close-sesame")])
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


SLOW_TO_LOAD = """
import sys, time
from nemotron_asr.server import models, serving
from nemotron_asr.server.settings import Settings

def load(*_):
    print("loading", flush=True)
    time.sleep(600)

models.Models.load = load
serving.run(Settings(port=0, grpc_port=0, wyoming_port=0))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to be sent")
def test_a_second_signal_ends_a_server_that_still_loads() -> None:
    command = [sys.executable, "-c", SLOW_TO_LOAD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "loading\n"
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):  # a model is loaded to its end first
                process.wait(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) != 0
        finally:
            process.kill()
