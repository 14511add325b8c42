"""Measures what a step costs on this machine, now."""

import time

import numpy as np

from nemotron_asr.engine.cost import StepCost
from nemotron_asr.engine.runner import Part, Runner
from nemotron_asr.engine.stream import UNKNOWN_END, Target
from nemotron_asr.features import window_samples

SHAPES = ((1, 1), (8, 1), (1, 14), (8, 14))
"""Rows and frames of the steps that are tried: the shortest and the longest chunk, alone and in company."""

ROUNDS = 3
"""The first one of each shape warms up and does not count."""


def calibrate(runner: Runner, cost: StepCost) -> None:
    """Time some steps over noise, which keeps the decoder as busy as anything does."""
    rng = np.random.default_rng(0)
    pool = runner.pool(max(rows for rows, _ in SHAPES))
    for rows, frames in SHAPES:
        noise = rng.normal(0, 0.1, (rows, 1 + window_samples(frames))).astype(np.float32)
        for turn in range(ROUNDS):
            parts = [
                Part(row, 0, Target(runner.model.config.default_prompt, ""), 0, frames, UNKNOWN_END, False, noise[row])
                for row in range(rows)
            ]
            began = time.monotonic()
            runner.step(pool, parts, frames, frames)
            if turn:
                cost.add(rows * frames, time.monotonic() - began)
