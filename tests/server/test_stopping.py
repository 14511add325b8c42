"""A server that must stop before its clients are through: each is told so, and no part is passed off as the whole."""

import asyncio
import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx2 as httpx
import numpy as np
import pytest
import websockets
from numpy.typing import NDArray

from nemotron_asr.server.riva_messages import SERVICE, RecognizeRequest
from tests.server.conftest import Running, running
from tests.server.contract import RATE, as_wav

REASON = "the server is about to stop"

Ask = Callable[[Running, bytes], Any]


@pytest.fixture
def server() -> Iterator[Running]:
    """A server of its own for every test, which has no patience."""
    with running(drain_seconds=1, max_audio_seconds=100_000) as server:
        yield server


def wait_until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def asking(server: Running, ask: Ask, recording: bytes) -> Iterator[Future[Any]]:
    """Somebody whose recording is being heard: it is fed at most 30 s before that."""
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(ask, server, recording)
        wait_until(lambda: answer.done() or any(talk.duration > 45 for talk in server.service.conversations))
        yield answer


def native(server: Running, recording: bytes) -> Any:
    lines = httpx.post(f"{server.http}/v1/stream?interim_results=no", content=recording, timeout=60).text.splitlines()
    last = json.loads(lines[-1])
    return last["type"], last["kind"], last["message"]


def openai(server: Running, recording: bytes) -> Any:
    url, file = f"{server.http}/v1/audio/transcriptions", {"file": ("a.flac", recording)}
    answer = httpx.post(url, files=file, timeout=60)
    error = answer.json()["error"]
    return answer.status_code, error["type"], error["message"]


def openai_events(server: Running, recording: bytes) -> Any:
    url, file = f"{server.http}/v1/audio/transcriptions", {"file": ("a.flac", recording)}
    answer = httpx.post(url, files=file, data={"stream": "true"}, timeout=60)
    first, *_, last = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    return first["type"], last["error"]["type"], last["error"]["message"]


def deepgram(server: Running, recording: bytes) -> Any:
    answer = httpx.post(f"{server.http}/v1/listen", content=recording, timeout=60)
    return answer.status_code, answer.headers["retry-after"], answer.json()["err_msg"]


def riva(server: Running, recording: bytes) -> Any:
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['riva']}") as channel:
        recognize: Callable[..., bytes] = channel.unary_unary(f"/{SERVICE}/Recognize")
        with pytest.raises(grpc.RpcError) as refused:
            recognize(RecognizeRequest(audio=recording).SerializeToString(), timeout=60)
    return refused.value.code(), "", refused.value.details()


@pytest.mark.parametrize(
    ("ask", "shape"),
    [
        (native, ("error", "unavailable")),
        (openai, (503, "server_error")),
        (openai_events, ("transcript.text.delta", "server_error")),
        (deepgram, (503, "5")),
        (riva, (grpc.StatusCode.UNAVAILABLE, "")),
    ],
)
def test_a_recording_that_is_too_long_is_refused(
    server: Running, long_speech: bytes, ask: Ask, shape: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), asking(server, ask, long_speech) as answer:
        server.stop()
        assert answer.result() == (*shape, REASON)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    logged = [record.getMessage() for record in caplog.records if record.name == "nemotron_asr.server.watch"]
    assert logged == ["opened", "failed"]


def test_what_came_of_a_recording_is_not_the_whole(server: Running, speech: NDArray[np.int16]) -> None:
    """Its client has not sent the rest yet."""
    ended = threading.Event()

    def body() -> Iterator[bytes]:
        yield speech.tobytes()
        ended.wait(30)

    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(httpx.post, f"{server.http}/v1/stream", content=body(), timeout=60)
        wait_until(lambda: server.service.conversations)
        server.stop()
        wait_until(lambda: not server.service.conversations)
        ended.set()
        last = json.loads(answer.result().text.splitlines()[-1])
    problem = last.get("error", last)  # a slow machine may not have told anything yet: then it is the whole answer
    assert (problem["kind"], problem["message"]) == ("unavailable", REASON)


