"""Our own shape, through the `websockets` client, curl and plain HTTP."""

import asyncio
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

from tests.conftest import Sample
from tests.server.conftest import Running
from tests.server.contract import Contract, Request, Told


async def send(socket: ClientConnection, request: Request) -> None:
    for data, finalize in request.packets():
        await socket.send(data)
        await asyncio.sleep(request.wait(data))
        if finalize:
            await socket.send('{"type": "finalize"}')
    if request.hang_up:
        socket.transport.abort()
    else:
        await socket.send('{"type": "close"}')


async def talk(url: str, request: Request) -> list[dict[str, Any]]:
    async with websockets.connect(url) as socket:
        sending = asyncio.create_task(send(socket, request))
        events = [json.loads(message) async for message in ignoring_the_end(socket)]
        await sending
        return events


async def ignoring_the_end(socket: ClientConnection) -> Any:
    try:
        async for message in socket:
            yield message
    except websockets.ConnectionClosedError:
        pass


def told(event: dict[str, Any]) -> Told:
    if event["type"] == "finalized":
        return Told("finalized")
    words = tuple((word["word"], word["start"], word["end"]) for word in event["words"])
    return Told(event["type"], event["text"], words, event["language"])


class TestWebSocket(Contract):
    def converse(self, server: Running, request: Request) -> list[Told]:
        options = f"language={request.language}&interim_results={request.interim}"
        url = f"{server.websocket}/v1/stream?encoding=s16le&latency_ms=320&{options}"
        events = asyncio.run(talk(url, request))
        return [told(event) for event in events if event["type"] in {"partial", "final", "finalized"}]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is no package of Python")
class TestCurl(Contract):
    """`curl -N -T -`, which sends what a microphone gives and prints a line for each event while it does."""

    finalizes = False
    accept = "*/*"
    begins = "{"

    def converse(self, server: Running, request: Request) -> list[Told]:
        options = f"language={request.language}&interim_results={request.interim}"
        url = f"{server.http}/v1/stream?encoding=s16le&{options}"
        command = ["curl", "-sN", "-H", f"Accept: {self.accept}", "-T", "-", url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as curl:
            assert curl.stdout is not None
            speaking = threading.Thread(target=speak, args=(curl, request))
            speaking.start()
            said = [line.decode() for line in curl.stdout if line.strip()]
            speaking.join()
        assert all(line.startswith(self.begins) for line in said)
        events = [json.loads(line.removeprefix("data: ")) for line in said]
        return [told(event) for event in events if event["type"] in {"partial", "final"}]


class TestCurlEvents(TestCurl):
    """The same as Server-Sent Events."""

    accept = "text/event-stream"
    begins = "data: {"


def speak(curl: subprocess.Popen[bytes], request: Request) -> None:
    assert curl.stdin is not None
    for data, _ in request.packets():
        curl.stdin.write(data)
        curl.stdin.flush()
        time.sleep(request.wait(data))
    if request.hang_up:
        curl.kill()
    curl.stdin.close()


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_a_file_by_post(server: Running, samples: list[Sample], accept: str) -> None:
    heard = server.recognizer.transcribe(samples[0].path, latency_ms=320)
    with httpx.Client(base_url=server.http, timeout=60) as client, Path(samples[0].path).open("rb") as file:
        answer = client.put("/v1/stream?interim_results=no", content=file, headers={"Accept": accept})
    assert answer.headers["content-type"].startswith(
        "text/event-stream" if "event" in accept else "application/x-ndjson"
    )
    assert answer.text.startswith("data: {" if "event" in accept else "{")
    events = lines(answer)
    assert [event["text"] for event in events if event["type"] == "final"] == [one.text for one in heard.segments]
    assert {event["type"] for event in events} == {"speech_started", "final", "speech_ended"}


def test_events_come_while_the_body_still_does(server: Running, speech: NDArray[np.int16]) -> None:
    sent: list[int] = []

    def body() -> Iterator[bytes]:
        for start in range(0, len(speech), 8000):
            sent.append(start)
            yield speech[start : start + 8000].tobytes()

    async def go() -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        writer.write(b"POST /v1/stream?encoding=s16le&latency_ms=80 HTTP/1.1\r\nHost: a\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        for data in body():
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await writer.drain()
            if sent[-1] == 24_000:
                first = (await asyncio.wait_for(reader.readuntil(b"}\n"), 30)).decode()
        writer.write(b"0\r\n\r\n")
        while await reader.readline() != b"0\r\n":
            pass
        writer.close()
        await writer.wait_closed()
        return sent[-1], first

    last, first = asyncio.run(go())
    assert last > 24_000
    assert "speech_started" in first


@pytest.mark.parametrize("message", ['{"type": "change", "self": 1}', '{"type": "change", "beam": 2}'])
async def test_what_cannot_change_is_named(server: Running, message: str) -> None:
    async with websockets.connect(f"{server.websocket}/v1/stream") as socket:
        await socket.send(message)
        error = json.loads(await socket.recv())
        assert (error["type"], error["kind"]) == ("error", "invalid")
        assert "cannot change" in error["message"]


async def test_a_language_is_taken_at_its_word(server: Running) -> None:
    """The clients of other protocols know regions that the model does not have; ours is told which there are."""
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"{server.websocket}/v1/stream?language=en-AU")
    assert "the nearest ones are en-US" in refused.value.response.body.decode()
    async with websockets.connect(f"{server.websocket}/v1/stream") as socket:
        await socket.send('{"type": "change", "language": "en-AU"}')
        assert "en-AU" in json.loads(await socket.recv())["message"]


async def test_an_error_is_short_however_long_what_it_names(server: Running) -> None:
    for message in ({"type": "z" * 500_000}, {"type": "change", "z" * 500_000: 1}):
        async with websockets.connect(f"{server.websocket}/v1/stream") as socket:
            await socket.send(json.dumps(message))
            error = await socket.recv()
        assert json.loads(error)["type"] == "error"
        assert len(error) < 1000


async def test_another_path_is_not_found(server: Running) -> None:
    for path in ("/v2/listen", "/v1/stream/", "/nowhere"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(server.websocket + path)
        assert refused.value.response.status_code == 404


def test_a_wider_search(server: Running, samples: list[Sample]) -> None:
    data = Path(samples[0].path).read_bytes()
    answer = httpx.post(f"{server.http}/v1/stream?beam=4&latency_ms=1120", content=data, timeout=60)
    expected = server.recognizer.transcribe(samples[0].path, beam=4)
    finals = [event for event in lines(answer) if event["type"] == "final"]
    assert [final["text"] for final in finals] == [segment.text for segment in expected.segments]
    assert "choose" in httpx.post(f"{server.http}/v1/stream?beam=99", content=data).json()["error"]["message"]


@given(st.one_of(st.text(max_size=40), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "language", "latency_ms", "boost", "languages", "x"]),
        inner | st.sampled_from(["finalize", "change", "close", "keep_alive"]), max_size=3,
    ), max_leaves=5,
).map(json.dumps)))  # fmt: skip
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_message_is_understood_or_named(server: Running, message: str) -> None:
    async def go() -> tuple[str, int | None]:
        async with websockets.connect(f"{server.websocket}/v1/stream") as socket:
            await socket.send(message)
            with suppress(websockets.ConnectionClosed):
                await socket.send('{"type": "close"}')
            said = [json.loads(text)["type"] async for text in ignoring_the_end(socket)]
            return "".join(said[-1:]), socket.close_code

    last, code = asyncio.run(go())
    assert code in {1000, 1008}
    assert (last == "error") == (code == 1008)
