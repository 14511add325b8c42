"""The trainer: resuming is exact, files are whole, schedules are as published."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import CheckpointError, ManifestError, OptionError
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import Batch, Batches, DataConfig, Source
from nemotron_asr.training.objective import ObjectiveConfig
from nemotron_asr.training.parallel import Replicas
from nemotron_asr.training.trainer import BEST, LAST, Trainer, TrainingConfig, read_checkpoint
from nemotron_asr.training.validation import Score
from tests.training.conftest import Line, write_manifest


@pytest.fixture
def training(tmp_path: Path, manifest: Path) -> TrainingConfig:
    data = DataConfig((Source(manifest),), tmp_path / "cache", batch_seconds=8, bucket_seconds=(3.5, 5))
    return TrainingConfig(
        data, tmp_path / "run", steps=20, warmup=5, save_every=10, validate_every=10, log_every=5,
        validation=(manifest,), validation_lookahead=3,
    )  # fmt: skip


def new_model(config: ModelConfig) -> NemotronASR:
    torch.manual_seed(0)
    return NemotronASR(config)


def states(trainer: Trainer) -> dict[str, Any]:
    moments = {
        f"moment {i} {name}": value
        for i, state in trainer.optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    averages = {f"average {name}": value for name, value in trainer.average.values.items()}
    return {**trainer.objective.state_dict(), **averages, **moments}


class KilledError(Exception):
    """The process is gone."""


@pytest.mark.parametrize("bfloat16", [False, True])
def test_killed_and_resumed_is_bit_identical_to_never_stopped(
    training: TrainingConfig,
    config: ModelConfig,
    tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
    bfloat16: bool,
) -> None:
    training = replace(training, objective=ObjectiveConfig(bfloat16=bfloat16, prune_below=4.0))
    straight = Trainer(replace(training, output=training.output / "straight"), new_model(config), tokenizer)
    straight.run()
    with monkeypatch.context() as patch:
        step = Trainer.train_step

        def dies(self: Trainer, *batches: Batch) -> dict[str, float]:
            if self.step == 13:
                raise KilledError
            return step(self, *batches)

        patch.setattr(Trainer, "train_step", dies)
        with pytest.raises(KilledError):
            Trainer(training, new_model(config), tokenizer).run()
    resumed = Trainer(training, new_model(config), tokenizer)
    assert resumed.step == 10
    resumed.run()
    ours, theirs = states(resumed), states(straight)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert resumed.best == straight.best


def test_loss_falls_and_the_best_weights_are_kept(
    training: TrainingConfig, config: ModelConfig, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer(replace(training, steps=60, peak_lr=5e-3, validate_every=20), new_model(config), tokenizer)
    batch = trainer.batches[0]
    before = trainer.objective(batch).rnnt.item()
    with caplog.at_level("INFO"):
        best = trainer.run()
    assert trainer.objective(batch).rnnt.item() < 0.6 * before
    assert "step 60/60 lr" in caplog.text
    assert "step 60: WER" in caplog.text
    kept = read_checkpoint(best)
    assert best == training.output / BEST
    assert kept["model"].keys() == NemotronASR(config).state_dict().keys()
    assert kept["wer"] == trainer.best


def test_the_best_weights_are_kept_when_later_ones_are_worse(
    training: TrainingConfig, config: ModelConfig, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the average's, and they are measured where the configuration says."""
    trainer = Trainer(replace(training, steps=3, warmup=1, validate_every=1), new_model(config), tokenizer)
    lookaheads, averages, rates = [], [], iter([0.5, 0.3, 0.6])

    def hear(_objective: object, _tokenizer: object, _items: object, lookahead: int, _modes: object) -> dict[str, Any]:
        lookaheads.append(lookahead)
        averages.append({name: value.clone() for name, value in trainer.average.values.items()})
        return {"auto": []}

    monkeypatch.setattr("nemotron_asr.training.trainer.transcribe", hear)
    monkeypatch.setattr("nemotron_asr.training.trainer.score", lambda _heard: Score(next(rates), {}, None))
    kept = read_checkpoint(trainer.run())
    assert (kept["step"], kept["wer"], trainer.best) == (2, 0.3, 0.3)
    assert lookaheads == [3, 3, 3]
    assert [name for name, value in kept["model"].items() if not torch.equal(value, averages[1][f"model.{name}"])] == []
    assert not torch.equal(averages[1]["model.transducer.head.weight"], averages[2]["model.transducer.head.weight"])


def test_the_average_follows_the_weights(training: TrainingConfig, config: ModelConfig, tokenizer: Tokenizer) -> None:
    trainer, name = Trainer(training, new_model(config), tokenizer), "model.transducer.head.weight"
    weights = [dict(trainer.objective.named_parameters())[name].detach().clone()]
    for _ in range(2):
        trainer.train_step(trainer.batches[0])
        weights.append(dict(trainer.objective.named_parameters())[name].detach().clone())
    first = 2 / 11 * weights[0] + 9 / 11 * weights[1]
    torch.testing.assert_close(trainer.average.values[name], 3 / 12 * first + 9 / 12 * weights[2])
    assert not torch.equal(weights[1], weights[2])


