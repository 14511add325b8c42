"""Measures what a step costs on this machine, now."""

import time

import numpy as np

from nemotron_asr.engine.cost import StepCost
from nemotron_asr.engine.pool import Pool
from nemotron_asr.engine.runner import Part, Runner
from nemotron_asr.engine.stream import UNKNOWN_END, Target
from nemotron_asr.features import window_samples

SHAPES = ((1, 1), (8, 1), (1, 14), (8, 14))
"""Rows and frames of the steps that are tried: the shortest and the longest chunk, alone and in company."""

ROUNDS = 3
"""The first one of each shape warms up and does not count."""


def calibrate(runner: Runner, cost: StepCost) -> None:
    """Choose the number of threads, then time some steps for `cost`."""
    pool = runner.pool(max(rows for rows, _ in SHAPES))
    choose_threads(runner, pool)
    for rows, frames in SHAPES:
        for seconds in _times(runner, pool, rows, frames):
            cost.add(rows * frames, seconds)


def choose_threads(runner: Runner, pool: Pool) -> None:
    """Take one thread instead of all where that is faster: on a busy machine they wait for each other."""
    if runner.threads > 1:
        together = min(_times(runner, pool, 1, 1))
        most = runner.threads
        runner.use_threads(1)
        if min(_times(runner, pool, 1, 1)) > together:
            runner.use_threads(most)


def _times(runner: Runner, pool: Pool, rows: int, frames: int) -> list[float]:
    """Seconds of some steps over noise, which keeps the decoder as busy as anything does."""
    noise = np.random.default_rng(0).normal(0, 0.1, (rows, 1 + window_samples(frames))).astype(np.float32)
    target, seconds = Target(runner.model.config.default_prompt, ""), []
    for _ in range(ROUNDS):
        parts = [Part(row, 0, target, 0, frames, UNKNOWN_END, False, noise[row]) for row in range(rows)]
        began = time.monotonic()
        runner.step(pool, parts, frames, frames)
        seconds.append(time.monotonic() - began)
    return seconds[1:]
