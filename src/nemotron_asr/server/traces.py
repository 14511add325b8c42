"""OpenTelemetry: a span for every stream and recording, if the environment's OTEL_ variables ask for traces.

A span says which protocol, model, language, latency and how much audio; never what was said, nor what a client wrote.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from nemotron_asr import __version__
from nemotron_asr.errors import OptionError, needs_extra
from nemotron_asr.server.problems import Problem

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

EXPORTERS = ("otlp", "console", "none")

Figure = str | int | float | None


class Trace:
    """The span of one stream, if there is one."""

    def __init__(self, span: "Span | None") -> None:
        self._span = span

    def note(self, event: str, **figures: Figure) -> None:
        """Something happens now."""
        if self._span is not None:
            self._span.add_event(event, _named(figures))

    def end(self, problem: Problem | None = None, **figures: Figure) -> None:
        """The stream is over."""
        if self._span is None:
            return
        self._span.set_attributes(_named(figures))
        if problem is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", problem.kind.word)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class Traces:
    """Makes spans, and has them sent.

    Args:
        provider: OpenTelemetry's; None: there are no spans.
    """

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("nemotron_asr", __version__) if provider else None

    def begin(self, name: str, **figures: Figure) -> Trace:
        """A stream begins; its span belongs to the trace that the client's `traceparent` names."""
        if self._tracer is None:
            return Trace(None)
        from opentelemetry.trace import SpanKind

        return Trace(self._tracer.start_span(name, kind=SpanKind.SERVER, attributes=_named(figures)))

    def joined(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """A context whose spans belong to the trace that a request's headers name."""
        return nullcontext() if self._provider is None else _joined(headers)

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()


class Joining:
    """Middleware: what a request causes belongs to its client's trace."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app, self._traces = app, traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope.get("headers", ())}
        with self._traces.joined(headers):
            await self._app(scope, receive, send)


def traces_of(environment: Mapping[str, str] = os.environ) -> Traces:
    """What the standard variables ask for: traces only if they name an exporter or where to send them.

    Raises:
        OptionError: an exporter or a protocol that is not offered.
    """
    asked = [environment.get(f"OTEL_EXPORTER_OTLP{part}ENDPOINT") for part in ("_", "_TRACES_")]
    name = environment.get("OTEL_TRACES_EXPORTER") or ("otlp" if any(asked) else "none")
    if name == "none" or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Traces()
    if name not in EXPORTERS:
        raise OptionError(f"OTEL_TRACES_EXPORTER is {name!r}; choose {', '.join(EXPORTERS)}")
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in {None, "", "http/protobuf"}:
        raise OptionError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; choose http/protobuf")
    try:
        return Traces(_provider(_exporter(name)))
    except ImportError as error:
        problem = str(needs_extra("tracing", "otel", error.name))
        logger.warning("no traces", extra={"fields": {"problem": problem}})
        return Traces()


def _exporter(name: str) -> "SpanExporter":
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _provider(exporter: "SpanExporter") -> "TracerProvider":
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ours = Resource.create({"service.name": "nemotron-asr", "service.version": __version__})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


@contextmanager
def _joined(headers: Mapping[str, str]) -> Iterator[None]:
    from opentelemetry import context, propagate

    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def _named(figures: Mapping[str, Figure]) -> dict[str, str | int | float]:
    return {f"nemotron_asr.{name}": value for name, value in figures.items() if value is not None}
