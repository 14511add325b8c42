"""Ours against transformers: the same random weights, audio and threads, in one run, taking turns.

    python -m benchmarks.against_transformers            # 4 of 24 layers, about three minutes
    python -m benchmarks.against_transformers --full     # as large as the released model

transformers runs as its documentation shows: `generate` on the features of a whole recording, and `generate` on a
generator that extracts the features of one chunk at a time. Ours goes from samples to tokens as well. Both are warmed
up, in evaluation and inference mode. The exit status is 1 when their tokens differ in float32.
"""

import argparse
import os
import sys
from importlib.metadata import version
from importlib.resources import files

import numpy as np
import torch
from transformers.utils import logging

from benchmarks.contenders import Contender, Ours, Samples, Times, Transformers, take_turns
from benchmarks.pair import Pair, make_pair
from nemotron_asr import audio
from nemotron_asr.config import HOP, LATENCIES, SAMPLE_RATE, SUBSAMPLING

TASKS = [("file", 1120, 18), ("live", 1120, 9), ("live", 80, 9)]
"""Task, latency in ms, and how much of the recording: chunks of 1120 ms, 20 or 10 s."""

FULL_LAYERS = 24
COLUMNS = ["", "dtype", "transformers best", "median", "encoder", "ours best", "median", "encoder", "best / best",
           "median / median", "tokens"]  # fmt: skip
LEGEND = """
Columns 3 to 8 are seconds of compute per second of audio, from samples to tokens; 'encoder' is how much of it the
encoder takes, at best. 'file' is a whole recording at once, 'live' its beginning, one chunk after another."""


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


def compare(pair: Pair, dtype: str, rounds: int) -> bool:
    """Print the rows of one dtype; whether all tokens are the same."""
    contenders: list[Contender] = [Transformers(pair), Ours(pair)]
    same = True
    for task, latency, chunks in TASKS:
        samples = recording(chunks)
        pair.attune(samples, LATENCIES[latency])
        times = take_turns(contenders, task, samples, LATENCIES[latency], rounds)
        same &= times[0].tokens == times[1].tokens
        print(row(f"{task}, {latency} ms", dtype, times, len(samples) / SAMPLE_RATE), flush=True)
    return same


def conditions(options: argparse.Namespace) -> str:
    """What the figures depend on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    load = f"load {os.getloadavg()[0]:.1f}, " if hasattr(os, "getloadavg") else ""
    clock = "CPU time" if options.threads == 1 else "wall time"
    return f"{libraries}; {os.cpu_count()} cores, {load}threads {options.threads}, {clock}, rounds {options.rounds}"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4, help="conformer blocks, of full width (default 4)")
    parser.add_argument("--full", action="store_true", help=f"all {FULL_LAYERS} layers")
    parser.add_argument("--threads", type=int, default=1, help="for both (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="timed, after one to warm up (default 3)")
    return parser.parse_args()


@torch.inference_mode()
def main() -> int:
    """Measure and print."""
    options = parse()
    logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    layers = FULL_LAYERS if options.full else options.layers
    pair = make_pair(layers)
    parameters = sum(parameter.numel() for parameter in pair.theirs.parameters()) / 1e6
    print(f"{conditions(options)}; {layers} layers, {parameters:.0f} M parameters\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    same = compare(pair, "float32", options.rounds)
    compare(pair.to_bfloat16(), "bfloat16", options.rounds)
    print(LEGEND)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
