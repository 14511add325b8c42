"""A model that talks nonsense, on disk, and the command line as its users run it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
import torch
from tokenizers.models import Unigram
from torch import Tensor, nn

from nemotron_asr.checkpoint import Checkpoint, save_checkpoint
from nemotron_asr.model import NemotronASR
from nemotron_asr.recognizer import Recognizer
from nemotron_asr.tokenizer import Tokenizer
from tests.conftest import Sample, random_model, tiny_config

VOCABULARY = """
    <unk> . , ? <de-DE> <en-US> <ja-JP> er ly ing en 日 本 語 & ▁the ▁cat ▁sat ▁on ▁mat ▁wir ▁gehen ▁nach ▁Haus ▁und
    ▁sing ▁a ▁long ▁song ▁слон ▁шёл ▁over ▁bridge ▁now ▁never ▁seen ▁light ▁rain ▁über ▁Köln
"""
PIECES = VOCABULARY.split()
CONFIG = tiny_config(vocab_size=len(PIECES), d_prompt=96, max_symbols=1)

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def checkpoint(model: NemotronASR) -> Checkpoint:
    pieces = Unigram([(piece, -1.0) for piece in PIECES], unk_id=0)
    return Checkpoint(CONFIG, Tokenizer(tokenizers.Tokenizer(pieces)), dict(model.state_dict()))


def make_talkative(model: NemotronASR, sample: Sample) -> None:
    """Centre and scale what the joint hears, so that it depends on the audio what is said, and when."""
    recognizer = Recognizer(checkpoint(model), torch.device("cpu"), torch.float32)
    heard: list[Tensor] = []

    def keep(_: nn.Module, __: object, projected: Tensor) -> None:
        heard.append(projected.flatten(0, -2))

    recognizer.runner.model.transducer.enc.register_forward_hook(keep)
    recognizer.transcribe(sample.path)
    spread, mean = torch.std_mean(torch.cat(heard), dim=0)
    transducer = model.transducer
    transducer.enc.weight.mul_((4 / spread)[:, None])
    transducer.enc.bias.sub_(mean).mul_(4 / spread)
    transducer.head.bias[CONFIG.blank] = 5.0


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> str:
    """The folder of a random model in our own layout, which says different things to different recordings."""
    folder = tmp_path_factory.mktemp("models") / "random"
    with torch.no_grad():
        talker = random_model(CONFIG, seed=3)
        make_talkative(talker, samples[0])
        save_checkpoint(checkpoint(talker), folder)
    return str(folder)


@pytest.fixture(scope="session")
def run(model: str) -> Run:
    """Runs `nemotron-asr` with some arguments in a process of its own; `MODEL` among them is the random model."""

    def run_it(*arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None, **environment: str) -> Done:
        words = [model if argument == "MODEL" else os.fspath(argument) for argument in arguments]
        done = subprocess.run(
            [sys.executable, "-m", "nemotron_asr", *words],
            input=stdin,
            capture_output=True,
            check=False,
            cwd=cwd,
            timeout=120,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        )
        return Done(words, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run_it
