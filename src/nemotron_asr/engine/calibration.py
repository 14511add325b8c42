"""Measures what a step costs on this machine, now."""

import time
from collections.abc import Collection, Sequence

import numpy as np

from nemotron_asr.config import LATENCIES
from nemotron_asr.engine.cost import StepCost
from nemotron_asr.engine.memory import trim
from nemotron_asr.engine.pool import Pool
from nemotron_asr.engine.runner import Part, Runner
from nemotron_asr.engine.stream import UNKNOWN_END, Target
from nemotron_asr.features import window_samples

LONGEST = max(LATENCIES.values()) + 1
"""Frames of the longest chunk."""

ROUNDS = 3
"""The first one of each shape warms up and does not count."""


def calibrate(runner: Runner, cost: StepCost) -> None:
    """Choose the number of threads, then time some steps: `cost` becomes what they tell."""
    measured = StepCost()
    most = max(rows for rows, _ in runner.trials)
    pool = runner.pool(most)
    rows = [pool.acquire() for _ in range(most)]
    try:
        choose_threads(runner, pool, rows[:1])
        for streams, frames in runner.trials:
            for seconds in _times(runner, pool, rows[:streams], frames):
                measured.add(streams * frames, seconds)
        tried = {frames for _, frames in runner.trials}
        warm_up(runner, pool, rows[:1], {lookahead + 1 for lookahead in LATENCIES.values()} - tried)
    finally:
        for row in rows:  # a GPU's pool is everybody's
            pool.release(row)
    cost.become(measured)
    del pool
    trim()


def warm_up(runner: Runner, pool: Pool, rows: Sequence[int], chunks: Collection[int]) -> None:
    """Run a step of these chunk sizes, so that nobody's first words wait for what a runner makes at first use."""
    for chunk in chunks:
        _times(runner, pool, rows, chunk)


def choose_threads(runner: Runner, pool: Pool, rows: Sequence[int]) -> None:
    """Take all threads or one, what is faster now: on a busy machine they wait for each other."""
    if runner.most_threads == 1:
        return
    seconds = dict.fromkeys((runner.most_threads, 1), 0.0)
    for threads in seconds:
        runner.use_threads(threads)
        seconds[threads] = min(_times(runner, pool, rows, 1))
    runner.use_threads(min(seconds, key=seconds.__getitem__))


def _times(runner: Runner, pool: Pool, rows: Sequence[int], frames: int) -> list[float]:
    """Seconds of some steps over noise, which keeps the decoder as busy as anything does."""
    noise = np.random.default_rng(0).normal(0, 0.1, (len(rows), 1 + window_samples(frames))).astype(np.float32)
    target, seconds = Target(runner.model.config.default_prompt, ""), []
    for _ in range(ROUNDS):
        parts = [
            Part(row, 0, target, 0, frames, UNKNOWN_END, False, window) for row, window in zip(rows, noise, strict=True)
        ]
        began = time.monotonic()
        runner.step(pool, parts, frames, min(frames, LONGEST))
        seconds.append(time.monotonic() - began)
    return seconds[1:]
