"""No word is lost at the end of what was fed, wherever that lies, and none comes behind it."""

import pytest

from nemotron_asr.engine import Engine
from nemotron_asr.events import Final
from tests.conftest import Sample

FRAME = 1280
ENOUGH = 256
"""Samples of a frame with which the one before it is whole: with one fewer, the end is still to come."""


def text(engine: Engine, sample: Sample, length: int, latency: int, beam: int) -> str:
    with engine.open(latency_ms=latency, beam=beam, endpointing_ms=None) as session:
        session.feed(sample.audio[:length])
        session.settle().result(10)
        session.close()
        return " ".join(event.segment.text for event in session if isinstance(event, Final))


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize(("latency", "frames"), [(80, range(8, 16)), (320, range(7, 20, 4))])
def test_a_stream_that_ends_with_a_whole_chunk(
    engine: Engine, samples: list[Sample], latency: int, frames: range, beam: int
) -> None:
    """A sample more or less makes no frame, and so no word."""
    for k in frames:
        one_less, whole = (text(engine, samples[0], FRAME * k + n, latency, beam) for n in (ENOUGH - 1, ENOUGH))
        assert whole == one_less


@pytest.mark.parametrize("beam", [1, 4])
def test_words_that_are_asked_for_at_once(engine: Engine, samples: list[Sample], beam: int) -> None:
    """They are those of all that was fed, whether the engine has got that far or not."""
    for k in range(6, 20):
        said = []
        for settled in (False, True):
            with engine.open(latency_ms=80, beam=beam, endpointing_ms=None) as session:
                session.feed(samples[0].audio[: FRAME * k + ENOUGH])
                if settled:
                    session.settle().result(10)
                segment = session.finalize().result(10)
                said.append(segment.text if segment else None)
        assert said[0] == said[1]
