"""How many live streams one GPU serves, at the released model's size; `docs/gpu.md` has the table that it fills.

    make bench-gpu                                          # everything: half an hour of an H200
    python -m benchmarks.gpu --latency 80 --seconds 120     # a part
    python -m benchmarks.gpu --smoke                        # the same course on a CPU, tiny, within seconds

Random weights that say 0.3 tokens a frame. For every latency: how long steps take; from that a guess how many streams
fit; short trials around it; and the largest number that passes them once more at full length.
"""

import argparse
import gc
import json
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_meter import NOT_MEASURED, Meter
from benchmarks.gpu_stock import stock_rows
from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.driver import tokens, whole
from nemotron_asr.benchmark.fleet import FleetService, serve_fleet
from nemotron_asr.benchmark.random_model import RELEASED, random_checkpoint
from nemotron_asr.benchmark.speech import speech
from nemotron_asr.config import FRAME_SECONDS, LATENCIES, SAMPLE_RATE, ModelConfig, chunk_frames
from nemotron_asr.engine.gpu import plain
from nemotron_asr.engine.gpu.fleet import Fleet
from nemotron_asr.engine.gpu.runner import GpuRunner, best_kernels
from nemotron_asr.engine.gpu.step import Shape
from nemotron_asr.engine.runner import Part, Runner
from nemotron_asr.engine.stream import STEP_FRAMES, UNKNOWN_END, Target
from nemotron_asr.features import window_samples
from nemotron_asr.recognizer import build_model

SMOKE = replace(
    RELEASED, n_mels=32, d_model=48, n_layers=1, n_heads=2, d_ff=64, subsampling_channels=8, d_prompt=32,
    vocab_size=60, d_pred=16, d_joint=16, left_context=14,
)  # fmt: skip

LINES = 8192
"""Streams times frames of a step at most: more makes nothing faster."""

PATIENCE = 0.4
"""Share of a chunk that a step may take, so that one who comes late waits for one step and is served in the next."""

TRIES = 4
"""Short trials for every latency."""


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    smoke: bool
    latency: list[int]
    seconds: float
    trial: float
    most: int
    fp8: bool
    stock: bool
    out: str

    @property
    def device(self) -> torch.device:
        """Where."""
        return torch.device("cpu" if self.smoke else "cuda")


def new_runner(plan: Plan, config: ModelConfig, said: Samples) -> GpuRunner:
    """The model with random weights."""
    dtype = torch.float32 if plan.smoke else torch.bfloat16
    model, log_mel = build_model(random_checkpoint(said[: 20 * SAMPLE_RATE], config), plan.device, dtype)
    most = 2 if plan.smoke else 128
    kernels = plain if plan.smoke else best_kernels()
    return GpuRunner(model, log_mel, kernels, rows=1, most=most, chunks=(), float8=plan.fp8)


