"""From audio to text: a small model learns a handful of real clips by heart, through the real trainer and data path."""

from pathlib import Path

import torch

from nemotron_asr.config import ModelConfig
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import DataConfig, Source
from nemotron_asr.training.initialise import initialise
from nemotron_asr.training.trainer import Trainer, TrainingConfig
from nemotron_asr.training.validation import transcribe

STEPS = 400


def test_a_small_model_learns_real_clips_exactly(tmp_path: Path, manifest: Path, tokenizer: Tokenizer) -> None:
    config = ModelConfig(
        n_mels=64, d_model=96, n_layers=4, n_heads=4, d_ff=256, subsampling_channels=16, d_prompt=96, d_pred=96,
        pred_layers=1, d_joint=96, vocab_size=tokenizer.vocab_size, dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = NemotronASR(config)
    initialise(model)
    assert 0.8e6 < sum(p.numel() for p in model.parameters()) < 1.2e6
    data = DataConfig((Source(manifest),), tmp_path, batch_seconds=20, bucket_seconds=(5,), augment=None)
    training = TrainingConfig(
        data, tmp_path / "run", steps=STEPS, validation=(manifest,), peak_lr=3e-3, warmup=50, cooldown=150, ema=0.0,
        ctc_steps=120,
        validate_every=1000, log_every=20,
    )  # fmt: skip
    trainer = Trainer(training, model, tokenizer)
    trainer.run()
    for lookahead in (3, 6, 13):  # without lookahead, who has five sentences by heart may start the wrong one
        modes = transcribe(trainer.objective, tokenizer, trainer.validation, lookahead, ("auto", "language"))
        for heard in modes.values():
            assert [h.text for h in heard] == [h.reference for h in heard]
            assert [h.detected for h in heard] == [h.language for h in heard]
