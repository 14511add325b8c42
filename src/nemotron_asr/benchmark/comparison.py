"""Ours against another implementation: tasks taken in turns, as lines of a table."""

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
import torch

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.contenders import Contender, Times, take_turns
from nemotron_asr.benchmark.speech import speech
from nemotron_asr.config import HOP, LATENCIES, SAMPLE_RATE, SUBSAMPLING

TASKS = [("file", 1120, 18), ("live", 1120, 9), ("live", 80, 9)]
"""Task, latency in ms, and how much of the recording: chunks of 1120 ms, 20 or 10 s."""

COLUMNS = ["", "dtype", "{theirs} best", "median", "encoder", "ours best", "median", "encoder", "best / best",
           "median / median", "tokens"]  # fmt: skip
LEGEND = """
Columns 3 to 8 are seconds of compute per second of audio, from samples to tokens; 'encoder' is how much of it the
encoder takes, at best, where it can be watched. Where two dtypes are named, the second is ours. 'file' is a whole
recording at once, 'live' its beginning, one chunk after another."""


def recording(chunks: int) -> Samples:
    """The bundled samples one after another, cut so that every chunk is whole at every latency.

    The last, partial chunk is where the two differ by design: transformers leaves its padding to the caller.
    """
    frames = chunks * (LATENCIES[1120] + 1)
    return np.resize(speech(), HOP * (SUBSAMPLING * (frames - 1) + 2) - 1)


def row(task: str, dtype: str, times: list[Times], seconds: float) -> str:
    """One line of the table: seconds of compute per second of audio."""
    theirs, ours = times
    ratios = [f"{theirs.best / ours.best:.2f}", f"{theirs.median / ours.median:.2f}"]
    figures = [_figure(figure / seconds) for t in times for figure in (t.best, t.median, min(t.encoder))]
    same = "the same" if ours.tokens == theirs.tokens else f"{ours.agreement(theirs):.0%} the same"
    return f"| {' | '.join([task, dtype, *figures, *ratios, f'{len(ours.tokens)}, {same}'])} |"


def _figure(seconds: float) -> str:
    """Nothing, of what was not watched."""
    return f"{seconds:.3f}" if seconds else "-"


def compare(
    contenders: tuple[Contender, Contender],
    dtype: str,
    rounds: int,
    before: Callable[[Samples, int], None] | None = None,
    tasks: Sequence[tuple[str, int, int]] = TASKS,
) -> list[bool]:
    """Print the rows of one dtype; of each task, whether the tokens are the same.

    Args:
        contenders: theirs and ours.
        dtype: names the row.
        rounds: timed, after one to warm up.
        before: called with every task's samples and lookahead.
        tasks: as `TASKS`.
    """
    same = []
    for task, latency, chunks in tasks:
        samples = recording(chunks)
        if before:
            before(samples, LATENCIES[latency])
        times = take_turns(list(contenders), task, samples, LATENCIES[latency], rounds)
        same.append(times[0].tokens == times[1].tokens)
        print(row(f"{task}, {latency} ms", dtype, times, len(samples) / SAMPLE_RATE), flush=True)
    return same


def conditions(theirs: str, layers: int, rounds: int) -> str:
    """What the figures depend on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", theirs))
    load = f"load {os.getloadavg()[0]:.1f}, " if hasattr(os, "getloadavg") else ""
    threads = torch.get_num_threads()
    timing = (
        f"{os.cpu_count()} cores, {load}threads {threads}, {'CPU' if threads == 1 else 'wall'} time, rounds {rounds}"
    )
    return f"{libraries}; {timing}; {layers} layers"


def print_headings(theirs: str, layers: int, rounds: int) -> None:
    """What the figures depend on, and the head of the table."""
    print(f"{conditions(theirs, layers, rounds)}\n")
    print(f"| {' | '.join(COLUMNS).format(theirs=theirs)} |\n|{'---|' * len(COLUMNS)}", flush=True)
