"""Memory and start-up: a checkpoint of the released model's size, live streams, and an hour of audio.

    python -m benchmarks.memory load     # needs 2.5 GB of disk
    python -m benchmarks.memory live     # in int8, 0.7 GB of disk; --model takes a folder that is there
    python -m benchmarks.memory hour     # with the embedded model

Every figure comes from a process of its own. The exit status is 1 when a bound is broken.
"""

import argparse
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MB = 10**6
LOAD_BOUND = 1.3
"""Peak memory of loading a model, in sizes of its weights as they are used; mapped weights have to be used as well."""

BYTES = {"float32": 4, "bfloat16": 2}

LIVE_BOUNDS = {1: 900 * MB, 16: 1400 * MB}
"""Streams at 80 ms -> peak memory of the whole process, with the released model's size in int8."""

HOUR_BOUND = 600 * MB
"""What an hour of audio may need beyond the model."""

GROWTH_BOUND = 20 * MB
"""What an hour may need beyond half an hour; the transcript of a file is twice as long."""


def fresh(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a new interpreter."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def peak() -> int:
    """The most memory that this process has had resident so far, mapped files included, in bytes."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def sample() -> str:
    """A bundled recording."""
    return str(files("nemotron_asr") / "samples" / "en-US.opus")


@dataclass(frozen=True)
class Start:
    """What a process needs, in seconds and bytes, until it has loaded a model and until it has used it."""

    importing: float
    loading: float
    loaded: int
    transcribing: float
    used: int


def start(folder: Path, dtype: str) -> Start:
    """Load a model and transcribe a few seconds, which touches every weight."""
    times = [time.perf_counter()]
    import nemotron_asr.recognizer

    times.append(time.perf_counter())
    recognizer = nemotron_asr.load(folder, device="cpu", dtype=dtype)
    times.append(time.perf_counter())
    loaded = peak()
    recognizer.transcribe(sample())
    times.append(time.perf_counter())
    importing, loading, transcribing = (after - before for before, after in pairwise(times))
    return Start(importing, loading, loaded, transcribing, peak())


def write_model(folder: Path, dtype: str) -> int:
    """Write a large checkpoint."""
    from benchmarks.checkpoint import write_checkpoint

    return write_checkpoint(folder, dtype)


def measure_loading() -> bool:
    """Print what loading takes, by stored and used dtype; whether the bound holds."""
    print(
        "| stored as | used as | import | load | peak, loaded | first 3 s | peak, used |\n|---|---|---|---|---|---|---|"
    )
    kept = True
    for stored, other in (("float32", "bfloat16"), ("bfloat16", "float32")):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            size = fresh(write_model, folder, stored)
            for used in (stored, other):
                needed, weights = fresh(start, folder, used), size * BYTES[used] // BYTES[stored]
                print(loading_row(f"{stored}, {size / MB:.0f} MB", used, weights, needed), flush=True)
                kept &= (needed.used if used == stored else needed.loaded) < LOAD_BOUND * weights
    return kept


def loading_row(stored: str, used: str, weights: int, needed: Start) -> str:
    """One line of the table."""
    seconds = [f"{s:.1f} s" for s in (needed.importing, needed.loading, needed.transcribing)]
    peaks = [f"{p / MB:.0f} MB, {p / weights:.2f} x weights" for p in (needed.loaded, needed.used)]
    return f"| {' | '.join([stored, used, *seconds[:2], peaks[0], seconds[2], peaks[1]])} |"


def speak(model: str, streams: int, seconds: int) -> int:
    """The peak of a process that hears live streams at 80 ms, a packet of each after the other."""
    import numpy as np

    import nemotron_asr
    from nemotron_asr import audio
    from nemotron_asr.config import FRAME_SAMPLES, SAMPLE_RATE

    heard = np.resize(audio.load(sample()), seconds * SAMPLE_RATE)
    with nemotron_asr.Engine(nemotron_asr.load(model, "cpu", "int8"), max_streams=streams) as engine:
        sessions = [engine.open(latency_ms=80) for _ in range(streams)]
        for packet in np.split(heard, range(FRAME_SAMPLES, len(heard), FRAME_SAMPLES)):
            for session in sessions:
                session.feed(packet)
            for session in sessions:
                session.settle().result()
                session.take()
    return peak()


def measure_live(model: str) -> bool:
    """Print what live streams take; whether the bounds hold. A first run compiles, which is not counted."""
    if model == "random":
        from nemotron_asr.cli.bench import random_model

        model = str(fresh(random_model, Path(tempfile.gettempdir()), "int8"))
    fresh(speak, model, 1, 1)
    kept = True
    print("| streams at 80 ms | peak |\n|---|---|")
    for streams, bound in LIVE_BOUNDS.items():
        needed = fresh(speak, model, streams, 10)
        print(f"| {streams} | {needed / MB:.0f} MB |", flush=True)
        kept &= needed <= bound
    return kept


def write_audio(path: Path, seconds: int) -> None:
    """Write a recording of that length: the bundled sample, again and again."""
    import numpy as np

    from nemotron_asr import audio
    from nemotron_asr.config import SAMPLE_RATE

    once = (audio.load(sample()) * 32767).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for _ in range(seconds * SAMPLE_RATE // len(once)):
            file.writeframesraw(once.tobytes())


def transcribe(model: str, path: Path) -> tuple[int, int]:
    """Bytes that a file needs beyond the loaded model, and its words."""
    import nemotron_asr

    recognizer = nemotron_asr.load(model, device="cpu")
    recognizer.transcribe(sample())
    before = peak()
    words = len(recognizer.transcribe(path).words)
    return peak() - before, words


def stream(model: str, path: Path) -> tuple[int, int]:
    """Bytes that a live stream of the file needs beyond the loaded model, and its words."""
    import numpy as np

    import nemotron_asr
    from nemotron_asr.events import Event, Final

    recognizer = nemotron_asr.load(model, device="cpu")
    recognizer.transcribe(sample())
    before, words = peak(), 0

    def count(events: list[Event]) -> int:
        return sum(len(event.segment.words) for event in events if isinstance(event, Final))

    with wave.open(str(path), "rb") as file, recognizer.stream(latency_ms=1120) as live:
        while packet := file.readframes(16000):
            words += count(live.feed(np.frombuffer(packet, np.int16)))
        words += count(live.finish())
    return peak() - before, words


def measure_hour(model: str) -> bool:
    """Print what half an hour and an hour of audio need beyond the model; whether the bounds hold."""
    print("| | half an hour | an hour | words in an hour |\n|---|---|---|---|")
    kept = True
    for function in (transcribe, stream):
        needed = []
        for seconds in (1800, 3600):
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / "long.wav"
                fresh(write_audio, path, seconds)
                needed.append(fresh(function, model, path))
        (half, _), (whole, words) = needed
        print(f"| {function.__name__} | {half / MB:.0f} MB | {whole / MB:.0f} MB | {words} |", flush=True)
        kept &= whole < HOUR_BOUND and whole - half < GROWTH_BOUND
    return kept


def main() -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["load", "live", "hour"])
    parser.add_argument("--model", help="for live (default random weights) and the hour (default tiny)")
    options = parser.parse_args()
    if options.what == "load":
        return 0 if measure_loading() else 1
    if options.what == "live":
        return 0 if measure_live(options.model or "random") else 1
    return 0 if measure_hour(options.model or "tiny") else 1


if __name__ == "__main__":
    sys.exit(main())
