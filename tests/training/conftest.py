"""Real clips, a small vocabulary and a very small model for the training tests."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch

from nemotron_asr.checkpoint import Checkpoint, save_checkpoint
from nemotron_asr.config import ModelConfig
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer

SAMPLES = Path(__file__).parents[1] / "data" / "samples"

Line = dict[str, Any]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def lines() -> list[Line]:
    """Manifest lines of the bundled recordings, one per language."""
    entries = json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8"))
    return [
        {
            "audio_filepath": str(SAMPLES / entry["file"]),
            "duration": entry["duration"],
            "text": entry["text"],
            "target_lang": entry["locale"],
        }
        for entry in entries
    ]


def write_manifest(path: Path, lines: list[Line]) -> Path:
    """Write lines and return the path."""
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def manifest(tmp_path: Path, lines: list[Line]) -> Path:
    """A manifest of the bundled recordings."""
    return write_manifest(tmp_path / "clips.jsonl", lines)


@pytest.fixture(scope="session")
def tokenizer(lines: list[Line]) -> Tokenizer:
    """A vocabulary of hundred pieces and the tags of the recordings' languages."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line["text"] for line in lines]),
        model_writer=model,
        model_type="bpe",
        vocab_size=120,
        character_coverage=1.0,
        user_defined_symbols=[f"<{line['target_lang']}>" for line in lines],
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return Tokenizer.from_sentencepiece(model.getvalue())


@pytest.fixture
def config(tokenizer: Tokenizer) -> ModelConfig:
    """A model of some thirty thousand parameters."""
    return ModelConfig(
        n_mels=32, d_model=16, n_layers=2, n_heads=2, d_ff=32, subsampling_channels=4, d_prompt=16, d_pred=16,
        pred_layers=1, d_joint=16, vocab_size=tokenizer.vocab_size,
    )  # fmt: skip


@pytest.fixture
def base(tmp_path: Path, config: ModelConfig, tokenizer: Tokenizer) -> Checkpoint:
    """A very small model that knows nothing, on disk as `base`."""
    torch.manual_seed(0)
    checkpoint = Checkpoint(config, tokenizer, dict(NemotronASR(config).state_dict()))
    save_checkpoint(checkpoint, tmp_path / "base")
    return checkpoint
