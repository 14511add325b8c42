"""Both implementations from samples to tokens, and the clock that they run against in turns."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import NemotronAsrStreamingFeatureExtractor

from nemotron_asr.benchmark.driver import Driver
from nemotron_asr.benchmark.pair import PROMPT, Pair
from nemotron_asr.config import FRAME_SAMPLES, HOP, SAMPLE_RATE, SUBSAMPLING
from nemotron_asr.features import N_FFT, WINDOW

Samples = NDArray[np.float32]
Tokens = list[int]

NO_LIMIT = 10**6
"""Tokens, blanks included, after which transformers would stop."""


class Contender(Protocol):
    """Runs tasks, and clocks its encoder."""

    encoder: "Stopwatch"

    def run(self, task: str, samples: Samples, lookahead: int) -> Tokens:
        """Transcribe a "file" at once, or "live", chunk by chunk."""


def clock() -> float:
    """Seconds of the CPU with one thread, which a busy machine hardly changes; on the wall with more."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


class Stopwatch:
    """Seconds spent in a module's forward."""

    def __init__(self, module: nn.Module) -> None:
        self.seconds = self._started = 0.0
        module.register_forward_pre_hook(self._start)
        module.register_forward_hook(self._stop)

    def _start(self, *_: object) -> None:
        self._started = clock()

    def _stop(self, *_: object) -> None:
        self.seconds += clock() - self._started


class Transformers:
    """transformers, as its documentation shows."""

    def __init__(self, pair: Pair) -> None:
        self.model = pair.theirs
        self.encoder = Stopwatch(pair.theirs.encoder)
        self._blank = pair.ours.model.config.blank
        self._extractor = NemotronAsrStreamingFeatureExtractor(feature_size=pair.ours.model.config.n_mels)

    def run(self, task: str, samples: Samples, lookahead: int) -> Tokens:
        """Transcribe."""
        if task == "live":
            return self._generate(lookahead, input_features=self._chunks(samples, lookahead))
        inputs = self._extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        inputs["input_features"] = inputs["input_features"].to(self.model.dtype)
        return self._generate(lookahead, **inputs)

    def _chunks(self, samples: Samples, lookahead: int) -> Iterator[Tensor]:
        """The features of one chunk after another, in the sizes that the processor names."""
        position, per_chunk = 1 + SUBSAMPLING * lookahead, SUBSAMPLING * (lookahead + 1)
        yield self._extract(samples[: (position - 1) * HOP + WINDOW // 2], first=True)[:, :position]
        while (end := (start := position * HOP - N_FFT // 2) + per_chunk * HOP + WINDOW) < len(samples):
            # The documented loop has a negative start for 80 ms, which Python counts from the end.
            yield self._extract(np.pad(samples[max(0, start) : end], (max(0, -start), 0)), first=False)
            position += per_chunk

    def _extract(self, samples: Samples, *, first: bool) -> Tensor:
        inputs = self._extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt", center=first)
        mel: Tensor = inputs["input_features"]
        return mel

    def _generate(self, lookahead: int, **inputs: object) -> Tokens:
        asked = {"num_lookahead_tokens": lookahead, "prompt_ids": torch.tensor([PROMPT]), "max_new_tokens": NO_LIMIT}
        said = self.model.generate(**asked, **inputs)
        return [token for token in said.sequences[0].tolist() if token != self._blank]


class Ours:
    """This package's engine with one stream, as `transcribe` and `stream` use it."""

    def __init__(self, pair: Pair) -> None:
        self.runner = pair.ours
        self.encoder = Stopwatch(pair.ours.model.encoder)

    def run(self, task: str, samples: Samples, lookahead: int) -> Tokens:
        """Transcribe."""
        size = FRAME_SAMPLES * (lookahead + 1) if task == "live" else len(samples)
        driver = Driver(self.runner)
        stream, tokens = driver.open(PROMPT, lookahead + 1), []
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
