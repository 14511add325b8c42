"""What the predictor is shown of the history in training."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nemotron_asr.config import ModelConfig
from nemotron_asr.model import NemotronASR
from nemotron_asr.model.transducer import PredictorState
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import Batch, Batches, DataConfig, Source
from nemotron_asr.training.initialise import initialise
from nemotron_asr.training.objective import Objective, ObjectiveConfig


@pytest.fixture
def batch(tmp_path: Path, manifest: Path, tokenizer: Tokenizer, config: ModelConfig) -> Batch:
    return Batches(DataConfig((Source(manifest),), tmp_path, batch_seconds=20), tokenizer, config)[0]


@pytest.fixture
def objective(config: ModelConfig) -> Objective:
    model = NemotronASR(config)
    initialise(model)
    return Objective(model, None, ObjectiveConfig(history_dropout=0.5), augment=None)


def shown(objective: Objective, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """What the predictor gets: blank, and then the tokens (B, 1 + U)."""
    seen: list[Tensor] = []
    predict = objective.model.transducer.predict

    def watched(history: Tensor, state: PredictorState) -> tuple[Tensor, PredictorState]:
        seen.append(history)
        return predict(history, state)

    monkeypatch.setattr(objective.model.transducer, "predict", watched)
    objective(batch)
    return seen[0]


def test_some_of_the_history_is_hidden(objective: Objective, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    history = shown(objective.train(), batch, monkeypatch)[:, 1:]
    said = torch.arange(batch.tokens.shape[1]) < batch.token_lengths[:, None]
    hidden = (history == objective.model.config.blank)[said]
    assert 0.3 < hidden.double().mean() < 0.7
    assert torch.equal(history[said][~hidden], batch.tokens[said][~hidden])


def test_none_of_it_outside_training(objective: Objective, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.equal(shown(objective.eval(), batch, monkeypatch)[:, 1:], batch.tokens)
