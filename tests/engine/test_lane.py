"""A stream's tokens depend on its audio alone: not on packets, neighbours, or how much is decoded at once."""

import random
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.engine.lane import Lane
from nemotron_asr.engine.runner import Runner
from nemotron_asr.engine.stream import Samples, Stream
from nemotron_asr.features import LogMel
from tests.conftest import Sample, random_model, tiny_config

CONFIG = tiny_config()
CHUNKS = [1, 2, 4, 7, 14]


@lru_cache
def runner() -> Runner:
    return Runner(random_model(CONFIG), LogMel(CONFIG))


def whole(audio: Samples, chunk: int, prompt: int) -> list[Emission]:
    lane = Lane(runner(), chunk)
    stream = lane.open(prompt)
    stream.feed(audio)
    stream.close()
    return [emission for _, emissions in lane.drain() for emission in emissions]


def tokens(emissions: list[Emission]) -> list[tuple[int, int]]:
    return [(emission.token, emission.frame) for emission in emissions]


@given(
    samples_long=st.integers(0, 30 * 16000),
    packets=st.lists(st.integers(1, 20000), min_size=1, max_size=5),
    chunk=st.sampled_from(CHUNKS),
    prompt=st.integers(0, 127),
)
@settings(max_examples=12, deadline=None)
def test_packets_do_not_matter(
    samples: list[Sample], samples_long: int, packets: list[int], chunk: int, prompt: int
) -> None:
    audio = np.resize(np.concatenate([sample.audio for sample in samples]), samples_long)
    lane, heard, position, turn = Lane(runner(), chunk), [], 0, 0
    stream = lane.open(prompt)
    while position < len(audio):
        size = packets[turn % len(packets)]
        stream.feed(audio[position : position + size])
        position, turn = position + size, turn + 1
        heard += [emission for _, emissions in lane.drain() for emission in emissions]
    stream.close()
    heard += [emission for _, emissions in lane.drain() for emission in emissions]
    assert tokens(heard) == tokens(whole(audio, chunk, prompt))
    if samples_long > 5 * 16000:
        assert heard


@dataclass
class Job:
    """A stream that is being fed, and what was heard."""

    audio: Samples
    prompt: int
    fed: int = 0
    heard: list[Emission] = field(default_factory=list)

    def feed(self, stream: Stream, size: int) -> None:
        stream.feed(self.audio[self.fed : self.fed + size])
        self.fed += size
        if self.fed >= len(self.audio):
            stream.close()


@pytest.mark.parametrize("chunk", CHUNKS)
def test_neighbours_do_not_matter(samples: list[Sample], chunk: int) -> None:
    """Twelve streams of different lengths and languages on five rows, fed in ragged packets, come and go."""
    draw = random.Random(chunk)
    every = np.concatenate([sample.audio for sample in samples])
    jobs = [
        Job(every[draw.randrange(len(every)) :][: draw.randrange(500, 60000)], draw.randrange(128)) for _ in range(12)
    ]
    lane, waiting = Lane(runner(), chunk, rows=5), list(jobs)
    live: dict[Stream, Job] = {}
    while waiting or live:
        while lane.free and waiting:
            job = waiting.pop()
            live[lane.open(job.prompt)] = job
        for stream, job in live.items():
            job.feed(stream, draw.randrange(9000))
        for stream, emissions in lane.drain():
            live[stream].heard += emissions
        for stream in [stream for stream in live if stream.closed]:
            lane.leave(stream)
            del live[stream]
    for job in jobs:
        assert tokens(job.heard) == tokens(whole(job.audio, chunk, job.prompt))
    assert sum(len(job.heard) for job in jobs) > 50


def test_the_language_matters(samples: list[Sample]) -> None:
    audio = samples[0].audio
    assert tokens(whole(audio, 4, 0)) != tokens(whole(audio, 4, 9))


def test_a_row_is_clean_when_it_is_used_again(samples: list[Sample]) -> None:
    lane = Lane(runner(), 4)
    heard = []
    for _ in range(2):
        stream = lane.open(0)
        stream.feed(samples[1].audio)
        stream.close()
        heard.append([emission for _, emissions in lane.drain() for emission in emissions])
        lane.leave(stream)
    assert heard[0] == heard[1]


def test_steps_have_few_shapes(samples: list[Sample]) -> None:
    lane, shapes = Lane(runner(), 1), set()
    audio = np.resize(samples[0].audio, 20 * 16000)
    for length in range(1, len(audio), 39973):
        stream = lane.open(0)
        stream.feed(audio[:length])
        stream.close()
        while stream.available > 0:
            shapes.add(lane._frames(stream))
            list(lane.step())
        lane.leave(stream)
    assert shapes <= {1, 2, 4, 8, 16, 32, 64, 112}
