"""Real clips, a small tokenizer and a small model for the training tests."""

import json
from pathlib import Path

import pytest

from nemotron_asr.config import ModelConfig
from nemotron_asr.tokenizer import Tokenizer

SAMPLES = Path(__file__).parents[2] / "src" / "nemotron_asr" / "samples"


@pytest.fixture(scope="session")
def samples() -> list[dict[str, str]]:
    """The bundled recordings: file, locale, text, duration."""
    entries: list[dict[str, str]] = json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8"))
    return entries


@pytest.fixture
def manifest(tmp_path: Path, samples: list[dict[str, str]]) -> Path:
    """A manifest of the bundled recordings."""
    path = tmp_path / "train.jsonl"
    lines = [
        {
            "audio_filepath": str(SAMPLES / sample["file"]),
            "duration": sample["duration"],
            "text": sample["text"],
            "target_lang": sample["locale"],
        }
        for sample in samples
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizer(samples: list[dict[str, str]]) -> Tokenizer:
    """A vocabulary of characters and language tags."""
    characters = sorted({c for sample in samples for c in sample["text"] if c != " "})
    tags = [f"<{sample['locale']}>" for sample in samples]
    return character_tokenizer(characters, tags)


def character_tokenizer(characters: list[str], tags: list[str]) -> Tokenizer:
    """A SentencePiece model with one piece per character."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["".join(characters)] * 2),
        model_writer=model,
        model_type="char",
        vocab_size=len(characters) + len(tags) + 2,
        character_coverage=1.0,
        user_defined_symbols=tags,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return Tokenizer.from_sentencepiece(model.getvalue())


@pytest.fixture
def config(tokenizer: Tokenizer) -> ModelConfig:
    """A model of some ten thousand parameters."""
    return ModelConfig(
        n_mels=32, d_model=16, n_layers=2, n_heads=2, d_ff=32, subsampling_channels=4, d_prompt=16, d_pred=16,
        pred_layers=1, d_joint=16, vocab_size=tokenizer.vocab_size,
    )  # fmt: skip
