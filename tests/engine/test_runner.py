"""A stream's tokens depend on its audio alone: not on packets, neighbours, or how much is decoded at once."""

import random
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.driver import Driver, tokens, whole
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.engine.runner import Runner
from nemotron_asr.engine.stream import Stream
from nemotron_asr.features import LogMel
from tests.conftest import Sample, random_model, tiny_config

CONFIG = tiny_config()
CHUNKS = [1, 2, 4, 7, 14]


@lru_cache
def runner() -> Runner:
    return Runner(random_model(CONFIG), LogMel(CONFIG))


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
    driver, position, turn = Driver(runner()), 0, 0
    heard: list[Emission] = []
    stream = driver.open(prompt, chunk)
    while position < len(audio):
        size = packets[turn % len(packets)]
        stream.feed(audio[position : position + size])
        position, turn = position + size, turn + 1
        heard += [emission for _, emissions in driver.drain() for emission in emissions]
    stream.close()
    heard += [emission for _, emissions in driver.drain() for emission in emissions]
    assert tokens(heard) == tokens(whole(runner(), audio, chunk, prompt))
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
    """Twelve streams of different lengths and languages on used rows, fed in ragged packets, come and go."""
    draw = random.Random(chunk)
    every = np.concatenate([sample.audio for sample in samples])
    jobs = [
        Job(every[draw.randrange(len(every)) :][: draw.randrange(500, 60000)], draw.randrange(128)) for _ in range(12)
    ]
    driver, waiting = Driver(runner()), list(jobs)
    live: dict[Stream, Job] = {}
    while waiting or live:
        while len(live) < 5 and waiting:
            job = waiting.pop()
            live[driver.open(job.prompt, chunk)] = job
        for stream, job in live.items():
            job.feed(stream, draw.randrange(9000))
        for stream, emissions in driver.drain():
            live[stream].heard += emissions
        for stream in [stream for stream in live if stream.closed]:
            driver.leave(stream)
            del live[stream]
    for job in jobs:
        assert tokens(job.heard) == tokens(whole(runner(), job.audio, chunk, job.prompt))
    assert sum(len(job.heard) for job in jobs) > 50


def test_the_language_matters(samples: list[Sample]) -> None:
    audio = samples[0].audio
    assert tokens(whole(runner(), audio, 4, 0)) != tokens(whole(runner(), audio, 4, 9))


def test_a_row_is_clean_when_it_is_used_again(samples: list[Sample]) -> None:
    driver = Driver(runner())
    heard = []
    for _ in range(2):
        stream = driver.open(0, 4)
        stream.feed(samples[1].audio)
        stream.close()
        heard.append([emission for _, emissions in driver.drain() for emission in emissions])
        driver.leave(stream)
    assert heard[0] == heard[1]


def test_steps_have_few_shapes(samples: list[Sample]) -> None:
    driver, shapes = Driver(runner()), set()
    audio = np.resize(samples[0].audio, 20 * 16000)
    for length in range(1, len(audio), 39973):
        stream = driver.open(0, 1)
        stream.feed(audio[:length])
        stream.close()
        while before := stream.next_work():
            t = stream.t
            driver.step()
            shapes.add(stream.t - t)
            assert before.end == length
        driver.leave(stream)
    assert shapes <= {1, 2, 4, 8, 16, 32, 64, 112}


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_flush_says_what_a_recording_cut_there_says(samples: list[Sample], chunk: int) -> None:
    """The words at a flush are those of the audio so far; then the stream goes on and says nothing twice."""
    audio = np.concatenate([sample.audio for sample in samples])[: 12 * 16000]
    for cut in (0, 700, 5000, 3 * 16000 + 77, 7 * 16000):
        driver = Driver(runner())
        stream = driver.open(5, chunk)
        stream.feed(audio[:cut])
        stream.flush()
        stream.feed(audio[cut:])
        before: list[Emission] = []
        while stream._flushes:
            before += [emission for _, said in driver.step() for emission in said]
        assert tokens(before) == tokens(whole(runner(), audio[:cut], chunk, 5))
        stream.close()
        after = [emission for _, said in driver.drain() for emission in said]
        assert all(emission.frame >= stream_frame(before, cut) for emission in after)
        frames = [emission.frame for emission in [*before, *after]]
        assert frames == sorted(frames)
        assert len(after) > 5


def stream_frame(said: list[Emission], cut: int) -> int:
    return max([cut // 1280, *(emission.frame + 1 for emission in said)])


def test_the_encoder_does_not_notice_a_flush(samples: list[Sample]) -> None:
    audio = samples[0].audio
    undisturbed, _ = keys(audio, len(audio), flush=False)
    for position in range(0, len(audio), 9000):
        disturbed, flushed = keys(audio, position, flush=True)
        assert flushed
        torch.testing.assert_close(disturbed, undisturbed, atol=1e-4, rtol=0)


def keys(audio: Samples, position: int, *, flush: bool) -> tuple[torch.Tensor, bool]:
    """The attention keys after all whole chunks of `audio`, and whether a flush was answered."""
    driver = Driver(runner())
    stream = driver.open(5, 4)
    stream.feed(audio[:position])
    if flush:
        stream.flush()
    stream.feed(audio[position:])
    for _ in driver.drain():
        pass
    return driver.pool.encoder.k, not stream._flushes
