"""The trainer: one loop, and a checkpoint from which it goes on as if it had never stopped.

Whatever is random in step n is drawn from (seed, n); so the checkpoint holds weights, their averages, the optimiser and
n, and a run that is killed and resumed computes the same numbers to the last bit.
"""

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nemotron_asr.config import ModelConfig
from nemotron_asr.errors import CheckpointError, OptionError
from nemotron_asr.languages import AUTO
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import Batch, Batches, DataConfig, Item, Source, load_source, unusable
from nemotron_asr.training.objective import Objective, ObjectiveConfig
from nemotron_asr.training.parallel import Replicas
from nemotron_asr.training.spelling import Spelling
from nemotron_asr.training.state import Average, read_checkpoint, take, trained, write_state
from nemotron_asr.training.validation import score, transcribe
from nemotron_asr.training.watching import Lines, Scores, Watcher

__all__ = ["BEST", "LAST", "Trainer", "TrainingConfig", "read_checkpoint", "train"]

log = logging.getLogger(__name__)

LAST, BEST = "last.pt", "best.pt"


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained; published recipe values where there are any."""

    data: DataConfig
    output: Path  # folder of checkpoints; training goes on from the last one in it
    steps: int
    validation: tuple[Path | Source, ...] = ()  # manifests
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)

    peak_lr: float = 1.5e-3
    warmup: int = 1000  # steps
    cooldown: int = 0  # last steps, over which the rate falls linearly to zero
    weight_decay: float = 1e-3
    clip: float = 0.5  # norm of the gradient
    ctc_weight: float = 0.3  # of the auxiliary loss
    ctc_steps: int = 0  # first steps, which teach the encoder to hear by the auxiliary loss alone, at half the cost
    ema: float = 0.999  # decay of the average of the weights that is validated and kept; 0: none

    device: str = "cpu"
    workers: int = 0  # processes that make batches

    log_every: int = 50  # steps
    validate_every: int = 1000
    save_every: int = 500
    validation_lookahead: int = 13  # encoder frames
    validation_modes: tuple[str, ...] = (AUTO,)  # "auto": the language is left to the model; "language": given
    validate_first: bool = False  # the model as it comes, too
    accumulate: int = 1  # batches per step

    def lr(self, step: int) -> float:
        """Noam's schedule (Vaswani et al. 2017) with its peak given, then the cool-down."""
        rate = self.peak_lr * min((step + 1) / self.warmup, math.sqrt(self.warmup / (step + 1)))
        return rate * min(1.0, (self.steps - step) / self.cooldown) if self.cooldown else rate


