"""A model and its processor saved by transformers, loaded by us: the same text from real recordings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoProcessor,
    Nemotron3_5AsrForRNNT,
    Nemotron3_5AsrProcessor,
    NemotronAsrStreamingFeatureExtractor,
    ParakeetTokenizer,
)

import nemotron_asr
from nemotron_asr.config import LATENCIES
from nemotron_asr.tokenizer import Tokenizer
from tests.conformance.pairs import CONFIGS, make_pair
from tests.conftest import Sample

pytestmark = pytest.mark.usefixtures("no_grad")

PIECES = Path(__file__).parents[1] / "data" / "conformance" / "tiny_tokenizer" / "tokenizer.model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `save_pretrained` writes."""
    folder = tmp_path_factory.mktemp("hub")
    tokenizer = Tokenizer.from_sentencepiece(PIECES.read_bytes())
    (folder / "tokenizer.json").write_text(tokenizer.to_json(for_transformers=True), encoding="utf-8")
    config = replace(
        CONFIGS["prompted"], n_mels=128, n_prompts=128, default_prompt=101, vocab_size=tokenizer.vocab_size
    )
    with torch.no_grad():
        make_pair(config, torch.float32).theirs.save_pretrained(folder)
    Nemotron3_5AsrProcessor(
        NemotronAsrStreamingFeatureExtractor(feature_size=128),
        ParakeetTokenizer(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>"),
        supported_num_lookahead_tokens=[3, 0, 6, 13],
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def theirs(folder: Path) -> tuple[Any, Any]:
    return Nemotron3_5AsrForRNNT.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)


def transcribe_with_transformers(theirs: tuple[Any, Any], sample: Sample, language: str, lookahead: int) -> str:
    model, processor = theirs
    inputs = processor(sample.audio, sampling_rate=16000, language=language)
    inputs["num_lookahead_tokens"] = lookahead
    said = model.generate(**inputs, max_new_tokens=5000).sequences[0]
    pieces = [token for token in said.tolist() if token != model.config.blank_token_id]
    return str(processor.tokenizer.decode(pieces, group_tokens=False)).strip()


@pytest.mark.parametrize("latency", LATENCIES)
def test_the_text_is_theirs(folder: Path, theirs: tuple[Any, Any], samples: list[Sample], latency: int) -> None:
    recognizer = nemotron_asr.load(folder)
    for sample, language in zip(samples, ["auto", "de-DE", "en", "ja-JP", "es"], strict=True):
        expected = transcribe_with_transformers(theirs, sample, language, LATENCIES[latency])
        transcript = recognizer.transcribe(sample.path, language=language, latency_ms=latency, keep_language_tags=True)
        assert len(expected) > 10
        assert transcript.text == expected
