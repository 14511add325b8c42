"""The trainer: one loop, and a checkpoint from which it goes on as if it had never stopped.

Whatever is random in step n is drawn from (seed, n); so the checkpoint holds weights, their averages, the optimiser and
n, and a run that is killed and resumed computes the same numbers to the last bit.
"""

import copy
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nemotron_asr.errors import CheckpointError
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import Batches, DataConfig, Item, Source, load_source
from nemotron_asr.training.objective import Objective, ObjectiveConfig
from nemotron_asr.training.parallel import Replicas
from nemotron_asr.training.spelling import Spelling
from nemotron_asr.training.validation import Score, score, transcribe

log = logging.getLogger(__name__)

LAST, BEST = "last.pt", "best.pt"


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained; published recipe values where there are any."""

    data: DataConfig
    output: Path  # folder of checkpoints; training goes on from the last one in it
    steps: int
    validation: tuple[Path, ...] = ()  # manifests
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

    def lr(self, step: int) -> float:
        """Noam's schedule (Vaswani et al. 2017) with its peak given, then the cool-down."""
        rate = self.peak_lr * min((step + 1) / self.warmup, math.sqrt(self.warmup / (step + 1)))
        return rate * min(1.0, (self.steps - step) / self.cooldown) if self.cooldown else rate


class Trainer:
    """Trains one model on one configuration."""

    def __init__(self, config: TrainingConfig, model: NemotronASR, tokenizer: Tokenizer) -> None:
        """Load the data and, when the output folder has one, the last checkpoint."""
        torch.set_flush_denormal(True)  # vanishing weights and states would otherwise be computed ten times slower
        self.config, self.tokenizer = config, tokenizer
        self.replicas = Replicas.join(config.device)
        sources = [Source(manifest) for manifest in config.validation]
        with self.replicas.leader_first():
            self.batches = Batches(config.data, tokenizer, model.config, self.replicas)
            self.validation: list[Item] = [
                item for source in sources for item in load_source(source, tokenizer, model.config, config.data)
            ]
        torch.manual_seed(config.data.seed)
        self.objective = Objective(model, Spelling(tokenizer), config.objective, config.data.augment).to(config.device)
        self.average = copy.deepcopy(self.objective).requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.AdamW(
            _decayed(self.objective, config.weight_decay), lr=0.0, betas=(0.9, 0.98), fused=True
        )
        self.step, self.best = 0, math.inf
        if (last := config.output / LAST).exists():
            self._restore(last)

    def run(self) -> Path:
        """Train until `config.steps`; returns the path of the best checkpoint."""
        config = self.config
        config.output.mkdir(parents=True, exist_ok=True)
        progress = Progress()
        for batch in self.batches.loader(self.step, config.steps, config.workers):
            progress.add(*self.train_step(batch.to(config.device)), batch.seconds)
            if not self.replicas.leads:
                continue
            if self._due(config.log_every):
                log.info("step %d/%d lr %.2e %s", self.step, config.steps, config.lr(self.step), progress.line())
            if self._due(config.validate_every):
                self.validate()
                progress = Progress()
            if self._due(config.save_every):
                self._save(config.output / LAST)
        if self.replicas.leads and not (config.output / BEST).exists():
            self._keep(math.inf)
        return config.output / BEST

    def train_step(self, batch: Any) -> tuple[float, float, float]:
        """One step; returns both losses per token and the norm of the gradient."""
        config, seed = self.config, (self.config.data.seed << 40) + self.step * self.replicas.size + self.replicas.rank
        torch.manual_seed(seed)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr(self.step)
        transducer = self.step >= config.ctc_steps
        losses = self.objective(batch, torch.Generator().manual_seed(seed), transducer=transducer)
        loss = losses.rnnt + config.ctc_weight * losses.ctc if transducer else losses.ctc
        loss.backward()
        self.replicas.average_gradients(self.objective.parameters())
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), config.clip)
        if norm.isfinite():
            self.optimizer.step()
        else:
            log.warning("step %d skipped: the gradient is %s", self.step, norm.item())
        self.optimizer.zero_grad()
        self.step += 1
        self._update_average()
        return losses.rnnt.item(), losses.ctc.item(), norm.item()

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early weights are worthless: the average forgets them quickly at first.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step)) if self.config.ema else 0.0
        for ours, theirs in zip(self.average.parameters(), self.objective.parameters(), strict=True):
            ours.lerp_(theirs, 1 - decay)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.steps

    def validate(self) -> Score | None:
        """Measure the averaged weights on the validation manifests and keep them when they are the best so far."""
        if not self.validation:
            return None
        auto, lookahead = self.average.model.config.default_prompt, self.config.validation_lookahead
        hypotheses = transcribe(self.average, self.tokenizer, self.validation, auto, lookahead)
        result = score(hypotheses)
        log.info("step %d: %s", self.step, result)
        for hypothesis in hypotheses[:: max(1, len(hypotheses) // 4)]:
            log.info("  said %r, heard %r <%s>", hypothesis.reference, hypothesis.text[:200], hypothesis.detected)
        if result.wer < self.best:
            self._keep(result.wer)
        return result

    def _keep(self, wer: float) -> None:
        self.best = wer
        weights = {name: value.cpu() for name, value in self.average.model.state_dict().items()}
        _write({"model": weights, "step": self.step, "wer": wer}, self.config.output / BEST)

    def _save(self, path: Path) -> None:
        state = {
            "objective": self.objective.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
        }
        _write(state, path)

    def _restore(self, path: Path) -> None:
        state = read_checkpoint(path)
        self.objective.load_state_dict(state["objective"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        log.info("going on from step %d of %s", self.step, path)


class Progress:
    """Means since the last line."""

    def __init__(self) -> None:
        self._rows: list[Sequence[float]] = []
        self._since = time.monotonic()

    def add(self, rnnt: float, ctc: float, norm: float, seconds: float) -> None:
        """Take in one step."""
        self._rows.append((rnnt, ctc, norm, seconds))

    def line(self) -> str:
        """Losses per token, gradient norm and speed; starts anew."""
        now = time.monotonic()
        totals = [sum(column) for column in zip(*self._rows, strict=True)]
        n, elapsed = len(self._rows), now - self._since
        self._rows, self._since = [], now
        rnnt, ctc, norm = (total / n for total in totals[:3])
        return f"loss {rnnt:.3f} ctc {ctc:.3f} norm {norm:.2f} {totals[3] / elapsed:.0f} s/s {elapsed / n:.2f} s/step"


def _decayed(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices, not norms and biases."""
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _write(state: Mapping[str, Any], path: Path) -> None:
    """All or nothing: a kill while writing leaves the old file."""
    partial = path.with_suffix(".part")
    torch.save(dict(state), partial)
    partial.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file that the trainer has written.

    Raises:
        CheckpointError: it is damaged or something else.
    """
    try:
        state: dict[str, Tensor | Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is not a training checkpoint: {error}") from error
    return state


def train(config: TrainingConfig, model: NemotronASR, tokenizer: Tokenizer) -> Path:
    """Train `model` in place until `config.steps`; returns the path of the best checkpoint."""
    return Trainer(config, model, tokenizer).run()
