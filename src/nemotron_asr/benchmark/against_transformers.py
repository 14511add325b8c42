"""Ours against transformers: the same random weights, audio and threads, in one run, taking turns.

    nemotron-asr bench --against transformers               # 4 of 24 layers, a few minutes
    nemotron-asr bench --against transformers --layers 24   # as large as the released model

transformers runs as its documentation shows: `generate` on the features of a whole recording, and `generate` on a
generator that extracts the features of one chunk at a time. Ours goes from samples to tokens as well. Both are warmed
up, in evaluation and inference mode. The exit status is 1 when their tokens differ in float32.
"""

import os
from importlib.metadata import version
from importlib.resources import files

import numpy as np
import torch
from transformers.utils import logging

from nemotron_asr import audio
from nemotron_asr.benchmark.contenders import Contender, Ours, Samples, Times, Transformers, take_turns
from nemotron_asr.benchmark.pair import Pair, make_pair
from nemotron_asr.config import HOP, LATENCIES, SAMPLE_RATE, SUBSAMPLING

TASKS = [("file", 1120, 18), ("live", 1120, 9), ("live", 80, 9)]
"""Task, latency in ms, and how much of the recording: chunks of 1120 ms, 20 or 10 s."""

COLUMNS = ["", "dtype", "transformers best", "median", "encoder", "ours best", "median", "encoder", "best / best",
           "median / median", "tokens"]  # fmt: skip
LEGEND = """
Columns 3 to 8 are seconds of compute per second of audio, from samples to tokens; 'encoder' is how much of it the
encoder takes, at best. Where two dtypes are named, the second is ours. 'file' is a whole recording at once, 'live' its
beginning, one chunk after another."""


def recording(chunks: int) -> Samples:
    """The bundled samples one after another, cut so that every chunk is whole at every latency.

    The last, partial chunk is where the two differ by design: transformers leaves its padding to the caller.
    """
    folder = files("nemotron_asr") / "samples"
    clips = [audio.load(str(path)) for path in sorted(folder.iterdir(), key=str) if path.name.endswith(".opus")]
    frames = chunks * (LATENCIES[1120] + 1)
    return np.resize(np.concatenate(clips), HOP * (SUBSAMPLING * (frames - 1) + 2) - 1)


def row(task: str, dtype: str, times: list[Times], seconds: float) -> str:
    """One line of the table: seconds of compute per second of audio."""
    theirs, ours = times
    ratios = [f"{theirs.best / ours.best:.2f}", f"{theirs.median / ours.median:.2f}"]
    figures = [f"{figure / seconds:.3f}" for t in times for figure in (t.best, t.median, min(t.encoder))]
    same = "the same" if ours.tokens == theirs.tokens else f"{ours.agreement(theirs):.0%} the same"
    return f"| {' | '.join([task, dtype, *figures, *ratios, f'{len(ours.tokens)}, {same}'])} |"


def compare(pair: Pair, dtype: str, rounds: int, *, attune: bool = True) -> bool:
    """Print the rows of one dtype; whether all tokens are the same."""
    contenders: list[Contender] = [Transformers(pair), Ours(pair)]
    same = True
    for task, latency, chunks in TASKS:
        samples = recording(chunks)
        if attune:
            pair.attune(samples, LATENCIES[latency])
        times = take_turns(contenders, task, samples, LATENCIES[latency], rounds)
        same &= times[0].tokens == times[1].tokens
        print(row(f"{task}, {latency} ms", dtype, times, len(samples) / SAMPLE_RATE), flush=True)
    return same


def conditions(layers: int, rounds: int) -> str:
    """What the figures depend on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    load = f"load {os.getloadavg()[0]:.1f}, " if hasattr(os, "getloadavg") else ""
    threads = torch.get_num_threads()
    timing = (
        f"{os.cpu_count()} cores, {load}threads {threads}, {'CPU' if threads == 1 else 'wall'} time, rounds {rounds}"
    )
    return f"{libraries}; {timing}; {layers} layers"


@torch.inference_mode()
def run(layers: int = 4, rounds: int = 3) -> bool:
    """Measure and print; whether the tokens are the same in float32.

    Args:
        layers: conformer blocks, of full width; the released model has 24.
        rounds: timed, after one to warm up.
    """
    logging.set_verbosity_error()
    pair = make_pair(layers)
    print(f"{conditions(layers, rounds)}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    same = compare(pair, "float32", rounds)
    pair = pair.to_bfloat16()
    compare(pair, "bfloat16", rounds)
    compare(pair.to_int8(), "bfloat16, int8", rounds, attune=False)
    print(LEGEND)
    return same
