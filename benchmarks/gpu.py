"""How many live streams one GPU serves, at the released model's size; `docs/gpu.md` has the table that it fills.

    make bench-gpu                                          # everything: half an hour of an H200
    python -m benchmarks.gpu --latency 80 --deadline 540    # a part, within ten minutes
    python -m benchmarks.gpu --smoke                        # the same course on a CPU, tiny, within seconds

Random weights that say 0.3 tokens a frame. For every latency: how long steps take; from that a guess how many streams
fit; short trials around it; and a little less than the largest number that passes them at full length. What was found
is written after every part, and a part that fails does not end the others.
"""

import argparse
import gc
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_meter import NOT_MEASURED, Meter
from benchmarks.gpu_record import Record
from benchmarks.gpu_steps import guess, profile, sizes_of, step_times
from benchmarks.gpu_stock import stock_rows
from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.driver import tokens, whole
from nemotron_asr.benchmark.fleet import FleetService, serve_fleet
from nemotron_asr.benchmark.random_model import RELEASED, random_checkpoint
from nemotron_asr.config import FRAME_SAMPLES, FRAME_SECONDS, LATENCIES, SAMPLE_RATE, ModelConfig, chunk_frames
from nemotron_asr.engine import settle_process
from nemotron_asr.engine.building import build_model
from nemotron_asr.engine.gpu import plain
from nemotron_asr.engine.gpu.fleet import Fleet
from nemotron_asr.engine.gpu.runner import GpuRunner, best_kernels
from nemotron_asr.engine.gpu.step import Shape
from nemotron_asr.engine.runner import Part, Runner
from nemotron_asr.engine.stream import STEP_FRAMES, UNKNOWN_END, Target
from nemotron_asr.features import window_samples

SMOKE = replace(
    RELEASED, n_mels=32, d_model=48, n_layers=1, n_heads=2, d_ff=64, subsampling_channels=8, d_prompt=32,
    vocab_size=60, d_pred=16, d_joint=16, left_context=14,
)  # fmt: skip

TRIES = 4
"""Short trials for every latency."""

CAUTION, REPEATS = 0.95, 2
"""Share of what passes short trials that begins at full length, and how often fewer are tried if it is too many."""

STOCK_SECONDS = 90.0
"""What transformers takes at least."""


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    smoke: bool
    latency: list[int]
    seconds: float
    trial: float
    most: int
    deadline: float
    fp8: bool = False
    loose: bool = True
    offline: bool = True
    stock: bool = True
    profile: str = ""
    speech: str = ""
    out: str = ""

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
            "p95 of last words": service.delay if service.delays else NOT_MEASURED,
            "median wait": service.wait(0.5), "p99 wait": service.wait(0.99),
            "busy": service.busy, "streams a step": service.served / max(1, service.steps),
            "tokens a frame": service.words / max(1, service.chunks * chunk), "lag": service.lag,
            "watts": self.watts or NOT_MEASURED, "utilisation": self.utilisation,
            "joules per hour": round(3600 * self.watts / service.streams, 1) or NOT_MEASURED,
        }  # fmt: skip


