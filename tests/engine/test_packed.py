"""The compiled kernels against the eager int8 model, and a stream alone against the same stream in any company."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Event
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nemotron_asr.benchmark.driver import Driver, tokens, whole
from nemotron_asr.config import ModelConfig
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.engine import packed
from nemotron_asr.engine.pool import Pool
from nemotron_asr.engine.quantize import quantize
from nemotron_asr.engine.runner import Part, Runner
from nemotron_asr.engine.stream import UNKNOWN_END, Stream, Target
from nemotron_asr.features import LogMel
from nemotron_asr.model import NemotronASR, encoder_frames
from nemotron_asr.model.conformer import Attention
from tests.conftest import Sample, random_model, tiny_config
from tests.resident import resident

if TYPE_CHECKING:
    from nemotron_asr.engine.packed.runner import PackedRunner

SIZES = {"d_model": 256, "n_heads": 2, "d_ff": 512, "n_layers": 3, "d_pred": 32, "d_joint": 48}
CONFIG = tiny_config(**SIZES)
CHUNKS = [1, 2, 4, 7, 14]
STREAMS = 4

pytestmark = pytest.mark.skipif(not packed.supported(CONFIG), reason="needs AVX-512 VNNI and numba")


class Bfloat16(nn.Module):
    """Rounds what a linear gives, as the kernels round keys, values and distances."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        rounded: Tensor = self.linear(x).bfloat16().float()
        return rounded


@lru_cache
def quantized(**changes: int) -> NemotronASR:
    model = random_model(tiny_config(**{**SIZES, **changes}))
    quantize(model)
    return model


def oracle(model: NemotronASR, *, rounded: bool = True) -> Runner:
    model = deepcopy(model)
    for attention in [module for module in model.encoder.modules() if rounded and isinstance(module, Attention)]:
        for name in ("k", "v", "position"):
            setattr(attention, name, Bfloat16(getattr(attention, name)))
    return Runner(model, LogMel(model.config))


@lru_cache
def packed_runner(threads: int = 2) -> Runner:
    return new_packed(quantized(), threads)


def new_packed(model: NemotronASR, threads: int) -> Runner:
    from nemotron_asr.engine.packed.runner import PackedRunner

    return PackedRunner(deepcopy(model), LogMel(model.config), threads)


@dataclass
class Step:
    """One step of one stream."""

    frames: int
    chunk: int
    mel: Tensor
    end: int = UNKNOWN_END  # in samples
    flush: bool = False