def sizes_of(chunk: int, most: int) -> list[int]:
    """Numbers of streams for which steps are recorded."""
    top = max(1, min(most, LINES // chunk))
    return sorted({max(1, top * share // 16) for share in (1, 2, 3, 4, 6, 8, 12, 16)})


def step_times(fleet: Fleet, said: Samples) -> dict[int, float]:
    """Seconds of a step, the median of some, for every recorded number of streams."""
    times = {}
    for buffers in fleet.buffers:
        who = np.arange(min(buffers.shape.streams, fleet.streams))
        taken = []
        for _ in range(7):
            fleet.begin(who)
            starts = np.random.default_rng(0).integers(0, len(said) - 40_000, len(who))
            packets = np.stack([said[i : i + window_samples(fleet.chunk)] for i in starts]).astype(np.float32)
            fleet.feed(who, packets)
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


@dataclass(frozen=True)
class Trial:
    """What came of one number of streams."""

    service: FleetService
    good: bool
    watts: float
    utilisation: str

    def figures(self) -> dict[str, Any]:
        """What is reported."""
        service = self.service
        chunk = chunk_frames(service.latency_ms)
        return {
            "streams": service.streams, "sustained": self.good, "late": service.late_share,
            "p95 of last words": service.delay, "median wait": service.wait(0.5), "p99 wait": service.wait(0.99),
            "busy": service.busy, "streams a step": service.served / max(1, service.steps),
            "tokens a frame": service.words / max(1, service.chunks * chunk), "lag": service.lag,
            "watts": self.watts or NOT_MEASURED, "utilisation": self.utilisation,
            "joules per hour": round(3600 * self.watts / service.streams, 1) or NOT_MEASURED,
        }  # fmt: skip


def sustained(fleet: Fleet, said: Samples, latency: int, plan: Plan, first: int, *, loose: bool) -> Trial:
    """The most streams that pass short trials, at full length."""

    def trial(streams: int, seconds: float) -> Trial:
        with Meter(plan.device) as meter:
            service = serve_fleet(fleet, said, streams, latency, seconds, aligned=loose)
        good = service.sustained_loosely if loose else service.sustained
        print(f"    {streams} streams, {seconds:g} s: late {service.late_share:.2%}, {'in time' if good else 'late'}")
        return Trial(service, good, meter.watts, meter.utilisation)

    low, high, streams = 0, fleet.streams + 1, min(first, fleet.streams)
    for _ in range(TRIES):
        low, high = (streams, high) if trial(streams, plan.trial).good else (low, streams)
        streams = min(fleet.streams, int(low * 1.25) + 1) if high > fleet.streams else (low + high) // 2
        if streams in {low, high} or not streams:
            break
    seconds = 2 * plan.trial if loose else plan.seconds  # a median is soon known
    best = trial(max(1, low), seconds)
    while not best.good and best.service.streams > max(1, low) // 2:
        best = trial(max(1, best.service.streams * 9 // 10), seconds)
    return best


def measure(runner: GpuRunner, said: Samples, latency: int, plan: Plan) -> dict[str, Any]:
    """All of one latency."""
    _tidy()
    chunk = chunk_frames(latency)
    row, before = runner.initial_state(1).bytes_per_row(), _allocated(plan)
    rows = min(plan.most, int(0.8 * _free(plan)) // row)
    fleet = Fleet(runner, rows, chunk, sizes_of(chunk, rows), runner.model.config.default_prompt)
    times = step_times(fleet, said)
    found: dict[str, Any] = {"latency": latency, "ms of a step": {n: round(1000 * t, 2) for n, t in times.items()}}
    print(f"{latency} ms: {found['ms of a step']}")
    for name, loose in (("strict", False), ("loose", True)):
        found[name] = sustained(fleet, said, latency, plan, guess(times, chunk), loose=loose).figures()
        print(f"  {name}: {json.dumps(found[name])}")
    found["bytes a stream"], found["bytes of the fleet"] = row, _allocated(plan) - before
    return found


def agreement(runner: GpuRunner, said: Samples) -> dict[int, float]:
    """How much of what the eager runner says, of the same weights, this one says: by latency, from 0 to 1."""
    eager, found = Runner(runner.model, runner.log_mel), {}
    for latency in (80, 1120):
        chunk = chunk_frames(latency)
        ours, theirs = (tokens(whole(each, said[: 20 * SAMPLE_RATE], chunk)) for each in (runner, eager))
        found[latency] = SequenceMatcher(None, ours, theirs, autojunk=False).ratio()
    return found


def offline(runner: GpuRunner, said: Samples, streams: int, seconds: float) -> float:
    """Seconds of audio per second: recordings side by side, nine seconds to a step, samples to tokens."""
    _tidy()
    frames, pool = STEP_FRAMES, runner.new_pool(streams)
    runner.record(pool, Shape(streams, frames, 14))
    rows, target = [pool.acquire() for _ in range(streams)], Target(runner.model.config.default_prompt, "")
    windows = [np.resize(np.roll(said, -997 * row), 1 + window_samples(frames)).astype(np.float32) for row in rows]
    steps, began = max(2, int(seconds / (frames * FRAME_SECONDS))), 0.0
    for step in range(steps + 1):
        began = time.perf_counter() if step == 1 else began  # the first one warms up
        parts = [
            Part(row, frames * step, target, 0, frames, UNKNOWN_END, False, window)
            for row, window in zip(rows, windows, strict=True)
        ]
        runner.step(pool, parts, frames, 14)
    return steps * streams * frames * FRAME_SECONDS / (time.perf_counter() - began)


def _tidy() -> None:
    """Give back the memory of the fleet before."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _free(plan: Plan) -> int:
    return 10**9 if plan.smoke else torch.cuda.mem_get_info()[0]


def _allocated(plan: Plan) -> int:
    return 0 if plan.smoke else torch.cuda.memory_allocated()


def report(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The table of `docs/gpu.md`."""
    yield "| latency | strict rule | p95 of last words | looser rule | median wait | GPU busy | J per hour of audio |"
    yield "|---|---|---|---|---|---|---|"
    for found in results:
        strict, loose = found["strict"], found["loose"]
        yield (
            f"| {found['latency']} ms | {strict['streams']} | {strict['p95 of last words']:.2f} s | {loose['streams']} "
            f"| {1000 * loose['median wait']:.0f} ms | {strict['utilisation']} | {strict['joules per hour']} |"
        )


def main(plan: Plan) -> None:
    """Measure, print, and write what was found."""
    said, config = speech(), SMOKE if plan.smoke else RELEASED
    machine = "a CPU, for a trial" if plan.smoke else torch.cuda.get_device_name()
    print(f"{machine}, torch {torch.__version__}, Python {platform.python_version()}")
    runner = new_runner(plan, config, said)
    found: dict[str, Any] = {"machine": machine, "torch": torch.__version__, "plan": asdict(plan), "latencies": []}
    found["agreement"] = agreement(runner, said)
    print(f"tokens that are the eager runner's: {found['agreement']}")
    for latency in plan.latency:
        found["latencies"].append(measure(runner, said, latency, plan))
    sizes, seconds = ((1, 2), 2) if plan.smoke else ((1, 32, 128), 120)
    found["offline"] = {n: offline(runner, said, n, seconds) for n in sizes}
    print(f"recordings side by side -> audio seconds per second: {found['offline']}")
    del runner
    found["stock"] = stock_rows(plan.device, said, smoke=plan.smoke) if plan.stock else {}
    print("\n".join(report(found["latencies"])))
    print(f"transformers: {found['stock']}")
    if plan.out:
        Path(plan.out).write_text(json.dumps(found, indent=2, default=float), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="on a CPU, tiny: whether it runs from end to end")
    parser.add_argument("--latency", type=int, nargs="+", choices=LATENCIES, default=list(LATENCIES), metavar="MS")
    parser.add_argument("--seconds", type=float, default=120.0, help="of the last trial")
    parser.add_argument("--trial", type=float, default=10.0, help="seconds of the trials before it")
    parser.add_argument("--most", type=int, default=20_000, help="streams for which there is room at most")
    parser.add_argument("--fp8", action="store_true", help="the large linears in 8-bit floats")
    parser.add_argument("--no-stock", dest="stock", action="store_false", help="without transformers")
    parser.add_argument("--out", default="", help="a file for all figures, as JSON")
    main(Plan(**vars(parser.parse_args())))
