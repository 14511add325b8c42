"""Load on a server, through real sockets."""

import numpy as np
import pytest

from nemotron_asr.benchmark.load import LINES, load
from nemotron_asr.cli.bench import PROTOCOLS
from tests.conftest import Sample
from tests.server.conftest import Running, server

__all__ = ["server"]  # a fixture


@pytest.mark.parametrize("protocol", LINES)
def test_every_protocol_bears_load(server: Running, samples: list[Sample], protocol: str) -> None:
    speech = np.concatenate([sample.audio for sample in samples])
    report = load(server.http, protocol, speech, streams=2, latency_ms=320, seconds=4, grpc_port=server.ports["riva"])
    assert (report.failed, report.problem) == (0, "")
    assert report.utterances >= 2
    assert report.words > 0
    assert len(report.finals) == len(report.ends) == report.utterances
    assert report.chunks > 10
    assert report.cpu > 0
    assert 4 < report.audio <= 8


def test_a_server_that_refuses_is_counted(server: Running, samples: list[Sample]) -> None:
    report = load(server.http, "native", samples[0].audio, streams=1, latency_ms=81, seconds=2)
    assert report.failed
    assert "400" in report.problem


def test_the_command_line_offers_every_protocol() -> None:
    assert tuple(LINES) == PROTOCOLS