@dataclass
class Job:
    """A stream with what it has done so far."""

    row: int
    t: int = 0
    steps: list[Step] = field(default_factory=list)
    heard: list[Tensor] = field(default_factory=list)

    def part(self, step: Step) -> Part:
        empty = np.zeros(0, np.float32)
        return Part(self.row, self.t, Target(0, ""), 0, step.frames, step.end, step.flush, empty)

    def valid(self, step: Step) -> int:
        return max(0, min(step.frames, encoder_frames(step.end // 160) - self.t))


@torch.inference_mode()
def advance(runner: Runner, pool: Pool, jobs: list[Job], steps: list[Step]) -> None:
    """One step of some streams; what is heard of frames that exist is kept with each."""
    frames, chunk = steps[0].frames, steps[0].chunk
    parts = [job.part(step) for job, step in zip(jobs, steps, strict=True)]
    encoded = runner.encode(pool, parts, torch.stack([step.mel for step in steps]), frames, chunk)
    for job, step, heard in zip(jobs, steps, encoded, strict=True):
        job.steps.append(step)
        job.heard.append(heard[: job.valid(step)].clone())
        job.t += 0 if step.flush else step.frames


def again(runner: Runner, job: Job) -> Job:
    """The same steps, alone on a fresh row."""
    pool = runner.pool()
    copy = Job(pool.acquire())
    for step in job.steps:
        advance(runner, pool, [copy], [step])
    return copy


def relative(heard: list[Tensor], expected: list[Tensor]) -> float:
    a, b = torch.cat(heard), torch.cat(expected)
    return float((a - b).norm() / b.norm().clamp(min=1e-9))


def course(draw: np.random.Generator, rounds: int) -> Iterator[tuple[list[int], list[Step]]]:
    """Random steps: which streams go on together, in chunks of which size, some of them for the last time."""
    for _ in range(rounds):
        chunk = int(draw.choice(CHUNKS))
        frames = chunk * int(draw.integers(1, 1 + draw.choice([1, 4, 112 // chunk])))
        company = sorted(draw.choice(STREAMS, draw.integers(1, STREAMS + 1), replace=False).tolist())
        noise = torch.from_numpy(draw.normal(0, 1, (len(company), 8 * frames, CONFIG.n_mels))).float()
        yield company, [Step(frames, chunk, mel) for mel in noise]


@given(seed=st.integers(0, 2**32 - 1), threads=st.sampled_from([1, 2]))
@settings(max_examples=15, deadline=None)
def test_any_course_is_what_the_eager_model_computes_and_what_each_stream_hears_alone(seed: int, threads: int) -> None:
    """Clocks, company, chunks, flushes, ends and used rows are all mixed."""
    draw = np.random.default_rng(seed)
    runner = packed_runner(threads)
    pool = runner.pool()
    live = [Job(pool.acquire()) for _ in range(STREAMS)]
    ended: list[Job] = []
    for company, steps in course(draw, 8):
        for i, step in zip(company, steps, strict=True):
            step.flush = bool(draw.random() < 0.2)
            if step.flush or draw.random() < 0.2:
                step.end = 1280 * int(live[i].t + draw.integers(0, step.frames + 1)) + 1
        advance(runner, pool, [live[i] for i in company], steps)
        for i in company:
            if live[i].steps[-1].end != UNKNOWN_END and not live[i].steps[-1].flush:
                ended.append(live[i])
                pool.release(live[i].row)
                live[i] = Job(pool.acquire())
    eager = oracle(quantized())
    for job in [*ended, *(job for job in live if job.steps)]:
        alone = again(packed_runner(3 - threads), job)
        assert all(torch.equal(a, b) for a, b in zip(job.heard, alone.heard, strict=True))
        assert relative(job.heard, again(eager, job).heard) < 0.02


@pytest.mark.parametrize("chunk", CHUNKS)
def test_how_much_is_heard_at_once_does_not_matter(chunk: int) -> None:
    mel = torch.randn(8 * 112, CONFIG.n_mels)
    runner = packed_runner()
    heard = []
    for frames in (chunk, 112):
        pool = runner.pool()
        job = Job(pool.acquire())
        for part in mel.split(8 * frames):
            advance(runner, pool, [job], [Step(frames, chunk, part)])
        heard.append(job.heard)
    assert relative(*heard) < 0.02  # the subsampling's convolutions round differently, which int8 makes larger


NARROW = {"d_model": 176, "n_heads": 4, "d_ff": 96}
"""Rows, heads and feed-forwards that have to be filled up."""


@pytest.mark.parametrize(
    "changes",
    [{"use_bias": True}, {"xscaling": True}, {"left_context": 70}, NARROW, {**NARROW, "n_heads": 2, "use_bias": True}],
    ids=str,
)
def test_other_models_of_the_family(changes: dict[str, int]) -> None:
    model = quantized(**changes)
    jobs = []
    for runner in (oracle(model), new_packed(model, 2)):
        draw, pool = np.random.default_rng(7), runner.pool(2)
        both = [Job(pool.acquire()), Job(pool.acquire())]
        for frames, chunk in ((14, 14), (28, 7), (4, 2), (112, 4), (1, 1)):
            noise = torch.from_numpy(draw.normal(0, 1, (2, 8 * frames, CONFIG.n_mels))).float()
            advance(runner, pool, both, [Step(frames, chunk, mel) for mel in noise])
        jobs.append(both)
    for eager, compiled in zip(*jobs, strict=True):
        assert relative(compiled.heard, eager.heard) < 0.02


def test_bfloat16_keys_cost_little_beside_int8() -> None:
    """Against the float32 model: about the error that int8 has in any case."""
    mel = torch.randn(1, 8 * 56, CONFIG.n_mels)
    float_model = random_model(CONFIG)
    job = Job(0)
    advance(packed_runner(), packed_runner().pool(), [job], [Step(56, 14, mel[0])])
    exact = again(Runner(float_model, LogMel(CONFIG)), job).heard
    eager = again(oracle(quantized(), rounded=False), job).heard
    assert relative(job.heard, exact) < 1.15 * relative(eager, exact) < 0.15


def test_a_large_step_is_shared_out_by_streams(samples: list[Sample]) -> None:
    """The same words, whether threads form a team, take streams of their own, or there is one only."""
    audio = np.concatenate([sample.audio for sample in samples])[: 9 * 16000]
    expected = tokens(whole(packed_runner(1), audio, 14))
    assert len(expected) > 3
    assert tokens(whole(packed_runner(), audio, 14)) == expected
    driver = Driver(packed_runner(), 4)
    heard: dict[Stream, list[Emission]] = {driver.open(0, 14): [] for _ in range(4)}
    for stream in heard:
        stream.feed(audio)
        stream.close()
    for stream, emissions in driver.drain():
        heard[stream] += emissions
    assert [tokens(emissions) for emissions in heard.values()] == [expected] * 4


def test_many_threads_share_the_columns_of_several_blocks() -> None:
    """The same frames to the last bit as one thread computes, which goes through rows of its own."""
    mel = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (4, 8 * 56, CONFIG.n_mels))).float()
    heard = []
    for threads in (1, 5):  # 224 rows are two or four blocks, fewer than five
        runner = packed_runner(threads)
        pool = runner.pool(4)
        jobs = [Job(pool.acquire()) for _ in range(4)]
        for _ in range(3):
            advance(runner, pool, jobs, [Step(56, 14, each) for each in mel])
        heard.append(torch.stack([torch.cat(job.heard) for job in jobs]))
    assert torch.equal(*heard)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what is in memory")
def test_rows_take_memory_when_they_are_used_or_reserved() -> None:
    runner = packed_runner()
    before = resident("RssAnon")
    pool = runner.pool(1024)  # so many that the C library asks the system for them
    made = resident("RssAnon")
    size = sum(state.nbytes for state in (pool.encoder.k, pool.encoder.v, pool.encoder.conv)) // 1024
    pool.reserve(512)
    assert made - before < 0.2 * size
    assert 0.4 * size < resident("RssAnon") - made < 0.7 * size
    assert [pool.acquire() for _ in range(3)] == [0, 1, 2]
    assert not pool.encoder.k.any()


def test_sizes_that_the_kernels_do_not_take() -> None:
    assert not packed.supported(tiny_config(left_context=13))
    assert not packed.supported(tiny_config(d_model=272, n_heads=2))
    assert packed.supported(ModelConfig())


def test_the_blocks_are_moved_not_copied() -> None:
    model = deepcopy(quantized())
    new = new_packed(model, 1)
    assert sum(x.numel() for x in new.model.encoder.buffers() if x.dtype == torch.int8) <= (
        CONFIG.n_layers * CONFIG.d_model**2 + model.encoder.subsampling.out.weight.numel()
    )


def test_a_step_keeps_its_team() -> None:
    """Whoever starts another engine may try fewer threads meanwhile; those that compute count each other."""
    from nemotron_asr.engine.packed.team import Team

    runner = cast("PackedRunner", new_packed(quantized(), 2))
    begun, changed = Event(), Event()

    def slowly(number: int) -> int:
        begun.set()
        assert changed.wait(10)
        return number

    with ThreadPoolExecutor(1) as other:
        shared = other.submit(runner._team.share, slowly, range(5))
        assert begun.wait(10)
        runner.use_threads(1)
        changed.set()
        assert shared.result(10) == list(range(5))
    with runner._with(team := Team(2)):
        runner.use_threads(3)
        assert runner._team is team
    assert runner._team.threads == 3