async def test_who_goes_on_speaking_is_told_the_last_words(
    server: Running, speech: NDArray[np.int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that was heard, at whatever moment that ended, and however slow the machine is."""
    monkeypatch.setattr("nemotron_asr.server.service.LAST_WORDS", 60)
    said = {latency: [asyncio.create_task(go_on(server, speech, latency)) for _ in range(3)] for latency in (80, 160)}
    async with asyncio.timeout(30):
        while sum(talk.duration > 1 for talk in server.service.conversations) < 6:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    talks = list(server.service.conversations)
    server.stop()
    finals = {latency: sorted([await speaker for speaker in speakers]) for latency, speakers in said.items()}
    fed = {round(talk.duration * RATE) for talk in talks}
    for latency, told in finals.items():
        heard = {server.recognizer.transcribe((speech[:end], RATE), latency_ms=latency).text for end in fed}
        assert all(told)
        assert set(told) <= heard


async def go_on(server: Running, speech: NDArray[np.int16], latency_ms: int) -> str:
    """Speak as a microphone does until the server closes the stream, as if the client had; its finals."""
    url = f"{server.websocket}/v1/stream?encoding=s16le&interim_results=no&latency_ms={latency_ms}"
    async with websockets.connect(url) as socket:

        async def speak() -> None:
            with suppress(websockets.ConnectionClosed):
                for start in range(0, len(speech), 320):
                    await socket.send(speech[start : start + 320].tobytes())
                    await asyncio.sleep(0.02)

        speaking = asyncio.create_task(speak())
        events = [json.loads(message) async for message in socket]
        await speaking
    assert socket.close_code == 1000
    return " ".join(event["text"] for event in events if event["type"] == "final")


async def test_a_connection_that_outlives_its_streams_is_told_why_it_ends(
    server: Running, speech: NDArray[np.int16]
) -> None:
    async with websockets.connect(f"{server.websocket}/v1/realtime?intent=transcription") as socket:

        async def speak() -> None:
            with suppress(websockets.ConnectionClosed):
                for start in range(0, len(speech), 2400):
                    audio = base64.b64encode(speech[start : start + 2400].tobytes()).decode()
                    await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
                    await asyncio.sleep(0.1)

        speaking, events = asyncio.create_task(speak()), list[dict[str, Any]]()
        with suppress(websockets.ConnectionClosed):
            while True:
                events.append(json.loads(await socket.recv()))
                if events[-1]["type"].endswith("delta"):
                    server.stop()
        await speaking
    *_, words, last = events
    assert words["type"].startswith("conversation.item.input_audio_transcription.")
    assert (last["error"]["type"], last["error"]["message"]) == ("server_error", REASON)
    assert socket.close_code == 1013


def uploading(server: Running, recording: bytes, rest: threading.Event) -> httpx.Response:
    """Send a form in two halves."""
    request = httpx.Request("POST", f"{server.http}/v1/audio/transcriptions", files={"file": ("a.wav", recording)})
    whole = request.read()

    def body() -> Iterator[bytes]:
        yield whole[: len(whole) // 2]
        rest.wait(30)
        yield whole[len(whole) // 2 :]

    headers = {"Content-Type": request.headers["content-type"]}
    return httpx.post(str(request.url), content=body(), headers=headers, timeout=60)


@pytest.mark.parametrize("in_time", [True, False])
def test_an_upload_may_finish(random_model_folder: Path, speech: NDArray[np.int16], in_time: bool) -> None:
    rest = threading.Event()
    with running(model=[str(random_model_folder)], drain_seconds=30 if in_time else 5) as server:
        heard = server.recognizer.transcribe((speech, RATE), latency_ms=1120)
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(uploading, server, as_wav(speech), rest)
            wait_until(lambda: server.service._uploads)
            server.stop()
            wait_until(lambda: server.service.draining)
            ready = httpx.get(f"{server.http}/health/ready")
            assert (ready.status_code, ready.json()) == (503, {"status": "stopping"})
            assert httpx.post(f"{server.http}/v1/stream", content=b"").status_code == 503
            wait_until(lambda: in_time or not server.service._uploads)
            rest.set()
            if in_time:
                assert answer.result().json()["text"] == heard.text
            else:
                assert (answer.result().status_code, answer.result().json()["error"]["message"]) == (503, REASON)
