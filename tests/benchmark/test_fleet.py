"""The load generator for fleets, on a small model and for a moment."""

import numpy as np

from nemotron_asr.benchmark.fleet import FleetService, serve_fleet
from nemotron_asr.engine.gpu import plain
from nemotron_asr.engine.gpu.fleet import Fleet
from nemotron_asr.engine.gpu.runner import GpuRunner
from nemotron_asr.features import LogMel
from tests.conftest import Sample, random_model, tiny_config


def test_everybody_is_served(samples: list[Sample]) -> None:
    config = tiny_config(n_layers=1)
    runner = GpuRunner(random_model(config), LogMel(config), plain, rows=1, most=1, chunks=())
    fleet = Fleet(runner, 4, 4, [1, 4])
    for aligned in (False, True):
        service = serve_fleet(fleet, samples[0].audio, 3, 320, 2.0, aligned=aligned)
        assert service.chunks >= 12
        assert service.chunks == service.served == sum(map(len, service.waits))
        assert len(service.delays) == 3
        assert min(service.delays) > 0
        assert service.words > 5
        assert 0 < service.busy < 1
        assert service.wait(0.5) > 0


def test_the_rules() -> None:
    service = FleetService(1, 80, chunks=1000, late=1, delays=[0.5], waits=[np.full(1000, 0.05, np.float32)])
    assert service.sustained
    assert service.sustained_loosely
    slow = FleetService(1, 80, chunks=1000, late=2, delays=[0.5], waits=[np.full(1000, 0.1, np.float32)])
    assert not slow.sustained
    assert not slow.sustained_loosely
