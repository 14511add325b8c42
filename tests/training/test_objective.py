"""What the predictor is shown of the history in training."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nemotron_asr.config import SUBSAMPLING, ModelConfig
from nemotron_asr.model import NemotronASR
from nemotron_asr.model.transducer import PredictorState
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.augment import AugmentConfig
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


def test_masks_lie_where_the_audio_does(batch: Batch, config: ModelConfig) -> None:
    """Seven frames lie before time zero: nobody is there, and the last ones may be hidden as any others."""
    model = NemotronASR(config)
    initialise(model)
    wide = AugmentConfig(frequency_masks=0, time_masks=20, time_share=0.2)
    masked, plain = Objective(model, None, ObjectiveConfig(), wide), Objective(model, None, ObjectiveConfig(), None)
    mel, frames = plain.mel(batch, None)
    changed = torch.zeros_like(mel[..., 0], dtype=torch.bool)
    for seed in range(20):
        heard, _ = masked.mel(batch, torch.Generator().manual_seed(seed))
        changed |= (heard != mel).any(-1)
    early = SUBSAMPLING - 1
    assert not changed[:, :early].any()
    assert all(row[early + n - 5 : early + n].any() for row, n in zip(changed, frames.tolist(), strict=True))
