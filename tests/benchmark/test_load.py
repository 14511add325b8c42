"""Load on a server, through real sockets."""

from collections.abc import Iterator

import numpy as np
import pytest

from nemotron_asr.benchmark.load import LINES, load
from nemotron_asr.benchmark.nim_line import Nim
from nemotron_asr.cli.bench import PROTOCOLS
from tests.conftest import Sample
from tests.server.conftest import Running, running, server

__all__ = ["server"]  # a fixture

ANSWERED = {"nim": {0, 1, 2}, "wyoming": {0}}
"""Requests for the words so far that are answered: what knows no answer is not asked, NIM only where words are due."""


@pytest.mark.parametrize("protocol", LINES)
def test_every_protocol_bears_load(server: Running, samples: list[Sample], protocol: str) -> None:
    speech = np.concatenate([sample.audio for sample in samples])
    report = load(server.http, protocol, speech, streams=2, latency_ms=320, seconds=4, port=server.ports.get(protocol))
    assert (report.refused, report.failed, report.problem) == (0, 0, "")
    assert report.utterances >= 2
    assert report.words > 0
    assert len(report.ends) == report.utterances
    assert len(report.finals) in ANSWERED.get(protocol, {report.utterances})
    assert report.chunks > report.utterances
    assert report.cpu > 0
    assert 4 < report.audio <= 8


async def test_nim_is_asked_for_words_that_are_due(server: Running, samples: list[Sample]) -> None:
    packets = (samples[0].audio * 32767).astype("<i2").tobytes()
    async with Nim.open(server.http, 320, "") as line:
        await line.send(packets)
        asked, told = False, list[str]()
        async for kind, _ in line.told():
            told.append(kind)
            assert line.can_finalize or kind != "partial"
            if line.can_finalize and not asked:
                asked = True
                await line.finalize()
            if kind == "finalized":
                break
    assert told[-2:] == ["final", "finalized"]
    assert not line.can_finalize


@pytest.mark.parametrize("protocol", LINES)
def test_a_server_without_room_is_counted_and_asked_again(full: Running, samples: list[Sample], protocol: str) -> None:
    speech = np.concatenate([sample.audio for sample in samples])
    report = load(full.http, protocol, speech, streams=2, latency_ms=320, seconds=4, port=full.ports.get(protocol))
    assert (report.failed, report.utterances) == (0, 1)
    assert report.refused > 1
    assert "RefusedError" in report.problem
    assert "max_streams is 1" in report.problem


@pytest.fixture(scope="module")
def full() -> Iterator[Running]:
    """A server with room for one stream."""
    with running(max_streams=1) as server:
        yield server


@pytest.mark.parametrize(
    ("protocol", "said"), [("native", "HTTP 400"), ("nim", "81 ms is not offered"), ("riva", "INVALID_ARGUMENT")]
)
def test_a_stream_that_is_not_to_be_had_has_failed(
    server: Running, samples: list[Sample], protocol: str, said: str
) -> None:
    report = load(server.http, protocol, samples[0].audio, 1, latency_ms=81, seconds=4, port=server.ports.get(protocol))
    assert report.failed
    assert not report.refused
    assert said in report.problem


def test_the_command_line_offers_every_protocol() -> None:
    assert tuple(LINES) == PROTOCOLS
