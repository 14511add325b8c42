"""Who follows a training run: log lines, TensorBoard, whatever else wants to know."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor

from nemotron_asr.errors import needs_extra
from nemotron_asr.training.validation import Score

log = logging.getLogger(__name__)

Scores = Mapping[str, Score]
"""By mode: the language left to the model ("auto"), or given ("language")."""


class Watcher(Protocol):
    """What is told of a run, on the process that leads."""

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """A step was made: losses per token, norm of the gradient, learning rate, seconds of audio."""

    def validated(self, step: int, scores: Scores) -> None:
        """The averaged weights were measured."""

    def kept(self, step: int, weights: Mapping[str, Tensor], scores: Scores) -> None:
        """They are the best so far."""


class Lines:
    """A line in the log every so many steps, with means since the last one."""

    def __init__(self, every: int, steps: int) -> None:
        self._every, self._steps = every, steps
        self._rows: list[Mapping[str, float]] = []
        self._since = time.monotonic()

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Take in one step, and speak when it is time."""
        self._rows.append(values)
        if step % self._every == 0 or step == self._steps:
            log.info("step %d/%d lr %.2e %s", step, self._steps, values["lr"], self._means())

    def _means(self) -> str:
        """Losses per token, gradient norm and speed; starts anew."""
        now, n = time.monotonic(), len(self._rows)
        elapsed = now - self._since
        total = {name: sum(row[name] for row in self._rows) for name in self._rows[0]}
        self._rows, self._since = [], now
        losses = f"loss {total['loss'] / n:.3f} ctc {total['ctc'] / n:.3f} norm {total['norm'] / n:.2f}"
        return f"{losses} {total['seconds'] / elapsed:.0f} s/s {elapsed / n:.2f} s/step"

    def validated(self, step: int, scores: Scores) -> None:
        """A line per mode."""
        for mode, score in scores.items():
            log.info("step %d: %s%s", step, "" if mode == "auto" else f"{mode}: ", score)
        self._since = time.monotonic()

    def kept(self, step: int, weights: Mapping[str, Tensor], scores: Scores) -> None:
        """Nothing more to say."""


class TensorBoard:
    """Curves for TensorBoard: `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path, step: int) -> None:
        """Go on at `step`; what a killed run wrote beyond it is hidden.

        Raises:
            MissingExtraError: tensorboard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise needs_extra("logging for TensorBoard", "train") from None
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """One point on every curve."""
        for name, value in values.items():
            self._writer.add_scalar(f"training/{name}", value, step)

    def validated(self, step: int, scores: Scores) -> None:
        """One point per mode and language."""
        for mode, score in scores.items():
            self._writer.add_scalar(f"WER, {mode}/all", score.wer, step)
            if score.detected is not None:
                self._writer.add_scalar(f"language right/{mode}", score.detected, step)
            for language, wer in score.languages.items():
                self._writer.add_scalar(f"WER, {mode}/{language}", wer, step)
        self._writer.flush()

    def kept(self, step: int, weights: Mapping[str, Tensor], scores: Scores) -> None:
        """Curves do not show it."""