class Trainer:
    """Trains one model on one configuration."""

    def __init__(
        self, config: TrainingConfig, model: NemotronASR, tokenizer: Tokenizer, watchers: Sequence[Watcher] = ()
    ) -> None:
        """Load the data and, when the output folder has one, the last checkpoint.

        Args:
            config: how to train.
            model: trained in place: those of its parameters that require a gradient.
            tokenizer: the model's.
            watchers: told of everything, where this process leads.

        Raises:
            ManifestError: a manifest cannot be read, or nothing can be used to train on, or to validate on.
            CheckpointError: the last checkpoint is of another kind of run.
            OptionError: the processes do not share the output folder.
        """
        torch.set_flush_denormal(True)  # vanishing weights and states would otherwise be computed ten times slower
        self.config, self.tokenizer = config, tokenizer
        self.replicas = Replicas.join(config.device)
        self.watchers: list[Watcher] = [Lines(config.log_every, config.steps), *watchers] if self.replicas.leads else []
        with self.replicas.leader_first():
            self.batches = Batches(config.data, tokenizer, model.config, self.replicas)
            self.validation = self._validation(model.config)
        torch.manual_seed(config.data.seed)
        spelling = Spelling(tokenizer) if config.ctc_weight else None
        self.objective = Objective(model, spelling, config.objective, config.data.augment).to(config.device)
        self.average = Average(self.objective, config.ema)
        self.optimizer = torch.optim.AdamW(
            _decayed(trained(self.objective).values(), config.weight_decay), lr=0.0, betas=(0.9, 0.98), fused=True
        )
        self.step, self.best = 0, math.inf
        if (last := config.output / LAST).exists():
            self._restore(last)
        if len(set(steps := self.replicas.gather(self.step))) > 1:
            raise OptionError(f"the processes stand at steps {steps}; {config.output} must be a folder that all share")

    def _validation(self, model: ModelConfig) -> list[Item]:
        """The clips that are validated on: none only where none are asked for."""
        sources = [source if isinstance(source, Source) else Source(source) for source in self.config.validation]
        data, tokenizer = self.config.data, self.tokenizer
        loaded = [load_source(source, tokenizer, model, data, measured=True) for source in sources]
        items = [item for items in loaded for item in items]
        if sources and not items:
            raise unusable(sources)
        return items

    def run(self) -> Path:
        """Train until `config.steps`; returns the path of the best checkpoint."""
        config = self.config
        config.output.mkdir(parents=True, exist_ok=True)
        if config.validate_first and self.step == 0 and self.validation and self.replicas.leads:
            self.validate()
        first, last = (step * config.accumulate for step in (self.step, config.steps))
        loader = iter(self.batches.loader(first, last, config.workers))
        while batches := [batch.to(config.device) for batch in islice(loader, config.accumulate)]:
            values = self.train_step(*batches)
            for watcher in self.watchers:
                watcher.stepped(self.step, values)
            if not self.replicas.leads:
                continue
            if self.validation and self._due(config.validate_every):
                self.validate()
            elif self._due(config.save_every):
                self.save()
        if self.replicas.leads and not (config.output / BEST).exists():
            self._keep({}, math.inf)
        return config.output / BEST

    def train_step(self, *batches: Batch) -> dict[str, float]:
        """One step on all batches together; returns losses per token, gradient norm, rate, and seconds of audio."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr(self.step)
        losses = [self._backward(batch, i, 1 / len(batches)) for i, batch in enumerate(batches)]
        self.replicas.average_gradients(self.objective.parameters())
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), config.clip)
        if norm.isfinite():
            self.optimizer.step()
        else:
            log.warning("step %d skipped: the gradient is %s", self.step, norm.item())
        self.optimizer.zero_grad()
        self.step += 1
        self.average.update(self.step)
        rnnt, ctc = (sum(x.item() for x in kind) / len(batches) for kind in zip(*losses, strict=True))
        seconds = sum(batch.seconds for batch in batches)
        return {"loss": rnnt, "ctc": ctc, "norm": norm.item(), "lr": config.lr(self.step - 1), "seconds": seconds}

    def _backward(self, batch: Batch, number: int, share: float) -> tuple[Tensor, Tensor]:
        """Add a batch's share to the gradient; its randomness depends on its number in the whole run alone."""
        place = (self.step * self.config.accumulate + number) * self.replicas.size + self.replicas.rank
        seed = ((self.config.data.seed << 40) + place) % 2**64  # torch takes no more
        torch.manual_seed(seed)
        transducer = self.step >= self.config.ctc_steps
        losses = self.objective(batch, torch.Generator().manual_seed(seed), transducer=transducer)
        loss = losses.rnnt + self.config.ctc_weight * losses.ctc if transducer else losses.ctc
        (share * loss).backward()
        return losses.rnnt.detach(), losses.ctc.detach()

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.steps

    def validate(self) -> Scores:
        """Measure the averaged weights on the validation manifests and keep them when they are the best so far."""
        with self.average.in_use():
            heard = transcribe(
                self.objective, self.tokenizer, self.validation, self.config.validation_lookahead,
                self.config.validation_modes,
            )  # fmt: skip
        scores = {mode: score(hypotheses) for mode, hypotheses in heard.items()}
        for watcher in self.watchers:
            watcher.validated(self.step, scores)
        some = heard[self.config.validation_modes[0]]
        for hypothesis in some[:: max(1, len(some) // 4)]:
            log.info("  said %r, heard %r <%s>", hypothesis.reference, hypothesis.text[:200], hypothesis.detected)
        wer = sum(score.wer for score in scores.values()) / len(scores)
        if wer < self.best:
            self._keep(scores, wer)
        self.save()  # what was measured is not measured again
        return scores

    def _keep(self, scores: Scores, wer: float) -> None:
        """Write the averaged weights of the model: those that are trained, which may be all."""
        self.best = wer
        inside = {name: value.cpu() for name, value in self.average.values.items() if name.startswith("model.")}
        weights = {name.removeprefix("model."): value for name, value in inside.items()}
        write_state({"model": weights, "step": self.step, "wer": wer}, self.config.output / BEST)
        for watcher in self.watchers:
            watcher.kept(self.step, weights, scores)

    def save(self) -> None:
        """Write all that it takes to go on from here."""
        parameters = {name: parameter.data for name, parameter in trained(self.objective).items()}
        state = {
            "objective": parameters,
            "average": self.average.values,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
        }
        write_state(state, self.config.output / LAST)

    def _restore(self, path: Path) -> None:
        state = read_checkpoint(path)
        if absent := {"objective", "average", "optimizer", "step", "best"} - state.keys():
            raise CheckpointError(f"{path} is not a training checkpoint: it has no {min(absent)}")
        take(trained(self.objective), state["objective"], path)
        take(self.average.values, state["average"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        log.info("going on from step %d of %s", self.step, path)


def _decayed(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices, not norms and biases."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in parameters:
        (matrices if parameter.dim() > 1 else others).append(parameter)
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def train(config: TrainingConfig, model: NemotronASR, tokenizer: Tokenizer) -> Path:
    """Train `model` in place until `config.steps`; returns the path of the best checkpoint."""
    return Trainer(config, model, tokenizer).run()
