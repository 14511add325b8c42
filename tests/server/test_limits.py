"""A server with keys, TLS and narrow limits: each is told, and nothing is left behind."""

import asyncio
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import trustme
import websockets
from websockets.asyncio.client import ClientConnection

from tests.server.conftest import Running, running

SECOND = bytes(32_000)


@dataclass(frozen=True)
class Guarded:
    """The server, and what its clients need."""

    server: Running
    tls: ssl.SSLContext

    def http(self, key: str | None = "alpha") -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.server.http, verify=self.tls, headers=headers, timeout=30)

    def socket(self, query: str = "", key: str = "alpha") -> websockets.connect:
        url = f"{self.server.websocket}/v1/stream?encoding=s16le&{query}"
        return websockets.connect(url, ssl=self.tls, additional_headers={"Authorization": f"Token {key}"})


@pytest.fixture(scope="module")
def guarded(random_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority, certificate = trustme.CA(), None
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    (folder / "keys").write_text("alpha name=one\nbeta streams=1\ngamma seconds_per_day=2\n")
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    with running(
        model=[f"first={random_model_folder}", f"second={random_model_folder}"], api_key_file=str(folder / "keys"),
        tls_certificate=str(folder / "server.pem"), cors_origin=["https://a.example"], max_message_bytes=64_000,
        max_upload_bytes=100_000, max_audio_seconds=20, max_session_seconds=4, idle_seconds=1, max_uploads=1,
    ) as server:  # fmt: skip
        yield Guarded(server, tls)


async def until_closed(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """All messages, and the code of the end."""
    messages: list[dict[str, Any]] = []
    with suppress(websockets.ConnectionClosed):
        while True:
            messages.append(json.loads(await socket.recv()))
    return messages, socket.close_code or 0


@contextmanager
def refused(status: int) -> Iterator[Any]:
    with pytest.raises(websockets.InvalidStatus) as raised:
        yield raised
    assert raised.value.response.status_code == status


def test_keys_are_needed(guarded: Guarded) -> None:
    with guarded.http(None) as client:
        assert client.get("/health/live").json() == {"status": "live"}
        assert client.get("/v1/health/ready").json() == {"status": "ready"}
        assert client.get("/v1/models").status_code == 401
        answer = client.post("/v1/stream", content=SECOND)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert client.post("/v1/audio/transcriptions").json()["error"]["code"] == "invalid_api_key"
        assert client.get("/v1/models", headers={"X-API-Key": "alpha"}).status_code == 200
    with guarded.http("wrong") as client:
        assert client.post("/v1/stream", content=SECOND).json()["error"]["message"] == "this API key is unknown"


async def test_a_websocket_is_refused_in_its_handshake(guarded: Guarded) -> None:
    for query, key, status in [("", "wrong", 401), ("model=large", "alpha", 404), ("latency_ms=90", "alpha", 400),
                               ("colour=red", "alpha", 400), ("sample_rate=1", "alpha", 400),
                               ("channels=2&channel=2", "alpha", 400), ("boost=x:11", "alpha", 400)]:  # fmt: skip
        with refused(status):
            await guarded.socket(query, key).__aenter__()


def test_several_models(guarded: Guarded) -> None:
    with guarded.http() as client:
        models = client.get("/v1/models").json()["data"]
        assert [model["id"] for model in models] == ["first", "second"]
        assert models[0]["latencies_ms"] == [80, 160, 320, 560, 1120]
        assert client.post("/v1/stream?model=second&encoding=s16le", content=SECOND).status_code == 200


async def test_streams_of_a_key(guarded: Guarded) -> None:
    async with guarded.socket(key="beta") as first:
        await first.send(SECOND)
        with refused(429):
            await guarded.socket(key="beta").__aenter__()
        await first.send('{"type": "close"}')
        await until_closed(first)
    async with guarded.socket(key="beta") as again:
        await again.send('{"type": "close"}')
        assert (await until_closed(again))[1] == 1000


async def test_seconds_of_a_key(guarded: Guarded) -> None:
    async with guarded.socket(key="gamma") as socket:
        for _ in range(3):
            await socket.send(SECOND)
        messages, code = await until_closed(socket)
    assert messages[-1]["kind"] == "too_many"
    assert code == 1013
    with refused(429):
        await guarded.socket(key="gamma").__aenter__()


async def test_a_stream_that_says_nothing_ends(guarded: Guarded) -> None:
    async with guarded.socket() as socket:
        began = time.monotonic()
        messages, code = await until_closed(socket)
    assert messages == [
        {"type": "error", "kind": "timeout", "message": "no audio came for 1 s, which is the limit", "parameter": None}
    ]
    assert code == 1008
    assert time.monotonic() - began < 10


async def test_a_stream_is_kept_alive_until_it_is_too_long(guarded: Guarded) -> None:
    async with guarded.socket() as socket:

        async def keep() -> None:
            while True:
                await socket.send('{"type": "keep_alive"}')
                await asyncio.sleep(0.2)

        keeping = asyncio.create_task(keep())
        messages, _ = await until_closed(socket)
        keeping.cancel()
    assert messages[-1]["message"] == "the stream has lasted 4 s, which is the limit"


async def test_audio_of_a_stream_is_limited(guarded: Guarded) -> None:
    async with guarded.socket() as socket:
        for _ in range(5):
            await socket.send(SECOND)
        messages, code = await until_closed(socket)
    assert messages[-1]["kind"] == "too_large"
    assert code == 1009


async def test_a_message_is_limited(guarded: Guarded) -> None:
    async with guarded.socket() as socket:
        await socket.send(bytes(64_001))
        assert (await until_closed(socket))[1] == 1009


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"type": "sing"}', "'sing' is unknown; choose finalize"),
        ('{"type": "change", "language": 5}', "language is 5, not a string"),
        ('{"type": "change", "language": "xx"}', "'xx' is unknown"),
        ('{"type": "change", "latency_ms": true}', "not a whole number"),
        ('{"type": "change", "boost": [1]}', "not a list of phrases"),
        ('{"type": "change", "colour": "red"}', "choose language, languages, latency_ms, boost"),
    ],
)
async def test_a_wrong_message_is_named(guarded: Guarded, message: str, said: str) -> None:
    async with guarded.socket() as socket:
        await socket.send(message)
        messages, code = await until_closed(socket)
    assert said in messages[-1]["message"]
    assert code == 1008


