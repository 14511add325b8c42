"""Spans, as OpenTelemetry's own SDK sees them."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import websockets
from numpy.typing import NDArray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from nemotron_asr.errors import OptionError
from nemotron_asr.server import traces
from nemotron_asr.server.traces import traces_of
from tests.server.conftest import Running, running
from tests.server.contract import RATE
from tests.server.riva_client import config, service, streaming

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Kept(InMemorySpanExporter):
    """Spans that have ended, by name."""

    def named(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.get_finished_spans()}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    exporter = Kept()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "captions")
    monkeypatch.setattr(traces, "_exporter", lambda _: exporter)
    return exporter


def stream(server: Running, query: str, *messages: bytes | str) -> list[dict[str, Any]]:
    async def talk() -> list[dict[str, Any]]:
        said = list[dict[str, Any]]()
        try:
            async with websockets.connect(f"{server.websocket}/v1/stream?encoding=s16le&{query}") as socket:
                for message in messages:
                    await socket.send(message)
                said += [json.loads(message) async for message in socket]
        except (websockets.ConnectionClosedError, websockets.InvalidStatus):
            pass
        return said

    return asyncio.run(talk())


def test_streams_and_recordings_are_spans(kept: Kept, random_model_folder: Path, speech: NDArray[np.int16]) -> None:
    sent, close = speech.tobytes(), '{"type": "close"}'
    with running(model=[f"mine={random_model_folder}"]) as server:
        said = stream(server, "language=de&latency_ms=160", sent, '{"type": "finalize"}', close)
        parent = f"00-{TRACE}-b7ad6b7169203331-01"
        url, headers = f"{server.http}/v1/stream?encoding=s16le", {"traceparent": parent}
        assert httpx.post(url, content=sent, headers=headers, timeout=60).status_code == 200
        with service(server, metadata_args=[["traceparent", parent]]) as asr:
            asr.offline_recognize(sent, config())
            list(asr.streaming_response_generator([sent], streaming()))
    spans = kept.named()
    assert list(spans) == ["native stream", "native recording", "riva recording", "riva stream"]
    live = spans["native stream"]
    text = " ".join(event["text"] for event in said if event["type"] == "final")
    figures = dict(live.attributes or {})
    assert figures.pop("nemotron_asr.stream")
    assert figures == {
        "nemotron_asr.protocol": "native", "nemotron_asr.model": "mine", "nemotron_asr.language": "de",
        "nemotron_asr.latency_ms": 160, "nemotron_asr.audio_seconds": round(len(speech) / RATE, 3),
        "nemotron_asr.words": len(text.split()), "nemotron_asr.detected_language": "de-DE",
    }  # fmt: skip
    assert [event.name for event in live.events] == ["finalized"]
    assert (live.kind, live.status.status_code) == (SpanKind.SERVER, StatusCode.UNSET)
    assert live.resource.attributes["service.name"] == "captions"
    traces = {name: span.context and f"{span.context.trace_id:032x}" for name, span in spans.items()}
    assert traces.pop("native stream") != TRACE
    assert set(traces.values()) == {TRACE}
    assert not any(word in span.to_json() for span in spans.values() for word in text.split() if len(word) > 4)


def test_what_goes_wrong_is_named_by_its_kind_alone(kept: Kept, random_model_folder: Path) -> None:
    with running(model=[str(random_model_folder)]) as server:
        stream(server, "", '{"type": "secret words"}')
        stream(server, "language=secret")
    broken, refused = (kept.named()[name] for name in ("native stream", "native refused"))
    for span in (broken, refused):
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "invalid"
        assert "secret" not in span.to_json()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExportTraceServiceRequest]]:
    """What a collector receives over OTLP."""
    received = list[ExportTraceServiceRequest]()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield received
        server.shutdown()
        thread.join()


def test_a_collector_receives_them(
    collector: list[ExportTraceServiceRequest], random_model_folder: Path, silence: NDArray[np.int16]
) -> None:
    with running(model=[str(random_model_folder)]) as server:
        httpx.post(f"{server.http}/v1/stream?encoding=s16le", content=silence.tobytes())
    (request,) = collector
    (resource,) = request.resource_spans
    assert [span.name for span in resource.scope_spans[0].spans] == ["native recording"]
    assert {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"] == "nemotron-asr"


@pytest.mark.parametrize(
    "environment",
    [
        {}, {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, {"OTEL_SERVICE_NAME": "a"},
    ],
)  # fmt: skip
def test_nobody_asks_for_them(environment: dict[str, str]) -> None:
    assert traces_of(environment)._provider is None


def test_who_asks_for_none_imports_nothing() -> None:
    code = (
        "import sys; from nemotron_asr.server.service import Service, Settings; import nemotron_asr.server.serving;"
        "from nemotron_asr.server.traces import traces_of; traces_of({}).begin('a').end();"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_what_is_not_offered_is_named(wrong: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="; choose"):
        traces_of(wrong)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with caplog.at_level(logging.WARNING):
        assert traces_of({"OTEL_TRACES_EXPORTER": "console"})._provider is None
    assert "nemotron-asr[otel]" in str(caplog.records[-1].__dict__["fields"])
