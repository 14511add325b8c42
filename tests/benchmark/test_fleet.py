"""The load generator for fleets, on a small model and for a moment."""

import numpy as np
import pytest

from nemotron_asr.benchmark import fleet as measuring
from nemotron_asr.benchmark.fleet import FleetService, serve_fleet
from nemotron_asr.config import FRAME_SAMPLES
from nemotron_asr.engine.gpu import plain
from nemotron_asr.engine.gpu.fleet import Fleet, Floats, Longs, Said
from nemotron_asr.engine.gpu.runner import GpuRunner
from nemotron_asr.features import LogMel, window_samples
from tests.conftest import Sample, random_model, tiny_config


def test_everybody_is_served(samples: list[Sample]) -> None:
    config = tiny_config(n_layers=1)
    runner = GpuRunner(random_model(config), LogMel(config), plain, rows=1, most=1, chunks=())
    fleet = Fleet(runner, 4, 4, [1, 4])
    for aligned in (False, True):
        service = serve_fleet(fleet, samples[0].audio, 3, 320, 2.0, aligned=aligned)
        assert service.chunks >= 12
        assert service.chunks == service.served == sum(map(len, service.waits))
        assert not service.delays  # nobody has come to an end of their own
        assert service.words > 5
        assert 0 < service.busy < 1.1  # a step that began before the trial counts as a whole
        assert service.wait(0.5) > 0


class Clock:
    """Stands still but for naps and steps."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Machine(Fleet):
    """Serves so many streams of 320 ms and no more: each chunk takes its share of that time, four to a step."""

    most = 4

    def __init__(self, clock: Clock, streams: int, capacity: int) -> None:
        self.clock, self.streams, self.chunk, self.seconds = clock, streams, 4, 0.320 / capacity
        self._ring = 1 << (window_samples(4) + 2 * FRAME_SAMPLES * 4 - 1).bit_length()
        self.t, self.fed = np.zeros(streams, np.int64), np.zeros(streams, np.int64)
        self.closed, self.who = np.ones(streams, np.bool_), np.zeros(0, np.int64)

    def begin(self, who: Longs) -> None:
        self.t[who] = self.fed[who] = 0
        self.closed[who] = False

    def feed(self, who: Longs, samples: Floats) -> None:
        self.fed[who] += samples.shape[1]

    def start(self, who: Longs) -> None:
        self.who = who
        self.t[who] += self.chunk

    def finish(self) -> Said:
        self.clock.now += len(self.who) * self.seconds
        nothing, none = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return Said(nothing, nothing, nothing, none, none)


def served(monkeypatch: pytest.MonkeyPatch, streams: int, seconds: float, *, aligned: bool) -> FleetService:
    """By a machine for 40 streams."""
    clock = Clock()
    monkeypatch.setattr(measuring, "time", clock)
    speech = np.zeros(160_000, np.float32)
    return serve_fleet(Machine(clock, streams, 40), speech, streams, 320, seconds, aligned=aligned)


def test_a_machine_that_is_too_slow_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the looser rule too: the first chunks are in time on any machine, and no trial ends with them."""
    for streams, sustained in ((32, True), (60, False)):
        assert served(monkeypatch, streams, 10.0, aligned=True).sustained_loosely == sustained
        strict = served(monkeypatch, streams, 30.0, aligned=False)
        assert strict.sustained == sustained
        assert strict.broken_off != sustained


def test_the_end_of_a_trial_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who speaks then is cut off, and not heard to the end with all the others at the same instant."""
    service = served(monkeypatch, 36, 40.0, aligned=False)
    assert 36 * 2 <= len(service.delays) <= 36 * 5
    assert service.delay < 0.6
    assert service.late_share == 0


def test_what_was_broken_off_was_not_sustained() -> None:
    waits = [np.full(1000, 0.05, np.float32)]
    service = FleetService(1, 80, chunks=1000, delays=[0.5], waits=waits, broken_off=True)
    assert not service.sustained
    assert not service.sustained_loosely


def test_the_rules() -> None:
    service = FleetService(1, 80, chunks=1000, late=1, delays=[0.5], waits=[np.full(1000, 0.05, np.float32)])
    assert service.sustained
    assert service.sustained_loosely
    slow = FleetService(1, 80, chunks=1000, late=2, delays=[0.5], waits=[np.full(1000, 0.1, np.float32)])
    assert not slow.sustained
    assert not slow.sustained_loosely
