"""What Prometheus reads of the engine."""

import json
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from nemotron_asr.audio import Samples
from nemotron_asr.engine import Engine
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
        assert read(server)["nemotron_asr_refused_total"] == 1
    refused = [vars(record)["fields"] for record in caplog.records if record.message == "refused"]
    assert [fields["protocol"] for fields in refused] == ["openai"]


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