@dataclass(frozen=True)
class Contest:
    """How many streams of a fleet are sustained by a rule.

    Attributes:
        record: keeps every trial.
        trials: in short.
    """

    fleet: Fleet
    said: Samples
    latency: int
    plan: Plan
    record: Record
    trials: list[dict[str, Any]]
    loose: bool

    def trial(self, streams: int, seconds: float) -> Trial:
        """So many streams for so long."""
        with Meter(self.plan.device) as meter:
            service = serve_fleet(self.fleet, self.said, streams, self.latency, seconds, aligned=self.loose)
        good = service.sustained_loosely if self.loose else service.sustained
        print(f"    {streams} streams, {seconds:g} s: late {service.late_share:.2%}, {good=}", flush=True)
        self.trials.append({"streams": streams, "seconds": seconds, "late": service.late_share, "sustained": good})
        self.record.write()
        return Trial(service, good, meter.watts, meter.utilisation)

    def best_of_short_trials(self, first: int) -> int:
        """The most streams that pass one, as far as there is time for the last one; half of the fewest if all fail."""
        passed, room = 0, self.fleet.streams
        failed, streams = room + 1, min(first, room)
        for _ in range(TRIES):
            if streams == passed or not self.record.has_time(self.plan.trial + self.plan.seconds):
                break
            if self.trial(streams, self.plan.trial).good:
                passed = streams
            else:
                failed = streams
            streams = (passed + failed) // 2 if failed <= room else min(room, int(1.25 * passed) + 1)
        return passed or failed // 2

    def figures(self, first: int) -> dict[str, Any] | str:
        """Those of the last trial: somewhat fewer streams, if needed fewer still, at full length.

        By the looser rule too: a median is late only when a queue has grown long.
        """
        found: dict[str, Any] | str = NOT_MEASURED
        best, room = self.best_of_short_trials(first), self.fleet.streams
        streams = room if best == room else max(1, int(CAUTION * best))
        for _ in range(1 + REPEATS):
            if not self.trials or not self.record.has_time(self.plan.seconds):
                break
            last = self.trial(streams, self.plan.seconds)
            found, streams = {**last.figures(), "room": room}, max(1, streams * 9 // 10)
            if last.good:
                break
        return found


def measure(runner: GpuRunner, said: Samples, latency: int, plan: Plan, record: Record) -> None:
    """All of one latency."""
    found: dict[str, Any] = {"latency": latency, "strict": NOT_MEASURED, "loose": NOT_MEASURED}
    record.found["latencies"].append(found)
    if not record.has_time():
        return
    print(f"{latency} ms", flush=True)
    with record.guarded(found, "ms of a step"):
        _tidy()
        chunk, before = chunk_frames(latency), _allocated(plan)
        rows = rows_for(runner, plan)
        fleet = Fleet(runner, rows, chunk, sizes_of(chunk, rows), runner.model.config.default_prompt)
        times = step_times(fleet, said)
        record.keep(found, "ms of a step", {n: round(1000 * t, 2) for n, t in times.items()})
        record.keep(found, "bytes of the fleet", _allocated(plan) - before)
        settle_process()
        for name in ("strict", "loose") if plan.loose else ("strict",):
            trials = found[f"{name} trials"] = []
            contest = Contest(fleet, said, latency, plan, record, trials, name == "loose")
            record.measure(found, name, partial(contest.figures, guess(times, chunk)))


def rows_for(runner: GpuRunner, plan: Plan) -> int:
    """Streams for which there is room beside what a step needs."""
    return min(plan.most, int(0.8 * _free(plan)) // runner.initial_state(1).bytes_per_row())


def profiles(runner: GpuRunner, said: Samples, plan: Plan) -> str:
    """Writes what the largest steps of the shortest and of the longest latency spend their time on."""
    tables = []
    for chunk in (1, 14):
        _tidy()
        tables.append(profile(runner, said, chunk, sizes_of(chunk, rows_for(runner, plan))[-1]))
        Path(plan.profile).write_text("\n".join(tables), encoding="utf-8")
    return plan.profile


def agreement(runner: GpuRunner, said: Samples) -> dict[int, float]:
    """How much of what the eager runner says, of the same weights, a fleet says: by latency, from 0 to 1."""
    eager, audio, found = Runner(runner.model, runner.log_mel), said[: 20 * SAMPLE_RATE], {}
    for latency in (80, 1120):
        chunk = chunk_frames(latency)
        ours, theirs = replayed(runner, audio, chunk), tokens(whole(eager, audio, chunk))
        found[latency] = SequenceMatcher(None, ours, theirs, autojunk=False).ratio()
    return found


def replayed(runner: GpuRunner, audio: Samples, chunk: int) -> list[tuple[int, int]]:
    """Tokens and frames of one of three streams, in recorded steps that have room for four."""
    fleet, who, heard = Fleet(runner, 3, chunk, [4]), np.array([1]), list[tuple[int, int]]()
    fleet.begin(who)
    for packet in [*np.split(audio, range(FRAME_SAMPLES * chunk, len(audio), FRAME_SAMPLES * chunk)), None]:
        if packet is None:
            fleet.close(who)
        else:
            fleet.feed(who, packet[None])
        while len(ready := fleet.ready()):
            step = fleet.step(ready)
            heard += zip(step.token.tolist(), step.frame.tolist(), strict=True)
    return heard


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
    """Give back the memory of the fleet before, which a settled process does not look at again by itself."""
    gc.unfreeze()
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
        strict, loose = (found[rule] if "streams" in found[rule] else {} for rule in ("strict", "loose"))
        cells = [
            _streams(strict), _cell(strict, "p95 of last words", "{:.2f} s"), _streams(loose),
            _cell(loose, "median wait", "{:.3f} s"), _cell(strict, "utilisation"), _cell(strict, "joules per hour"),
        ]  # fmt: skip
        yield f"| {found['latency']} ms | {' | '.join(cells)} |"


def _cell(figures: dict[str, Any], name: str, how: str = "{}") -> str:
    value = figures.get(name, NOT_MEASURED)
    return value if isinstance(value, str) else how.format(value)


def _streams(figures: dict[str, Any]) -> str:
    """So many, if they were sustained in the last trial; nobody knows what lies beyond the room there was."""
    if not figures.get("sustained"):
        return _cell(figures, "streams", "fewer than {}")
    return _cell(figures, "streams", "at least {}" if figures["streams"] == figures["room"] else "{}")


def listen(file: str) -> Samples:
    """What all streams say: the bundled recordings, or what was kept of them for a machine that cannot decode them."""
    if file and Path(file).exists():
        kept: Samples = np.load(file)
        return kept
    from nemotron_asr.benchmark.speech import speech

    said = speech()
    if file:
        np.save(file, said)
    return said


def main(plan: Plan) -> None:
    """Measure, print, and write what was found."""
    record, said = Record(plan.out, plan.deadline), listen(plan.speech)
    machine = "a CPU, for a trial" if plan.smoke else torch.cuda.get_device_name()
    print(f"{machine}, torch {torch.__version__}, Python {platform.python_version()}", flush=True)
    found = record.found
    found |= {"machine": machine, "torch": torch.__version__, "plan": asdict(plan), "latencies": []}
    found |= dict.fromkeys(("agreement", "profile", "stock"), NOT_MEASURED)
    with record.guarded(found, "model"):
        course(new_runner(plan, SMOKE if plan.smoke else RELEASED, said), said, plan, record)
    if plan.stock:
        _tidy()
        stock = partial(stock_rows, plan.device, said, smoke=plan.smoke)
        record.measure(found, "stock", stock, 0 if plan.smoke else STOCK_SECONDS)
    record.write()
    print("\n".join(report(found["latencies"])), flush=True)


def course(runner: GpuRunner, said: Samples, plan: Plan, record: Record) -> None:
    """Everything but transformers."""
    found = record.found
    found["bytes a stream"] = runner.initial_state(1).bytes_per_row()
    record.measure(found, "agreement", lambda: agreement(runner, said))
    if plan.profile:
        record.measure(found, "profile", lambda: profiles(runner, said, plan))
    for latency in plan.latency:
        measure(runner, said, latency, plan, record)
    sizes, seconds = ((1, 2), 2) if plan.smoke else ((1, 32, 128), 120)
    side_by_side = found["offline"] = dict.fromkeys(map(str, sizes if plan.offline else ()), NOT_MEASURED)
    for streams in side_by_side:  # recordings -> audio seconds per second
        record.measure(side_by_side, streams, partial(offline, runner, said, int(streams), seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="on a CPU, tiny: whether it runs from end to end")
    parser.add_argument("--latency", type=int, nargs="+", choices=LATENCIES, default=list(LATENCIES), metavar="MS")
    parser.add_argument("--seconds", type=float, default=120.0, help="of the last trial")
    parser.add_argument("--trial", type=float, default=10.0, help="of the short trials before it")
    parser.add_argument("--most", type=int, default=20_000, help="streams for which there is room at most")
    parser.add_argument(
        "--deadline", type=float, default=86_400.0, metavar="SECONDS",
        help="no part begins after it, and no trial that would last beyond it",
    )  # fmt: skip
    parser.add_argument("--fp8", action="store_true", help="the large linears in 8-bit floats")
    parser.add_argument("--no-loose", dest="loose", action="store_false", help="without the looser rule")
    parser.add_argument("--no-offline", dest="offline", action="store_false", help="without recordings")
    parser.add_argument("--no-stock", dest="stock", action="store_false", help="without transformers")
    parser.add_argument("--profile", default="", metavar="FILE", help="a file for what two steps spend their time on")
    parser.add_argument(
        "--speech", default="", metavar="FILE.npy", help="what is said, decoded; written first if there is no such file"
    )
    parser.add_argument("--out", default="", help="a file for all figures, as JSON, written after every part")
    main(Plan(**vars(parser.parse_args())))
