"""The GPU's runner against the eager one: in plain torch, in Triton's interpreter, and over recorded steps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import pairwise
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.driver import Driver, tokens, whole
from nemotron_asr.config import ModelConfig
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.engine.gpu import fused, plain
from nemotron_asr.engine.gpu.encoder import Kernels
from nemotron_asr.engine.gpu.graphs import Recording
from nemotron_asr.engine.gpu.layout import RingState
from nemotron_asr.engine.gpu.runner import LOOSE, MOST_ROWS, GpuRunner, RingPool, buckets, rows_that_fit
from nemotron_asr.engine.gpu.step import Shape
from nemotron_asr.engine.runner import Part, Runner
from nemotron_asr.engine.stream import UNKNOWN_END, Stream, Target
from nemotron_asr.features import LogMel, window_samples
from nemotron_asr.model import Encoder, NemotronASR
from tests.conftest import Sample, random_model, tiny_config
from tests.engine.gpu.cases import DEVICE

CONFIG = tiny_config()
CHUNKS = [1, 2, 4, 7, 14]


MODELS: dict[str, NemotronASR] = {}


def model(config: ModelConfig) -> NemotronASR:
    return MODELS.setdefault(str(config), random_model(config))


def eager(config: ModelConfig = CONFIG) -> Runner:
    return Runner(model(config), LogMel(config))


class Fake:
    """Records nothing but counts: a replay does the work again."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, work: Callable[[], None]) -> Recording:
        self.recorded += 1
        work()
        return FakeRecording(self, work)


class FakeRecording:
    def __init__(self, fake: Fake, work: Callable[[], None]) -> None:
        self.fake, self.work = fake, work

    def replay(self) -> None:
        self.fake.replayed += 1
        self.work()


def new_runner(
    config: ModelConfig = CONFIG, kernels: Kernels = plain, fake: Fake | None = None, rows: int = 8
) -> GpuRunner:
    front_end = LogMel(config)
    return GpuRunner(model(config), front_end, kernels, recorder=fake or Fake(), chunks=[1, 14], rows=rows, most=4)


def everything(runner: Runner, audios: list[Samples], chunk: int, draw: np.random.Generator) -> list[list[Emission]]:
    """What streams say that are fed in ragged packets, with flushes, side by side."""
    driver = Driver(runner, len(audios))
    streams = [driver.open(i, chunk) for i in range(len(audios))]
    heard: dict[Stream, list[Emission]] = {stream: [] for stream in streams}
    fed = [0] * len(audios)
    while driver.streams:
        for i, (stream, audio) in enumerate(zip(streams, audios, strict=True)):
            size = int(draw.integers(1, 30000))
            if stream in driver.streams and not stream.closed:
                stream.feed(audio[fed[i] : fed[i] + size])
                fed[i] += size
                if fed[i] >= len(audio):
                    stream.close()
                elif draw.random() < 0.3:
                    stream.flush()
        for stream, emissions in driver.drain():
            heard[stream] += emissions
        for stream in [stream for stream in driver.streams if stream.closed]:
            driver.leave(stream)
    return list(heard.values())


@given(seed=st.integers(0, 2**32 - 1), chunk=st.sampled_from(CHUNKS))
@settings(max_examples=3, deadline=None)
def test_streams_say_what_they_say_to_the_eager_runner(samples: list[Sample], seed: int, chunk: int) -> None:
    draw = np.random.default_rng(seed)
    speech = np.concatenate([sample.audio for sample in samples])
    audios = [speech[start : start + 30_000] for start in draw.integers(0, len(speech) - 30_000, 3)]
    expected = everything(eager(), audios, chunk, np.random.default_rng(seed))
    found = everything(new_runner(), audios, chunk, np.random.default_rng(seed))
    assert list(map(tokens, found)) == list(map(tokens, expected))
    for ours, theirs in zip(found, expected, strict=True):
        assert [e.logprob for e in ours] == pytest.approx([e.logprob for e in theirs], abs=1e-3)
        assert [e.confidence for e in ours] == pytest.approx([e.confidence for e in theirs], abs=1e-3)
    assert sum(map(len, found)) > 5


