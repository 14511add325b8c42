"""What Prometheus reads."""

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from nemotron_asr.engine.admission import DELAYS
from nemotron_asr.server.models import Models

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self, models: Models) -> None:
        self.registry = registry = CollectorRegistry()
        whose = ("protocol", "model")
        self.streams = Gauge("nemotron_asr_streams", "Streams and recordings that are open.", whose, registry=registry)
        self.opened = Counter("nemotron_asr_opened", "Streams and recordings opened.", whose, registry=registry)
        self.refused = Counter("nemotron_asr_refused", "Those refused.", ("protocol", "kind"), registry=registry)
        self.failed = Counter(
            "nemotron_asr_failed", "Those ended by an error.", ("protocol", "kind"), registry=registry
        )
        self.audio = Counter("nemotron_asr_audio_seconds", "Audio heard.", whose, registry=registry)
        self.words = Counter("nemotron_asr_words", "Words in finals.", whose, registry=registry)
        self.lasted = Histogram(
            "nemotron_asr_stream_seconds", "How long they lasted.", whose, registry=registry,
            buckets=(1, 5, 15, 60, 300, 900, 3600, 14400),
        )  # fmt: skip
        self.to_final = Histogram(
            "nemotron_asr_to_final_seconds", "From a request for the final to its being told.", whose,
            registry=registry, buckets=_SECONDS,
        )  # fmt: skip
        registry.register(_Engines(models))
        ProcessCollector(registry=registry)


class _Engines(Collector):
    """What the engines count themselves, at the moment when it is asked for."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        chunks = CounterMetricFamily("nemotron_asr_chunks", "Chunks of live streams decoded.", labels=["model"])
        late = CounterMetricFamily("nemotron_asr_late_chunks", "Those that came too late.", labels=["model"])
        steps = CounterMetricFamily("nemotron_asr_steps", "Steps computed.", labels=["model"])
        live = GaugeMetricFamily("nemotron_asr_live_streams", "Live streams that are open.", labels=["model"])
        room = GaugeMetricFamily(
            "nemotron_asr_capacity", "Live streams that can be open at a latency.", labels=["model", "latency_ms"]
        )
        seconds = CounterMetricFamily("nemotron_asr_step_seconds", "Time that steps took.", labels=["model"])
        queue = GaugeMetricFamily("nemotron_asr_waiting", "Streams that have something to be done.", labels=["model"])
        delays = HistogramMetricFamily(
            "nemotron_asr_chunk_delay_seconds", "From the audio of a chunk to its words.", labels=["model"]
        )
        for name, engine in self._models.engines.items():
            state = engine.statistics
            counted = ((chunks, state.chunks), (late, state.late), (steps, state.steps), (seconds, state.computing))
            for metric, value in counted:
                metric.add_metric([name], value)
            live.add_metric([name], state.streams)
            queue.add_metric([name], state.waiting)
            bounds = [*map(str, DELAYS), "+Inf"]
            delays.add_metric([name], list(zip(bounds, accumulate(state.delays), strict=True)), state.delay)
            for latency, most in state.capacity.items():
                room.add_metric([name, str(latency)], most)
        return chunks, late, steps, seconds, live, queue, delays, room
