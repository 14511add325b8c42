"""Small random checkpoints of both models."""

from pathlib import Path

import pytest

from nemotron_asr.checkpoint import Checkpoint
from nemotron_asr.tokenizer import Tokenizer
from tests.conftest import random_model, tiny_config
from tests.sentences import train

TINY_NEMO = Path(__file__).parents[1] / "data" / "conformance" / "tiny.nemo"


def make_checkpoint(kind: str = "unigram", **changes: object) -> Checkpoint:
    """A random model that every layout can express."""
    tokenizer = Tokenizer.from_sentencepiece(train(kind))
    config = tiny_config(**{"vocab_size": tokenizer.vocab_size, "d_prompt": 96, "dropout": 0.1, **changes})
    return Checkpoint(config, tokenizer, dict(random_model(config).state_dict()))


@pytest.fixture(scope="session")
def prompted() -> Checkpoint:
    prompts = {"de-DE": 0, "de": 0, "en-US": 1, "no": 27, "auto": 101}
    return make_checkpoint(prompts=prompts, lookaheads=(6, 0, 13), max_symbols=4)


@pytest.fixture(scope="session")
def english() -> Checkpoint:
    return make_checkpoint(
        "bpe", n_prompts=0, d_prompt=0, default_prompt=0, left_context=70, use_bias=True, xscaling=True, preemphasis=0.5
    )


@pytest.fixture(params=["prompted", "english"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    made: Checkpoint = request.getfixturevalue(request.param)
    return made