@pytest.mark.parametrize(
    "changes",
    [{"use_bias": True, "xscaling": True}, {"left_context": 70, "n_prompts": 0}, {"final_tokens": (3, 5)}],
    ids=str,
)
def test_other_models_of_the_family(samples: list[Sample], changes: dict[str, int]) -> None:
    config = tiny_config(**changes)
    audio = samples[0].audio[:50_000]
    expected = tokens(whole(eager(config), audio, 4))
    assert tokens(whole(new_runner(config), audio, 4)) == expected
    assert expected


def test_kernels_in_the_interpreter_or_on_a_gpu(samples: list[Sample]) -> None:
    """In the interpreter a moment of speech; on a GPU more of it, by graphs."""
    interpreted = DEVICE.type == "cpu"
    config = tiny_config(n_layers=1, conv_kernel=3, left_context=14) if interpreted else CONFIG
    audio, chunks = (samples[0].audio[16_000:24_000], ()) if interpreted else (samples[0].audio, (2,))
    expected = tokens(whole(eager(config), audio, 2))
    on_device, front_end = deepcopy(model(config)).to(DEVICE), LogMel(config).to(DEVICE)
    runner = GpuRunner(on_device, front_end, fused, rows=1, most=1, chunks=chunks)
    assert tokens(whole(runner, audio, 2)) == expected
    assert expected


@pytest.mark.skipif(DEVICE.type == "cpu", reason="records CUDA graphs")
def test_pools_come_and_go_on_a_gpu(samples: list[Sample]) -> None:
    """Graphs of a pool that is no more leave nothing behind that later ones meet; final tokens may be many."""
    config, audio = tiny_config(final_tokens=tuple(range(40))), samples[0].audio[:50_000]
    on_device, front_end = deepcopy(model(config)).to(DEVICE), LogMel(config).to(DEVICE)
    runner = GpuRunner(on_device, front_end, fused, rows=1, most=1, chunks=(1,))
    for streams in (2, 3, 2):
        pool = runner.new_pool(streams)
        runner.record(pool, Shape(streams, 1, 1))
        del pool
        torch.cuda.empty_cache()
    expected = tokens(whole(eager(config), audio, 1))
    assert tokens(whole(runner, audio, 1)) == expected
    assert expected


def test_nothing_is_recorded_while_serving(samples: list[Sample]) -> None:
    """Whatever comes, recordings are made with the pool; shapes that were recorded are replayed, always."""
    fake = Fake()
    runner = new_runner(fake=fake)
    driver = Driver(runner)
    assert isinstance(driver.pool, RingPool)
    recorded = fake.recorded
    assert recorded == 2 * len(driver.pool.steps) == 2 * 2 * len(buckets(4))
    assert set(driver.pool.steps) == {Shape(n, c, c) for n in (1, 2, 4) for c in (1, 14)}
    streams = {driver.open(0, chunk): chunk for chunk in (1, 1, 1, 1, 1, 4, 14)}
    steps = 0
    for i in range(6):
        for stream in streams:
            stream.feed(samples[0].audio[3000 * i : 3000 * i + 3000])
        while driver.step():
            steps += 1
    assert fake.recorded == recorded
    assert fake.replayed
    assert steps > 10


def test_a_pool_that_grows_forgets_its_recordings(samples: list[Sample]) -> None:
    """The memory has moved: steps are right, but no longer replayed."""
    fake, audio = Fake(), samples[0].audio[:40_000]
    driver = Driver(new_runner(fake=fake, rows=2))
    streams = [driver.open(3, 14) for _ in range(5)]
    assert isinstance(driver.pool, RingPool)
    assert not driver.pool.steps
    replayed = fake.replayed
    for stream in streams:
        stream.feed(audio)
        stream.close()
    heard: dict[Stream, list[Emission]] = {stream: [] for stream in streams}
    for stream, emissions in driver.drain():
        heard[stream] += emissions
    assert fake.replayed == replayed
    expected = tokens(whole(eager(), audio, 14, 3))
    assert all(tokens(said) == expected for said in heard.values())


