"""The value between readers and writers: consistent, or refused; and what it says about itself."""

import json
from dataclasses import replace

import pytest
import torch

from nemotron_asr.checkpoint import Checkpoint, describe, load_checkpoint
from nemotron_asr.errors import CheckpointError, ConfigError
from nemotron_asr.languages import PROMPTS
from tests.checkpoint.conftest import TINY_NEMO


def test_tokenizer_and_model_agree(prompted: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="pieces, but the model emits 7"):
        replace(prompted, config=replace(prompted.config, vocab_size=7))


def test_prompts_are_rows_of_the_model(prompted: Checkpoint) -> None:
    prompts = {f"x{i}": 200 + i for i in range(6)}
    with pytest.raises(ConfigError, match=r"prompts 'x0': 200, .* and 2 more lie outside the 128 rows"):
        replace(prompted, config=replace(prompted.config, prompts=prompts))


@pytest.mark.parametrize(
    "front_end", [{"window": torch.ones(5)}, {"filters": torch.ones(4, 4)}, {"x": torch.ones(400)}]
)
def test_front_ends_have_their_shapes(prompted: Checkpoint, front_end: dict[str, torch.Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r"front end .* has shape"):
        replace(prompted, front_end=front_end)


def test_description() -> None:
    about = {"trained on": "noise"}
    description = describe(replace(load_checkpoint(TINY_NEMO), about=about))
    assert description["parameters"] == 287_745
    assert description["bytes"] == 4 * 287_745
    assert description["dtypes"] == ["float32"]
    assert description["languages"] == ["en-US", "en-GB", "es-ES", "es-US", "de-DE", "fr-FR", "ja-JP", "auto"]
    assert description["language_tags"] == ["de-DE", "en-GB", "en-US", "fr-FR", "ja-JP"]
    assert description["about"] == about
    assert json.loads(json.dumps(description))["latencies_ms"]["trained"] == [80, 160, 320, 560, 1120]


def test_description_without_prompts(english: Checkpoint) -> None:
    description = describe(english)
    assert description["languages"] == []
    assert description["latencies_ms"] == {"trained": [80, 320, 560, 1120], "offered": [80, 160, 320, 560, 1120]}
    assert "about" not in description


def test_the_built_in_table_when_there_is_no_other(prompted: Checkpoint) -> None:
    languages = describe(replace(prompted, config=replace(prompted.config, prompts={})))["languages"]
    assert len(languages) == len(set(PROMPTS.values()))
    assert {"de-DE", "haw-US", "auto"} < set(languages)
