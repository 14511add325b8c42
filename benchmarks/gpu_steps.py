"""What the steps of a fleet cost, and what they spend it on."""

import time

import numpy as np
import torch
from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiling

from nemotron_asr.audio import Samples
from nemotron_asr.config import FRAME_SAMPLES, FRAME_SECONDS
from nemotron_asr.engine.gpu.fleet import Fleet, Longs
from nemotron_asr.engine.gpu.runner import GpuRunner
from nemotron_asr.features import window_samples

LINES = 8192
"""Streams times frames of a step at most: more makes nothing faster."""

PATIENCE = 0.4
"""Share of a chunk that a step may take, so that one who comes late waits for one step and is served in the next."""

COSTLIEST = 25
"""Lines of a profile."""


def sizes_of(chunk: int, most: int) -> list[int]:
    """Numbers of streams for which steps are recorded."""
    top = max(1, min(most, LINES // chunk))
    return sorted({max(1, top * share // 16) for share in (1, 2, 3, 4, 6, 8, 12, 16)})


def old_streams(fleet: Fleet, said: Samples, streams: int) -> Longs:
    """So many streams that can step and are older than the encoder remembers: no others have more to read."""
    who, left = np.arange(streams), fleet.runner.model.config.left_context
    fleet.begin(who)
    fleet.t[who] = -(-left // fleet.chunk) * fleet.chunk
    fleet.fed[who] = FRAME_SAMPLES * fleet.t[who]
    starts = np.random.default_rng(0).integers(0, len(said) - 40_000, streams)
    fleet.feed(who, np.stack([said[i : i + window_samples(fleet.chunk)] for i in starts]).astype(np.float32))
    return who


def step_times(fleet: Fleet, said: Samples) -> dict[int, float]:
    """Seconds of a step, the median of some, for every recorded number of streams."""
    times = {}
    for buffers in fleet.buffers:
        taken = []
        for _ in range(7):
            who = old_streams(fleet, said, min(buffers.shape.streams, fleet.streams))
            if fleet.runner.device.type == "cuda":
                torch.cuda.synchronize(fleet.runner.device)  # what was fed is there
            began = time.perf_counter()
            fleet.step(who)
            taken.append(time.perf_counter() - began)
        times[buffers.shape.streams] = float(np.median(taken[2:]))
    return times


def guess(times: dict[int, float], chunk: int) -> int:
    """Streams that may fit: as many as the largest step serves that leaves time enough."""
    seconds = FRAME_SECONDS * chunk
    fitting = {size: taken for size, taken in times.items() if taken <= PATIENCE * seconds} or times
    return max(1, int(max(size * seconds / taken for size, taken in fitting.items()) * 0.85))


def profile(runner: GpuRunner, said: Samples, chunk: int, streams: int) -> str:
    """What a step of so many streams spends its time on, kernel by kernel: it is not replayed, for a graph is one."""
    fleet = Fleet(runner, streams, chunk, [streams], runner.model.config.default_prompt)
    fleet.pool.steps.clear()
    fleet.step(old_streams(fleet, said, streams))  # warms up
    who, on_gpu = old_streams(fleet, said, streams), runner.device.type == "cuda"
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if on_gpu else [ProfilerActivity.CPU]
    with profiling(activities=activities) as seen:
        fleet.step(who)
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    table = seen.key_averages().table(sort_by=order, row_limit=COSTLIEST)
    return f"{streams} streams, chunks of {chunk}\n{table}\n"