def test_a_row_is_given_back_while_a_step_is_computed() -> None:
    """Nobody waits for the step, and a pool that grows then does not lose the row."""
    runner = new_runner(rows=2)
    pool = runner.new_pool(2)
    rows = [pool.acquire(), pool.acquire()]
    with runner._lock:  # as a step holds it
        giving = Thread(target=pool.release, args=(rows[0],), daemon=True)
        giving.start()
        giving.join(30)
        assert not giving.is_alive()
    assert pool.acquire() == rows[0]
    assert pool.acquire() not in rows
    assert pool.acquire() not in rows


def test_memory_of_steps_that_are_not_recorded_is_bounded(samples: list[Sample]) -> None:
    runner = new_runner()
    pool = runner.new_pool(1)
    row = pool.acquire()
    for frames in [*range(1, LOOSE + 3), 3, LOOSE + 2]:
        window = samples[0].audio[: 1 + window_samples(frames)]
        runner.step(pool, [Part(row, 0, Target(0, ""), 0, frames, UNKNOWN_END, True, window)], frames, 1)
    assert list(pool.loose) == [Shape(1, frames, 1) for frames in [*range(4, LOOSE + 2), 3, LOOSE + 2]]


def test_all_is_computed_on_the_runners_device(monkeypatch: pytest.MonkeyPatch, samples: list[Sample]) -> None:
    """A runner's device need not be the one that is current elsewhere, where streams and kernels would be made."""
    current = [0]

    @contextmanager
    def device(chosen: torch.device | int) -> Iterator[None]:
        current.append(chosen.index if isinstance(chosen, torch.device) else current[-1])
        yield
        current.pop()

    def norm(x: Tensor, delta: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        assert current[-1] == 3
        return plain.add_norm(x, delta, weight, bias)

    monkeypatch.setattr(torch.cuda, "device", device)
    kernels = SimpleNamespace(**{**vars(plain), "add_norm": norm})
    runner = new_runner(kernels=kernels)
    monkeypatch.setattr(runner, "device", torch.device("cuda", 3))
    assert whole(runner, samples[0].audio[:30_000], 1)
    assert current == [0]


def test_room_for_as_many_streams_as_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that grows loses its recordings."""
    for free, rows in ((100 * 10**9, 8_333), (10**12, MOST_ROWS), (0, 16)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, free))
        assert rows_that_fit(6 * 10**6, torch.device("cuda", 0)) == rows


def test_memory_stays_where_it_is(samples: list[Sample]) -> None:
    """A graph reads and writes the addresses that it was recorded with."""
    driver = Driver(new_runner())
    pool = driver.pool
    assert isinstance(pool, RingPool)

    def addresses() -> list[int]:
        parts = [*pool.encoder.tensors(), *pool.decoder.tensors()]
        for recorded in pool.steps.values():
            buffers, search = recorded.buffers, recorded.buffers.search
            parts += [buffers.table, buffers.windows, buffers.fused, search.said, search.time, search.out, search.h]
        return [part.data_ptr() for part in parts]

    before = addresses()
    stream = driver.open(0, 1)
    stream.feed(samples[0].audio[:30_000])
    assert list(driver.drain())
    assert addresses() == before


def test_memory_of_a_stream() -> None:
    """At the released size, in bfloat16."""
    encoder = Encoder(ModelConfig(n_layers=1, d_ff=8)).bfloat16()
    per_layer = 2 * 56 * 1024 * 2 + 8 * 1024 * 2
    subsampling = 2 * (128 + 256 * 65 + 256 * 33)
    assert RingState.new(encoder, 2).bytes_per_row() == per_layer + subsampling + 8


def test_no_step_is_more_than_half_empty() -> None:
    sizes = buckets(1000)
    assert sizes[-1] == 1000
    assert buckets(1) == [1]
    assert all(small < large <= 2 * small for small, large in pairwise(sizes))
