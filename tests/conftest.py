"""What all tests share: real recordings, small random models, one thread."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import settings
from numpy.typing import NDArray
from tokenizers.models import Unigram
from torch import Tensor, nn

from nemotron_asr import audio
from nemotron_asr.checkpoint import Checkpoint, save_checkpoint
from nemotron_asr.config import ModelConfig
from nemotron_asr.model import NemotronASR
from nemotron_asr.recognizer import Recognizer
from nemotron_asr.tokenizer import Tokenizer

torch.set_num_threads(1)  # tests run side by side
settings.register_profile("unhurried", settings(), deadline=None)  # no test fails on a slow machine
settings.load_profile("unhurried")
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before whatever imports Triton first, which are not the tests that need it


@pytest.fixture(autouse=True)
def _subnormal_numbers() -> None:
    """Training flushes them to zero from then on, in the whole process; others generate them."""
    torch.set_flush_denormal(False)


@dataclass(frozen=True)
class Sample:
    """One bundled recording and what is said in it."""

    path: str
    locale: str
    text: str
    audio: NDArray[np.float32]


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """Recordings, one per language; their own, for what random models say of them must stay as it is."""
    return read_samples(Path(__file__).parent / "data" / "samples")


@pytest.fixture(scope="session")
def bundled() -> list[Sample]:
    """The recordings of the demo, one per language."""
    return read_samples(Path(str(files("nemotron_asr") / "samples")))


def read_samples(folder: Path) -> list[Sample]:
    """The recordings of a folder with a list."""
    listed = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    return [
        Sample(str(folder / entry["file"]), entry["locale"], entry["text"], audio.load(str(folder / entry["file"])))
        for entry in listed
    ]


@pytest.fixture
def no_grad() -> Iterator[None]:
    """Run a test without recording gradients."""
    with torch.inference_mode():
        yield


def tiny_config(**changes: Any) -> ModelConfig:
    """A model small enough for a test, with every part in it."""
    sizes: dict[str, Any] = {
        "n_mels": 32, "d_model": 48, "n_layers": 2, "n_heads": 4, "d_ff": 96, "subsampling_channels": 8,
        "n_prompts": 128, "d_prompt": 64, "vocab_size": 40, "d_pred": 24, "d_joint": 24, "dropout": 0.0,
    }  # fmt: skip
    return ModelConfig(**{**sizes, **changes})


def random_model(config: ModelConfig, seed: int = 0) -> NemotronASR:
    """A model whose random weights make it talk: about one token in three frames, depending on what it hears."""
    generator = torch.Generator().manual_seed(seed)
    model = NemotronASR(config).eval().requires_grad_(requires_grad=False)
    for parameter in model.parameters():
        scale = 0.3 if parameter.dim() < 2 else parameter.shape[-1] ** -0.5
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    if config.n_prompts:
        model.prompt.language.weight.mul_(20)
    transducer = model.transducer
    transducer.embed.weight.mul_(3)[config.blank] = 0
    transducer.enc.weight.mul_(6)
    transducer.pred.weight.mul_(3)
    transducer.head.bias.zero_()[config.blank] = 4.0
    return model


PIECES = (
    "<unk> . , ? <de-DE> <en-US> <ja-JP> er ly ing en 日 本 語 & ▁the ▁cat ▁sat ▁on ▁mat ▁wir ▁gehen ▁nach ▁Haus ▁und "
    "▁sing ▁a ▁long ▁song ▁слон ▁шёл ▁over ▁bridge ▁now ▁never ▁seen ▁light ▁rain ▁über ▁Köln"
).split()


def checkpoint_of(model: NemotronASR) -> Checkpoint:
    """A model whose pieces are `PIECES`."""
    pieces = Unigram([(piece, -1.0) for piece in PIECES], unk_id=0)
    return Checkpoint(model.config, Tokenizer(tokenizers.Tokenizer(pieces)), dict(model.state_dict()))


def attune(model: NemotronASR, sample: Sample) -> None:
    """Centre and scale what the joint hears, so that it depends on the audio what is said, and when."""
    recognizer = Recognizer(checkpoint_of(model), torch.device("cpu"), torch.float32)
    heard: list[Tensor] = []

    def keep(_: nn.Module, __: object, projected: Tensor) -> None:
        heard.append(projected.flatten(0, -2))

    recognizer.runner.model.transducer.enc.register_forward_hook(keep)
    recognizer.transcribe(sample.path)
    spread, mean = torch.std_mean(torch.cat(heard), dim=0)
    transducer = model.transducer
    transducer.enc.weight.mul_((4 / spread)[:, None])
    transducer.enc.bias.sub_(mean).mul_(4 / spread)
    transducer.head.bias[model.config.blank] = 5.0


@pytest.fixture(scope="session")
def random_model_folder(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> Path:
    """The folder of a random model in our own layout, which says different things to different recordings."""
    folder = tmp_path_factory.mktemp("models") / "random"
    model = random_model(tiny_config(vocab_size=len(PIECES), d_prompt=96, max_symbols=1))
    with torch.no_grad():
        attune(model, samples[0])
    save_checkpoint(checkpoint_of(model), folder)
    return folder
