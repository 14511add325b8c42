"""Long lists of likely phrases: whoever brings one waits for it, and nobody else does."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx2 as httpx
import numpy as np
import pytest
import websockets
from numpy.typing import NDArray

from nemotron_asr.decoding.boosting import MOST_PHRASES, boost_tree
from nemotron_asr.server import phrases
from nemotron_asr.tokenizer import Tokenizer
from tests.server.conftest import Running, running
from tests.server.contract import RATE
from tests.server.riva_client import config, service

LIST = [f"phrase number {number}" for number in range(phrases.LONG)]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Compiling a long list takes until the event is set."""
    ready = threading.Event()

    def compile_slowly(boost: Any, tokenizer: Tokenizer) -> object:
        if len(boost) >= phrases.LONG:
            assert ready.wait(60)
        return boost_tree(boost, tokenizer)

    monkeypatch.setattr(phrases, "boost_tree", compile_slowly)
    yield ready
    ready.set()


def connect(server: Running, query: str = "") -> websockets.connect:
    return websockets.connect(f"{server.websocket}/v1/stream?encoding=s16le&interim_results=no&{query}")


async def finals(socket: websockets.ClientConnection) -> list[str]:
    await socket.send('{"type": "close"}')
    events = [json.loads(message) async for message in socket]
    return [event["text"] for event in events if event["type"] == "final"]


async def test_others_do_not_wait(server: Running, speech: NDArray[np.int16], slow: threading.Event) -> None:
    heard = [segment.text for segment in server.recognizer.transcribe((speech, RATE), latency_ms=320).segments]
    async with connect(server) as patient, connect(server, "boost=Nemotron") as other:
        await patient.send(json.dumps({"type": "change", "boost": LIST}))
        await patient.send(speech.tobytes())
        await other.send(json.dumps({"type": "change", "boost": ["another"]}))
        await other.send(json.dumps({"type": "change", "boost": []}))
        await other.send(speech.tobytes())
        assert await asyncio.wait_for(finals(other), 60) == heard
        ready = await asyncio.to_thread(httpx.get, f"{server.http}/health/ready")
        assert ready.status_code == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(patient.recv(), 0.1)
        slow.set()
        assert len(await finals(patient)) > 0


def test_a_recording_with_a_list_lets_others_go_first(
    server: Running, speech: NDArray[np.int16], slow: threading.Event
) -> None:
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(httpx.post, f"{server.http}/v1/stream?encoding=s16le", params={"boost": LIST},
                                content=speech.tobytes(), timeout=60)  # fmt: skip
        other = httpx.post(f"{server.http}/v1/stream?encoding=s16le", content=speech.tobytes(), timeout=60)
        assert other.status_code == 200
        assert not waiting.done()
        slow.set()
        assert waiting.result(60).status_code == 200


async def test_who_goes_away_while_waiting_leaves_nothing(server: Running, slow: threading.Event) -> None:
    before = server.service.keys.check(None).open
    query = "&".join(f"boost={number}+words" for number in range(phrases.LONG))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connect(server, query).__aenter__(), 0.5)
    slow.set()
    async with connect(server) as socket:
        await finals(socket)
    await asyncio.to_thread(wait, lambda: server.service.keys.check(None).open == before)


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert done()


def test_limits_are_named(random_model_folder: Path) -> None:
    with running(model=[str(random_model_folder)], max_phrases=3) as server:
        url = f"{server.http}/v1/stream?encoding=s16le"
        for boost, status, said in [
            (["a", "b", "c", "d"], 413, "4 phrases are too many to boost; the limit is 3"),
            (["a" * 201], 400, "has 201 characters; 1 to 200 are possible"),
            (["a:5"], 400, "weight 5 of phrase 'a' is out of range; choose 0 to 4"),
        ]:
            answer = httpx.post(url, params={"boost": boost}, content=bytes(3200))
            assert answer.status_code == status
            assert said in answer.json()["error"]["message"]
        with service(server) as asr, pytest.raises(grpc.RpcError) as refused:
            asr.offline_recognize(bytes(3200), boosted([*"abcd"]))
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not any(key.open for key in server.service.keys.all())


def boosted(names: list[str]) -> Any:
    wanted = config()
    wanted.speech_contexts.add(phrases=names, boost=4.0)
    return wanted


def test_the_engine_has_a_limit_of_its_own(server: Running) -> None:
    lines = [str(number) for number in range(MOST_PHRASES + 1)]
    url, form = f"{server.http}/v1/audio/transcriptions", {"prompt": ",".join(lines)}
    answer = httpx.post(url, files={"file": ("a.wav", b"RIFF")}, data=form, timeout=60)
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "10001 phrases are too many to boost; the limit is 10000"
