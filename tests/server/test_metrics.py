"""What Prometheus reads of the engine."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from socket import create_connection
from typing import Any

import grpc
import httpx
import pytest
import websockets
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from nemotron_asr.audio import Samples
from nemotron_asr.engine import Engine
from nemotron_asr.server.riva_messages import SERVICE, RecognizeRequest
from tests.conftest import Sample
from tests.server.conftest import Running, running


def read(server: Running) -> dict[str, float]:
    """Samples by name and, where there is one, bucket; summed over models."""
    told: dict[str, float] = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.http}/metrics").text):
        for sample in family.samples:
            name = f"{sample.name} {sample.labels['le']}" if "le" in sample.labels else sample.name
            told[name] = told.get(name, 0.0) + sample.value
    return told


def speak(engine: Engine, audio: Samples) -> None:
    with engine.open(latency_ms=320) as session:
        session.feed(audio)
    list(session)


def test_the_time_to_a_final_that_was_asked_for(server: Running) -> None:
    before = read(server)
    with connect(f"{server.websocket}/v1/stream?encoding=s16le") as socket:
        socket.send(bytes(32_000))
        socket.send('{"type": "finalize"}')
        while json.loads(socket.recv(30))["type"] != "finalized":
            pass
        during = read(server)
        socket.send('{"type": "close"}')
        list(socket)
    after = read(server)
    assert during["nemotron_asr_streams"] == before.get("nemotron_asr_streams", 0) + 1
    assert after["nemotron_asr_streams"] == during["nemotron_asr_streams"] - 1
    name = "nemotron_asr_to_final_seconds"
    assert after[f"{name}_count"] == before.get(f"{name}_count", 0) + 1
    assert after[f"{name}_sum"] > before.get(f"{name}_sum", 0)
    name = "nemotron_asr_audio_seconds_total"
    assert after[name] == before.get(name, 0) + 1
    assert after["nemotron_asr_stream_seconds_count"] > before.get("nemotron_asr_stream_seconds_count", 0)


def test_a_key_that_is_unknown_is_counted_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = tmp_path / "keys"
    keys.write_text("\N{ZERO WIDTH NO-BREAK SPACE}a-secret\n", encoding="utf-8")  # as Windows' Notepad begins a file
    with running(api_key_file=str(keys)) as server, caplog.at_level("INFO", "nemotron_asr"):
        for key, status in (("guessed", 401), ("a-secret", 400)):
            headers = {"Authorization": f"Bearer {key}"}
            assert httpx.post(f"{server.http}/v1/audio/transcriptions", headers=headers).status_code == status
        assert refusals(server) == {("openai", "unauthenticated"): 1, ("openai", "invalid"): 1}
    refused = [vars(record)["fields"] for record in caplog.records if record.message == "refused"]
    assert [fields["protocol"] for fields in refused] == ["openai", "openai"]


def refusals(server: Running, name: str = "refused") -> Counter[tuple[str, str]]:
    """How many, by protocol and kind."""
    families = text_string_to_metric_families(httpx.get(f"{server.http}/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return Counter({
        (sample.labels["protocol"], sample.labels["kind"]): int(sample.value)
        for sample in samples if sample.name == f"nemotron_asr_{name}_total"
    })  # fmt: skip


def post(path: str, **request: Any) -> Callable[[Running], object]:
    return lambda server: httpx.post(f"{server.http}{path}", timeout=30, **request)


def socket(path: str, *messages: str) -> Callable[[Running], None]:
    def ask(server: Running) -> None:
        with suppress(websockets.WebSocketException), connect(f"{server.websocket}{path}") as opened:
            for message in messages:
                opened.send(message)
            list(opened)

    return ask


def riva(server: Running, **config: Any) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['riva']}") as channel:
        recognize: Callable[..., bytes] = channel.unary_unary(f"/{SERVICE}/Recognize")
        request = RecognizeRequest(audio=b"OggS" + bytes(20_000), config=config)
        with pytest.raises(grpc.RpcError):
            recognize(request.SerializeToString(), timeout=30)


def wyoming(server: Running, sent: bytes, told: bytes) -> None:
    with create_connection(("127.0.0.1", server.ports["wyoming"])) as opened:
        opened.sendall(sent)
        assert told in opened.recv(1000)


RECORDINGS, SPEECH = "/v1/audio/transcriptions", {"file": ("a.wav", b"RIFF")}


@pytest.mark.parametrize(
    ("protocol", "kind", "ask"),
    [
        ("native", "invalid", post("/v1/stream?bogus=1")),
        ("native", "invalid", socket("/v1/stream?bogus=1")),
        ("native", "not_found", socket("/v1/stream?model=large")),
        ("openai", "invalid", post(RECORDINGS, files=SPEECH, data={"response_format": "tsv"})),
        ("openai", "invalid", post(RECORDINGS, files={"model": (None, "tiny")})),
        ("openai", "too_large", post(RECORDINGS, files={"file": bytes(40_000)})),
        ("openai-realtime", "not_found", socket("/v1/realtime?model=large")),
        ("openai-realtime", "invalid", post("/v1/realtime/client_secrets", json={"expires_after": {"seconds": 1}})),
        ("openai-realtime", "invalid", post("/v1/realtime/transcription_sessions", json={"input_audio_format": "mp7"})),
        ("nim-realtime", "invalid", socket(
            "/v1/realtime", '{"type": "transcription_session.update", "session": {"input_audio_params": 1}}'
        )),
        ("deepgram", "invalid", post("/v1/listen?diarize=true")),
        ("deepgram", "too_large", post("/v1/listen", content=bytes(40_000))),
        ("deepgram", "invalid", socket("/v1/listen?encoding=foo")),
        ("riva", "invalid", partial(riva, profanity_filter=True)),
        ("wyoming", "invalid", partial(
            wyoming, sent=b'{"type": "audio-stop"}\n', told=b"audio-stop came before audio-start"
        )),
        ("wyoming", "invalid", partial(wyoming, sent=b"hello\n", told=b"error")),
        ("http", "forbidden", post("/v1/stream", headers={"Origin": "https://elsewhere.example"})),
    ],
)  # fmt: skip
def test_whoever_is_refused_is_counted_and_logged_once(
    narrow: Running, caplog: pytest.LogCaptureFixture, protocol: str, kind: str, ask: Callable[[Running], object]
) -> None:
    before = refusals(narrow)
    with caplog.at_level("INFO", "nemotron_asr"):
        ask(narrow)
        assert refusals(narrow) - before == {(protocol, kind): 1}
    (refused,) = [vars(record)["fields"] for record in caplog.records if record.message == "refused"]
    assert refused["protocol"] == protocol
    assert refused["problem"]


@pytest.fixture(scope="module")
def narrow(random_model_folder: Path) -> Iterator[Running]:
    with running(model=[str(random_model_folder)], max_upload_bytes=30_000, idle_seconds=1) as server:
        yield server


@pytest.mark.parametrize(("path", "protocol"), [(RECORDINGS, "openai"), ("/v1/listen", "deepgram")])
def test_a_body_that_stands_still_is_counted(narrow: Running, path: str, protocol: str) -> None:
    before = refusals(narrow)
    about = "Host: a\r\nContent-Length: 100\r\nContent-Type: multipart/form-data; boundary=b"
    with create_connection(("127.0.0.1", narrow.ports["http"])) as opened:
        opened.sendall(f"POST {path} HTTP/1.1\r\n{about}\r\n\r\n".encode())
        assert b" 408 " in opened.recv(1000)
    assert refusals(narrow) - before == {(protocol, "timeout"): 1}


def test_what_fails_later_is_not_refused(narrow: Running) -> None:
    refused, failed = refusals(narrow), refusals(narrow, "failed")
    riva(narrow)
    post(RECORDINGS, files={"file": ("a.ogg", b"OggS" + bytes(20_000))})(narrow)
    assert refusals(narrow) == refused
    assert refusals(narrow, "failed") - failed == {("riva", "invalid"): 1, ("openai", "invalid"): 1}


def test_chunks_are_counted_with_their_delays(server: Running, samples: list[Sample]) -> None:
    before = read(server)
    speak(server.service.models.find(None).engine, samples[0].audio)
    after = read(server)
    chunks = after["nemotron_asr_chunks_total"] - before["nemotron_asr_chunks_total"]
    assert chunks > 0
    name = "nemotron_asr_chunk_delay_seconds"
    assert after[f"{name}_bucket +Inf"] == after[f"{name}_count"] == after["nemotron_asr_chunks_total"]
    buckets = [value for key, value in after.items() if key.startswith(f"{name}_bucket ") and "Inf" not in key]
    assert buckets == sorted(buckets)
    assert after["nemotron_asr_step_seconds_total"] > before["nemotron_asr_step_seconds_total"]
    assert after["nemotron_asr_waiting"] >= 0
    assert after["process_cpu_seconds_total"] > before["process_cpu_seconds_total"]