def test_a_body_is_limited(guarded: Guarded) -> None:
    with guarded.http() as client:
        assert client.post("/v1/stream", content=bytes(100_001)).status_code == 413
        assert client.post("/v1/stream", content=iter([bytes(60_000)] * 2)).status_code == 413
        file = {"file": ("a.wav", bytes(100_001))}
        form = client.post("/v1/audio/transcriptions", files=file, data={"model": "first"})
        assert form.status_code == 413


def test_what_a_small_body_decodes_to_is_limited(guarded: Guarded, ten_silent_hours: bytes) -> None:
    """While it is decoded: no more is heard than may be."""
    assert len(ten_silent_hours) < 100_000
    with guarded.http() as client:
        before = audio_heard(client)
        answer = client.post("/v1/audio/transcriptions", files={"file": ("a.flac", ten_silent_hours)})
        assert answer.status_code == 413
        assert answer.json()["error"]["message"] == "the audio lasts longer than 20 s, which is the limit"
        assert "too_large" in client.post("/v1/stream", content=ten_silent_hours).text.splitlines()[-1]
        assert audio_heard(client) - before <= 40


def audio_heard(client: httpx.Client) -> float:
    """Seconds that all streams and recordings have brought."""
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("nemotron_asr_audio_seconds_total"))


def test_a_body_that_stands_still_ends(guarded: Guarded) -> None:
    def slow() -> Iterator[bytes]:
        yield SECOND
        time.sleep(3)
        yield SECOND

    with guarded.http() as client:
        answer = client.post("/v1/stream", content=slow())
        lines = answer.text.splitlines()
        last = json.loads(lines[-1])
        assert last["kind"] == "timeout"
        assert "came for 1 s" in last["message"]


def test_a_body_that_comes_for_too_long_ends(guarded: Guarded) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(64)
            time.sleep(0.1)

    with guarded.http() as client:
        answer = client.post("/v1/stream?encoding=s16le", content=endless())
    assert answer.status_code == 408
    assert answer.json()["error"]["message"] == "the body has been coming for 4 s, which is the limit"


def test_uploads_at_once_are_limited(guarded: Guarded) -> None:
    def slow() -> Iterator[bytes]:
        yield SECOND
        with guarded.http() as other:
            answer = other.post("/v1/stream?encoding=s16le", content=SECOND)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert "1 recordings are being taken in" in answer.json()["error"]["message"]

    with guarded.http() as client:
        assert client.post("/v1/stream?encoding=s16le", content=slow()).status_code == 200


def test_only_named_origins_may_call(guarded: Guarded) -> None:
    with guarded.http() as client:
        asked = {"Access-Control-Request-Method": "POST"}
        ours = client.options("/v1/stream", headers={"Origin": "https://a.example", **asked})
        assert ours.headers["access-control-allow-origin"] == "https://a.example"
        others = client.options("/v1/stream", headers={"Origin": "https://b.example", **asked})
        assert "access-control-allow-origin" not in others.headers


async def test_counters_count(guarded: Guarded) -> None:
    with refused(404):
        await guarded.socket("model=large").__aenter__()
    async with guarded.socket("model=second") as socket:
        await socket.send("{")
        await until_closed(socket)
    with guarded.http(None) as client:
        lines = client.get("/metrics").text.splitlines()
    counters = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(counters['nemotron_asr_refused_total{kind="not_found",protocol="native"}']) >= 1
    assert float(counters['nemotron_asr_failed_total{kind="invalid",protocol="native"}']) >= 1
    assert float(counters['nemotron_asr_streams{model="second",protocol="native"}']) == 0
    assert float(counters['nemotron_asr_opened_total{model="second",protocol="native"}']) >= 1
    assert 'nemotron_asr_capacity{latency_ms="320",model="first"}' in counters


def test_nothing_is_left(guarded: Guarded) -> None:
    assert not guarded.server.service.conversations
    assert all(key.open == 0 for key in guarded.server.service.keys.all())
    assert not any(engine.statistics.streams for engine in guarded.server.service.models.engines.values())
