"""Fine-tuning: from any checkpoint and some manifests to a folder that `load` takes."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nemotron_asr.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, skeleton, to_float
from nemotron_asr.checkpoint.adapter import fingerprint
from nemotron_asr.config import LATENCIES
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.corpus.sources import read_clips
from nemotron_asr.errors import LanguageError, ManifestError
from nemotron_asr.languages import AUTO, canonical
from nemotron_asr.model import NemotronASR
from nemotron_asr.training.adapters import add_adapters, merged_weights, narrow_frozen, save_adapter
from nemotron_asr.training.augment import AugmentConfig
from nemotron_asr.training.card import model_card
from nemotron_asr.training.data import DataConfig
from nemotron_asr.training.locales import add_locale
from nemotron_asr.training.objective import ObjectiveConfig
from nemotron_asr.training.options import FinetuneConfig
from nemotron_asr.training.pieces import add_pieces
from nemotron_asr.training.state import write_whole
from nemotron_asr.training.trainer import Trainer, TrainingConfig
from nemotron_asr.training.validation import Score
from nemotron_asr.training.watching import Scores, TensorBoard, Watcher

log = logging.getLogger(__name__)

BEST_FOLDER = "best"
"""The folder of the best model inside the output folder."""


@dataclass(frozen=True)
class Outcome:
    """Where the best model lies, and what validation said of the model that came and of the best."""

    folder: Path
    before: Scores
    after: Scores


def finetune(config: FinetuneConfig, watchers: Sequence[Watcher] = ()) -> Outcome:
    """Train, or go on with a run that was stopped; what has been finished is not done again.

    Raises:
        CheckpointError: the model cannot be loaded.
        LanguageError: the model does not know the language of a source.
        ManifestError: a manifest cannot be read, or nothing in it can be used.
        OptionError: the output folder holds another run, or options contradict each other.
        MissingExtraError: a package is not installed.
    """
    config.check()
    base = load_checkpoint(config.model)
    checkpoint = grown(base, config)
    check_sources(checkpoint, config)
    config.claim(fingerprint(to_float(base.weights)))
    torch.manual_seed(config.seed)
    model = prepare(checkpoint, config)
    keeper = Keeper(config, checkpoint)
    trainer = Trainer(training_config(config, checkpoint), model, checkpoint.tokenizer, [keeper, *watchers])
    features = trainer.objective.features
    features.load_state_dict({**features.state_dict(), **checkpoint.front_end})
    if trainer.replicas.leads:
        keeper.hours = hours(trainer)
        trainer.watchers.append(TensorBoard(config.output / "logs", trainer.step))
    trainer.run()
    return Outcome(config.output / BEST_FOLDER, keeper.before, keeper.best)


def grown(checkpoint: Checkpoint, config: FinetuneConfig) -> Checkpoint:
    """The model with the language and the pieces that it lacks."""
    if config.new_locale:
        checkpoint = add_locale(checkpoint, *config.new_locale.split(":", 1))
    if config.new_pieces:
        entries = [entry for source in config.train for entry in read_clips(source.manifest, source.language)]
        texts = (entry.text for entry in entries if isinstance(entry, Clip))
        before, checkpoint = checkpoint, add_pieces(checkpoint, texts, config.new_pieces)
        log.info("%d new pieces", checkpoint.config.vocab_size - before.config.vocab_size)
    return checkpoint


def check_sources(checkpoint: Checkpoint, config: FinetuneConfig) -> None:
    """Find out before hours of audio are decoded that a source is missing, or of a language that the model lacks.

    Raises:
        ManifestError: a source is missing.
        LanguageError: the model does not know the language that was said of a source, or cannot name it.
    """
    tags = checkpoint.tokenizer.language_tags.values()
    for source in (*config.train, *config.validation):
        if not os.path.exists(source.manifest):  # noqa: PTH110 - a name may be too long for a path's method
            raise ManifestError(f"cannot read manifest {source.manifest}: there is no such file")
        if source.language:
            locale = canonical(source.language, checkpoint.config.prompts)
            if locale == AUTO:
                raise LanguageError(
                    f"language {source.language!r} of {source.manifest} is none that is spoken; give it"
                )
            if tags and locale not in tags:
                raise LanguageError(f"the model has no tag for {locale}; add it: --new-locale {locale}")


def prepare(checkpoint: Checkpoint, config: FinetuneConfig) -> NemotronASR:
    """The model with its weights in float32, ready to be trained as `config` says."""
    model = skeleton(checkpoint.config)
    weights = {name: tensor.to(torch.float32, copy=True) for name, tensor in to_float(checkpoint.weights).items()}
    model.load_state_dict(weights, assign=True)
    model.requires_grad_(requires_grad=True)
    if config.lora_rank:
        add_adapters(model, config.lora_rank)
        if config.bfloat16:
            narrow_frozen(model)
        if config.grows:
            model.transducer.embed.requires_grad_(requires_grad=True)
            model.transducer.head.requires_grad_(requires_grad=True)
        if config.new_locale:
            model.prompt.language.requires_grad_(requires_grad=True)
    elif config.freeze_encoder:
        model.encoder.requires_grad_(requires_grad=False)
    return model


def training_config(config: FinetuneConfig, checkpoint: Checkpoint) -> TrainingConfig:
    """The trainer's view: all latencies at once, half of the samples without a language, no loss of letters."""
    data = DataConfig(
        sources=config.train,
        cache=config.output / "cache",
        seed=config.seed,
        batch_seconds=config.batch_seconds,
        lookaheads=tuple(LATENCIES.values()),
        augment=AugmentConfig() if config.augment else None,
    )
    every = config.validate_every or max(1, config.steps // 10)
    return TrainingConfig(
        data=data,
        output=config.output,
        steps=config.steps,
        validation=config.validation,
        objective=ObjectiveConfig(bfloat16=config.bfloat16, recompute=config.recompute),
        peak_lr=config.peak_lr,
        warmup=min(config.warmup, max(1, config.steps // 5)),  # a short run has to reach its rate, too
        cooldown=max(1, config.steps // 5),
        ctc_weight=0.0,
        ema=config.ema,
        device=config.device,
        workers=config.workers,
        log_every=max(1, min(50, config.steps // 20)),
        validate_every=every,
        save_every=min(every, 200),
        validation_lookahead=LATENCIES[config.latency_ms],
        validation_modes=(AUTO, "language") if checkpoint.config.n_prompts else (AUTO,),
        validate_first=True,
        accumulate=config.accumulate,
    )


def hours(trainer: Trainer) -> dict[str, float]:
    """Hours of audio per locale that are trained on."""
    total: dict[str, float] = {}
    for bucket in trainer.batches.buckets:
        for item in bucket.items:
            clip = item.example.clip
            total[clip.language] = total.get(clip.language, 0.0) + clip.duration / 3600
    return total


class Keeper:
    """Writes the best model, with its card, as a folder that `load` takes; remembers scores when a run is killed."""

    def __init__(self, config: FinetuneConfig, checkpoint: Checkpoint) -> None:
        self.config, self.checkpoint = config, checkpoint
        self.hours: dict[str, float] = {}
        self._path = config.output / "scores.json"
        stored = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
        self._scores: dict[str, Scores] = {
            name: {mode: Score(**score) for mode, score in scores.items()} for name, scores in stored.items()
        }

    @property
    def before(self) -> Scores:
        """Of the model that came."""
        return self._scores.get("0", {})

    @property
    def best(self) -> Scores:
        """Of the best model so far."""
        return self._scores.get("best", {})

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing is kept between validations."""

    def validated(self, step: int, scores: Scores) -> None:
        """Remember what was measured."""
        self._remember(str(step), scores)

    def kept(self, step: int, weights: Mapping[str, Tensor], scores: Scores) -> None:
        """Write the folder."""
        self._remember("best", scores)
        card = model_card(self.config, self.checkpoint, step, self.hours, self.before, scores)
        folder = self.config.output / BEST_FOLDER
        if self.config.lora_rank and not self.config.grows:
            save_adapter(weights, folder, self.config.model, self.checkpoint, card)
            return
        merged = merged_weights(weights, self.checkpoint)
        save_checkpoint(replace(self.checkpoint, weights=merged, about=self._about(step)), folder)
        (folder / "README.md").write_text(card, encoding="utf-8")

    def _about(self, step: int) -> dict[str, Any]:
        told = self.checkpoint.about
        return {**told, "fine_tuned_from": self.config.model, "fine_tuning_steps": step}

    def _remember(self, name: str, scores: Scores) -> None:
        self._scores[name] = scores
        plain = {key: {mode: asdict(score) for mode, score in value.items()} for key, value in self._scores.items()}
        write_whole(self._path, json.dumps(plain, indent=2))
