"""Implementations from samples to tokens, and the clock that they run against in turns."""

import statistics
import time
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Protocol

import torch
from torch import nn

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.driver import Driver
from nemotron_asr.config import FRAME_SAMPLES
from nemotron_asr.engine.runner import Runner

Tokens = list[int]


class Contender(Protocol):
    """Runs tasks, and clocks its encoder."""

    encoder: "Stopwatch"

    def run(self, task: str, samples: Samples, lookahead: int) -> Tokens:
        """Transcribe a "file" at once, or "live", chunk by chunk."""


def clock() -> float:
    """Seconds of the CPU with one thread, which a busy machine hardly changes; on the wall with more."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


class Stopwatch:
    """Seconds spent in a module's forward; none, of what is not a module."""

    def __init__(self, module: nn.Module | None = None) -> None:
        self.seconds = self._started = 0.0
        if module is not None:
            module.register_forward_pre_hook(self._start)
            module.register_forward_hook(self._stop)

    def _start(self, *_: object) -> None:
        self._started = clock()

    def _stop(self, *_: object) -> None:
        self.seconds += clock() - self._started


class Ours:
    """This package's engine with one stream, as `transcribe` and `stream` use it."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.encoder = Stopwatch(runner.model.encoder)

    def run(self, task: str, samples: Samples, lookahead: int) -> Tokens:
        """Transcribe."""
        size = FRAME_SAMPLES * (lookahead + 1) if task == "live" else len(samples)
        driver = Driver(self.runner)
        stream, tokens = driver.open(self.runner.model.config.default_prompt, lookahead + 1), []
        for start in range(0, len(samples), size):
            stream.feed(samples[start : start + size])
            tokens += [emission.token for _, said in driver.drain() for emission in said]
        stream.close()
        return tokens + [emission.token for _, said in driver.drain() for emission in said]


@dataclass(frozen=True)
class Times:
    """What one contender needed for one task, round by round, in seconds."""

    tokens: Tokens
    total: list[float] = field(default_factory=list)
    encoder: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The round that was disturbed least."""
        return min(self.total)

    @property
    def median(self) -> float:
        """The round in the middle."""
        return statistics.median(self.total)

    def agreement(self, other: "Times") -> float:
        """Share of tokens that both said, in order."""
        return SequenceMatcher(None, self.tokens, other.tokens, autojunk=False).ratio()


def take_turns(contenders: list[Contender], task: str, samples: Samples, lookahead: int, rounds: int) -> list[Times]:
    """Run a task once to warm up, then in turns."""
    results = [Times(contender.run(task, samples, lookahead)) for contender in contenders]
    for _ in range(rounds):
        for contender, times in zip(contenders, results, strict=True):
            contender.encoder.seconds, started = 0.0, clock()
            contender.run(task, samples, lookahead)
            times.total.append(clock() - started)
            times.encoder.append(contender.encoder.seconds)
    return results
