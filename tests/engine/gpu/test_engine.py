"""An engine on the GPU's runner: sessions, lanes, preferences, flushes."""

import subprocess
import sys
from pathlib import Path

import pytest

import nemotron_asr
from nemotron_asr.engine import Engine
from nemotron_asr.engine.gpu import plain
from nemotron_asr.engine.gpu.runner import GpuRunner
from nemotron_asr.events import Final
from nemotron_asr.options import Options
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample
from tests.engine.gpu.test_runner import Fake


@pytest.fixture(scope="module")
def fake() -> Fake:
    return Fake()


@pytest.fixture(scope="module")
def on_gpu(random_model_folder: Path, fake: Fake) -> Recognizer:
    recognizer = nemotron_asr.load(random_model_folder, dtype="float32")
    eager = recognizer.runner
    recognizer.runner = GpuRunner(eager.model, eager.log_mel, plain, rows=16, most=4, chunks=(1, 4, 14), recorder=fake)
    return recognizer


OPTIONS: list[Options] = [
    {},
    {"latency_ms": 80, "language": "de"},
    {"latency_ms": 320, "boost": ["the cat sat", "wir gehen"]},
    {"latency_ms": 160, "beam": 3},
    {"languages": ["de-DE", "en-US"]},
]


def test_recordings_are_heard_as_by_the_eager_runner(
    on_gpu: Recognizer, random_model_folder: Path, samples: list[Sample], fake: Fake
) -> None:
    eager = nemotron_asr.load(random_model_folder, dtype="float32")
    assert on_gpu.engine  # begins now, with all that is to be recorded
    recorded = fake.recorded
    for options in OPTIONS:
        heard = on_gpu.transcribe((samples[0].audio, 16_000), **options)
        assert heard.text == eager.transcribe((samples[0].audio, 16_000), **options).text
        assert heard.words
    assert fake.recorded == recorded


def test_sessions_side_by_side(on_gpu: Recognizer, samples: list[Sample], fake: Fake) -> None:
    """Live streams of all latencies, with flushes; each says what it says alone; an engine measures itself first."""
    with Engine(on_gpu) as engine:
        replayed, recorded = fake.replayed, fake.recorded
        sessions = [engine.open(latency_ms=latency, recording=True) for latency in (80, 320, 1120, 320, 320, 320)]
        for position in range(0, 48_000, 8_000):
            for session in sessions:
                session.feed(samples[1].audio[position : position + 8_000])
        finals = [session.finalize() for session in sessions]
        for session in sessions:
            session.close()
        texts = [" ".join(e.segment.text for e in session if isinstance(e, Final)) for session in sessions]
    assert any(final.result() for final in finals)
    assert texts[1] == texts[3] == texts[4] == texts[5]
    assert all(texts)
    assert fake.replayed > replayed
    assert fake.recorded == recorded


def test_a_cpu_does_without(random_model_folder: Path) -> None:
    """Neither Triton nor what is for GPUs is imported there."""
    program = (
        "import sys, nemotron_asr\n"
        f"assert nemotron_asr.load({str(random_model_folder)!r}, device='cpu').runner\n"
        "print([name for name in sys.modules if name == 'triton' or name.startswith('nemotron_asr.engine.gpu')])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