def test_a_finished_run_does_nothing_more(training: TrainingConfig, config: ModelConfig, tokenizer: Tokenizer) -> None:
    Trainer(training, new_model(config), tokenizer).run()
    before = (training.output / LAST).read_bytes()
    again = Trainer(training, new_model(config), tokenizer)
    assert again.step == 20
    again.run()
    assert (training.output / LAST).read_bytes() == before


@pytest.mark.parametrize("ctc_weight", [0.3, 0.0])
def test_a_step_without_a_finite_gradient_is_skipped(
    training: TrainingConfig,
    config: ModelConfig,
    tokenizer: Tokenizer,
    caplog: pytest.LogCaptureFixture,
    ctc_weight: float,
) -> None:
    trainer = Trainer(replace(training, ctc_weight=ctc_weight), new_model(config), tokenizer)
    batch = trainer.batches[0]
    batch.samples[0, 5000] = float("nan")
    before = {name: value.clone() for name, value in trainer.objective.state_dict().items()}
    trainer.train_step(batch)
    assert "step 0 skipped" in caplog.text
    assert all(torch.equal(value, before[name]) for name, value in trainer.objective.state_dict().items())
    assert trainer.step == 1


def test_processes_that_do_not_share_their_folder_are_told_so(
    training: TrainingConfig, config: ModelConfig, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Replicas, "gather", lambda _self, value: [value + 500, value])
    with pytest.raises(OptionError, match=r"stand at steps \[500, 0\]; .*run must be a folder that all share"):
        Trainer(training, new_model(config), tokenizer)


def test_what_has_no_words_is_not_validated_on(
    training: TrainingConfig, config: ModelConfig, tokenizer: Tokenizer, lines: list[Line], tmp_path: Path
) -> None:
    """And where nothing is left, training does not begin."""
    dots = {**lines[0], "text": "..."}
    mixed = write_manifest(tmp_path / "mixed.jsonl", [*[dots] * 5, lines[1]])
    trainer = Trainer(replace(training, validation=(mixed,)), new_model(config), tokenizer)
    assert [item.example.clip.text for item in trainer.validation] == [lines[1]["text"]]
    [named] = training.data.cache.glob("mixed-*-left-out.jsonl")
    assert [json.loads(entry)["reason"] for entry in named.read_text("utf-8").splitlines()] == ["no words"] * 5
    for line in (dots, {**lines[0], "audio_filepath": "missing.wav"}):
        path = write_manifest(tmp_path / "none.jsonl", [line])
        with pytest.raises(ManifestError, match=r"no usable clip in .*none\.jsonl"):
            Trainer(replace(training, validation=(path,)), new_model(config), tokenizer)


def test_a_damaged_checkpoint_is_one_clear_error(
    training: TrainingConfig, config: ModelConfig, tokenizer: Tokenizer
) -> None:
    training.output.mkdir()
    last = training.output / LAST
    for damaged in (b"PK\x03\x04 half a checkpoint", bytes(1000)):
        last.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"last\.pt cannot be read"):
            Trainer(training, new_model(config), tokenizer)
    for other, message in (({"model": {}}, "it has no average"), ([1], "is not a training checkpoint")):
        torch.save(other, last)
        with pytest.raises(CheckpointError, match=message):
            Trainer(training, new_model(config), tokenizer)


def test_any_seed_will_do(training: TrainingConfig, config: ModelConfig, tokenizer: Tokenizer) -> None:
    data = replace(training.data, seed=2**62 + 1)
    trainer = Trainer(replace(training, data=data, steps=1), new_model(config), tokenizer)
    assert trainer.train_step(trainer.batches[0])["loss"] > 0


def test_the_rate_rises_falls_as_the_root_and_cools_down(training: TrainingConfig) -> None:
    schedule = replace(training, peak_lr=1e-3, warmup=100, steps=1000)
    assert schedule.lr(0) == pytest.approx(1e-5)
    assert schedule.lr(99) == pytest.approx(1e-3)
    assert schedule.lr(399) == pytest.approx(5e-4)
    cooled = replace(schedule, cooldown=200)
    assert cooled.lr(700) == schedule.lr(700)
    assert cooled.lr(900) == pytest.approx(schedule.lr(900) / 2)
    assert cooled.lr(999) < 1e-5


def test_batches_do_not_depend_on_where_training_stands(
    training: TrainingConfig, config: ModelConfig, tokenizer: Tokenizer
) -> None:
    batches = Batches(training.data, tokenizer, config)
    late = next(iter(batches.loader(15, 20, workers=0)))
    torch.testing.assert_close(late.samples, batches[15].samples, rtol=0, atol=0)
