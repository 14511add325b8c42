"""A model that talks nonsense, on disk, and the command line as its users run it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nemotron_asr.checkpoint import save_checkpoint
from nemotron_asr.cli import commands, running
from tests.conftest import PIECES, Sample, attune, checkpoint_of, random_model, tiny_config

CONFIG = tiny_config(vocab_size=len(PIECES), d_prompt=96, max_symbols=1)

COMMAND = (sys.executable, "-m", "nemotron_asr")

Outcome = tuple[int, str, str]
"""Exit status, standard output, standard error."""

Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> str:
    """The folder of a random model, in our own layout, which takes the first recording for German."""
    folder = tmp_path_factory.mktemp("models") / "random"
    with torch.no_grad():
        talker = random_model(CONFIG, seed=3)
        attune(talker, samples[0])
        save_checkpoint(checkpoint_of(talker), folder)
    return str(folder)


@pytest.fixture
def run(model: str, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `nemotron-asr` in this process; `MODEL` among its arguments is the random model."""

    def run_it(*arguments: str | Path) -> Outcome:
        words = [model if argument == "MODEL" else os.fspath(argument) for argument in arguments]
        status = running.run(commands, words)
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return run_it


@pytest.fixture
def process(model: str) -> Run:
    """As `run`, in a process of its own."""

    def run_it(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> Outcome:
        words = [model if argument == "MODEL" else os.fspath(argument) for argument in arguments]
        done = subprocess.run(
            [*COMMAND, *words],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
            env={**os.environ, **environment},
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return run_it


@pytest.fixture
def clips(samples: list[Sample], tmp_path: Path) -> Path:
    """A folder of recordings, one of them in a folder of its own, beside what is none."""
    folder = tmp_path / "clips"
    (folder / "more").mkdir(parents=True)
    for sample, name in zip(samples, ("b.opus", "a.opus", "more/c.OPUS"), strict=False):
        shutil.copy(sample.path, folder / name)
    (folder / "notes.txt").write_text("no recording")
    (folder / "._a.opus").write_text("left by a file manager")
    return folder
