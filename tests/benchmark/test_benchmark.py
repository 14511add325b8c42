"""The measuring tools measure; how fast anything is, no test says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nemotron_asr.benchmark.profile import profiled
from nemotron_asr.benchmark.random_model import RELEASED, TOKENS_PER_FRAME, random_checkpoint
from nemotron_asr.benchmark.realtime import Service, serve
from nemotron_asr.benchmark.single import one_stream, recording
from nemotron_asr.cli import commands
from nemotron_asr.cli.running import DONE, run
from nemotron_asr.engine import Engine
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample

SMALL = replace(
    RELEASED, n_layers=2, d_model=64, n_heads=1, d_ff=128, subsampling_channels=8, vocab_size=300, d_pred=32, d_joint=32
)


@pytest.fixture(scope="module")
def recognizer(samples: list[Sample]) -> Recognizer:
    speech = np.concatenate([sample.audio for sample in samples])
    return Recognizer(random_checkpoint(speech, SMALL), torch.device("cpu"), torch.float32)


def test_a_random_model_talks_about_as_much_as_speech_does(recognizer: Recognizer, samples: list[Sample]) -> None:
    speech = np.concatenate([sample.audio for sample in samples])
    for latency in (80, 1120):
        words = len(recognizer.transcribe((speech, 16000), latency_ms=latency).words)
        assert 0.3 < words / (len(speech) / 1280) / TOKENS_PER_FRAME < 3


def test_streams_in_real_time_are_counted(recognizer: Recognizer, samples: list[Sample]) -> None:
    with Engine(recognizer, max_streams=3) as engine:
        service = serve(engine, samples[0].audio, streams=3, latency_ms=160, seconds=2)
    assert 3 <= service.chunks <= 3 * 21  # who is behind is served several in one step
    assert len(service.delays) == 3
    assert service.words > 0
    assert service.busy > 0


def test_what_is_sustained() -> None:
    assert Service(1, 80, chunks=1000, late=1, delays=[0.1] * 20).sustained
    assert not Service(1, 80, chunks=1000, late=2, delays=[0.1] * 20).sustained
    assert not Service(1, 80, chunks=1000, late=0, delays=[0.1] * 18 + [2.0] * 2).sustained
    assert not Service(0, 80).sustained


def test_stages_make_up_a_step(recognizer: Recognizer, samples: list[Sample]) -> None:
    step = recognizer.runner.step
    with profiled(recognizer.runner) as profile:
        chunks = one_stream(recognizer, samples[0].audio, 560, seconds=3)
    assert profile.steps >= 5
    assert all(seconds > 0 for seconds in profile.stages.values())
    assert sum(profile.stages.values()) <= profile.elapsed
    assert 0 <= profile.glue < 1
    assert 0 < chunks.best <= chunks.median
    assert recognizer.runner.step == step
    speed, words = recording(recognizer, samples[0].audio, minutes=0.1)
    assert speed > 0
    assert words > 0


def test_the_command_prints_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--model",
        "tiny",
        "--latency",
        "560",
        "--streams",
        "2",
        "--seconds",
        "2",
        "--minutes",
        "0.1",
        "--profile",
    ]
    assert run(commands, ["bench", *options]) == DONE
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0].split(":")[0] for row in rows] == [
        "one stream, 560 ms", "a recording of 0.1 minutes", "560 ms", "mel", "encoder", "prompt", "decode", "glue",
    ]  # fmt: skip
    assert rows[2][1] == "2"
