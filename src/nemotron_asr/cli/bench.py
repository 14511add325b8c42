"""`nemotron-asr bench`: how fast a model is on this machine."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nemotron_asr.cli.options import DEVICE, DTYPE
from nemotron_asr.cli.running import debug, note
from nemotron_asr.cli.table import print_table
from nemotron_asr.config import LATENCIES

if TYPE_CHECKING:
    from nemotron_asr.audio import Samples
    from nemotron_asr.recognizer import Recognizer

RANDOM = "random"

_MODEL = (
    "A model as for `transcribe`, or random: weights of the released model's size that talk as much as speech does."
)
_LATENCIES = click.Choice([str(latency) for latency in LATENCIES])


@click.command()
@click.option("--model", default=RANDOM, metavar="MODEL", show_default=True, help=_MODEL)
@click.option(
    "--latency", "latencies", type=_LATENCIES, multiple=True, default=("80", "1120"), show_default=True, help="Several."
)
@click.option(
    "--streams",
    type=click.IntRange(0),
    multiple=True,
    help="Live streams at once; several. Not given: as many as fit.",
)
@click.option("--seconds", type=click.FloatRange(2), default=60.0, show_default=True, help="That live streams speak.")
@click.option("--minutes", type=click.FloatRange(0), default=10.0, show_default=True, help="Of a recording; 0: none.")
@click.option("--profile", is_flag=True, help="Show where the time of the steps goes.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda|cuda:N", show_default=True, help=DEVICE)
@click.option("--dtype", type=DTYPE, default="auto", show_default=True, help="Precision.")
@debug
def bench(
    model: str,
    latencies: tuple[str, ...],
    streams: tuple[int, ...],
    seconds: float,
    minutes: float,
    device: str,
    dtype: str,
    *,
    profile: bool,
) -> None:
    """Measure one stream, many streams in real time, and a recording."""
    from nemotron_asr.benchmark.profile import profiled
    from nemotron_asr.engine import Engine
    from nemotron_asr.recognizer import load

    with ExitStack() as stack:
        where = (
            random_model(Path(tempfile.gettempdir()), "float32" if dtype in {"float32", "bfloat16"} else "int8")
            if model == RANDOM
            else model
        )
        recognizer = load(where, device, dtype)
        watched = stack.enter_context(profiled(recognizer.runner)) if profile else None
        print_table(("measure", "figure"), _alone(recognizer, [int(latency) for latency in latencies], minutes))
        with Engine(recognizer) as engine:
            numbers = {int(latency): streams or (engine.statistics.capacity[int(latency)],) for latency in latencies}
        rows = _together(recognizer, numbers, seconds)
        print_table(("latency", "streams", "late", "last words", "cores busy", "sustained"), rows)
        if watched:
            shares = {**watched.stages, "glue": watched.elapsed * watched.glue}
            print_table(
                ("stage", "ms per chunk", "share"),
                [
                    (name, f"{1000 * value / watched.rows:.2f}", f"{value / watched.elapsed:.1%}")
                    for name, value in shares.items()
                ],
            )


def random_model(cache: Path, dtype: str) -> Path:
    """The folder of random weights of the released model's size, made when it is first needed."""
    import torch

    from nemotron_asr.benchmark.random_model import random_checkpoint
    from nemotron_asr.checkpoint import save_checkpoint

    folder = cache / f"nemotron-asr-random-{dtype}"
    if not folder.exists():
        note(f"writing random weights of the released model's size to {folder}")
        save_checkpoint(random_checkpoint(_speech()), folder, "native", getattr(torch, dtype))
    return folder


def _speech() -> "Samples":
    """The bundled recordings, one after the other."""
    from importlib.resources import files

    import numpy as np

    from nemotron_asr.audio import load

    folder = Path(str(files("nemotron_asr") / "samples"))
    return np.concatenate([load(str(path)) for path in sorted(folder.glob("*.opus"))])


def _alone(recognizer: "Recognizer", latencies: list[int], minutes: float) -> Iterator[tuple[str, str]]:
    from nemotron_asr.benchmark.single import one_stream, recording

    for latency in latencies:
        chunks = one_stream(recognizer, _speech(), latency, seconds=max(10, latency / 50))
        best, median = f"{chunks.best:.3f}", f"{chunks.median:.3f}"
        yield f"one stream, {latency} ms: compute per second of audio", f"{median} (best {best})"
    if minutes:
        speed = recording(recognizer, _speech(), minutes)
        yield f"a recording of {minutes:g} minutes: audio per second of compute", f"{speed:.1f}"


def _together(
    recognizer: "Recognizer", numbers: dict[int, tuple[int, ...]], seconds: float
) -> Iterator[tuple[str, ...]]:
    from nemotron_asr.benchmark.realtime import serve
    from nemotron_asr.engine import Engine

    for latency, counts in numbers.items():
        for count in filter(None, counts):
            with Engine(recognizer, max_streams=count) as engine:
                service = serve(engine, _speech(), count, latency, seconds)
            yield (
                f"{latency} ms", f"{count}", f"{service.late} of {service.chunks} ({service.late_share:.2%})",
                f"{service.delay:.2f} s", f"{service.busy:.2f}", "yes" if service.sustained else "no",
            )  # fmt: skip
