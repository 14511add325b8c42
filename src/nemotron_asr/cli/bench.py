"""`nemotron-asr bench`: how fast a model is on this machine."""

import importlib
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nemotron_asr.cli.options import DEVICE, DTYPE, latencies_option
from nemotron_asr.cli.running import DONE, FAILED, debug, note
from nemotron_asr.cli.several import Several
from nemotron_asr.cli.table import print_table
from nemotron_asr.config import FRAME_MS
from nemotron_asr.errors import MissingExtraError, OptionError, needs_extra

if TYPE_CHECKING:
    from nemotron_asr.benchmark.load import Load
    from nemotron_asr.benchmark.profile import Profile
    from nemotron_asr.recognizer import Recognizer

RANDOM = "random"

RIVALS = {
    "transformers": ("transformers", "transformers>=5.23"),
    "nemo": ("nemo", "nemo_toolkit[asr]>=3"),
    "sherpa-onnx": ("sherpa_onnx", "sherpa-onnx>=2.0.1"),
}
"""What is imported, and what pip installs."""

PROTOCOLS = ("native", "deepgram", "openai", "nim", "riva", "wyoming")
"""Those of `benchmark.load`, without its libraries."""

_LOAD = {"server", "protocol", "streams", "seconds"}
_USED = {
    "": {"model", "latencies", "streams", "seconds", "minutes", "profile", "device", "dtype"},
    "--against transformers": {"against", "layers"},
    "--against nemo": {"against", "layers"},
    "--against sherpa-onnx": {"against", "files", "model"},
    "--server": _LOAD | {"latencies", "api_key"},
    "--protocol riva": _LOAD | {"latencies", "api_key", "grpc_port"},
    "--protocol wyoming": _LOAD | {"wyoming_port"},
}
"""The options that say something in each way of measuring, which is called as on the command line."""

LATE = 0.001
"""Share of chunks that may be late."""

_MODEL = (
    "A model as for `transcribe`, or random: weights of the released model's size that talk as much as speech does."
)


@click.command(cls=Several)
@click.option("--model", default=RANDOM, metavar="MODEL", show_default=True, help=_MODEL)
@latencies_option
@click.option(
    "--streams",
    type=click.IntRange(1),
    multiple=True,
    help="Live streams at once; several. Not given: as many as fit.",
)
@click.option("--seconds", type=click.FloatRange(2), default=60.0, show_default=True, help="That live streams speak.")
@click.option("--minutes", type=click.FloatRange(0), default=10.0, show_default=True, help="Of a recording; 0: none.")
@click.option("--profile", is_flag=True, help="Show where the time of the steps goes.")
@click.option("--against", type=click.Choice(list(RIVALS)), help="Compare with it on the same weights instead.")
@click.option("--layers", type=click.IntRange(1), default=4, show_default=True, help="For --against: of 24.")
@click.option(
    "--files",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="For --against sherpa-onnx: a folder that --model was exported to, for one latency; several.",
)
@click.option("--server", metavar="URL", help="Measure a server that runs, through its sockets, instead.")
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="native", show_default=True, help="For --server.")
@click.option("--grpc-port", default=50051, show_default=True, help="Of the server, for --protocol riva.")
@click.option("--wyoming-port", default=10300, show_default=True, help="Of the server, for --protocol wyoming.")
@click.option("--api-key", default="", envvar="NEMOTRON_ASR_API_KEY", help="For --server, if it asks for one.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda|cuda:N|mps", show_default=True, help=DEVICE)
@click.option("--dtype", type=DTYPE, default="auto", show_default=True, help="Precision.")
@debug
def bench(
    against: str | None, layers: int, files: tuple[Path, ...], server: str | None, protocol: str, grpc_port: int,
    wyoming_port: int, api_key: str, **options: Any,
) -> int:  # fmt: skip
    """Measure one stream, many streams in real time, and a recording; or put load on a server."""
    _check_used(_way(server, protocol, against))
    plan = _Plan(**options)
    if server:
        port = {"riva": grpc_port, "wyoming": wyoming_port}.get(protocol)
        return _load(server, protocol, api_key, port, plan)
    return _against(against, layers, files, plan.model) if against else _measure(plan)


def _way(server: str | None, protocol: str, against: str | None) -> str:
    """The way of measuring that is asked for, as `_USED` calls it."""
    if server:
        return f"--protocol {protocol}" if protocol in {"riva", "wyoming"} else "--server"  # they have their own ports
    return f"--against {against}" if against else ""


def _check_used(way: str) -> None:
    """Refuse options that say nothing in this way of measuring; none is dropped without a word."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.name != "debug" and option.name not in _USED[way]:
            raise click.UsageError(f"{option.opts[0]} says nothing {f'with {way}' if way else 'here'}; leave it out")


@dataclass(frozen=True)
class _Plan:
    model: str
    latencies: tuple[str, ...]
    streams: tuple[int, ...]
    seconds: float
    minutes: float
    profile: bool
    device: str
    dtype: str

    def load(self) -> "Recognizer":
        from nemotron_asr.recognizer import load

        if self.model != RANDOM:
            return load(self.model, self.device, self.dtype)
        stored = "float32" if self.dtype in {"float32", "bfloat16", "float8"} else "int8"
        return load(random_model(Path(tempfile.gettempdir()), stored), self.device, self.dtype)


def _measure(plan: _Plan) -> int:
    from nemotron_asr.benchmark.profile import profiled

    recognizer, latencies = plan.load(), [int(latency) for latency in plan.latencies]
    if plan.profile and recognizer.runner.device.type == "cuda":
        raise OptionError("--profile is for CPUs; on a GPU: python -m benchmarks.gpu --profile FILE")
    with profiled(recognizer.runner) if plan.profile else nullcontext() as profile:
        print_table(("measure", "figure"), _alone(recognizer, latencies, plan.minutes), slow=True)
        headings = ("latency", "streams", "late", "last words", "cores busy", "words a frame", "sustained")
        print_table(
            headings, _together(recognizer, _numbers(recognizer, latencies, plan.streams), plan.seconds), slow=True
        )
        if profile:
            print_table(("stage", "ms per chunk", "share"), _shares(profile))
    return DONE


def _numbers(recognizer: "Recognizer", latencies: list[int], given: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """How many streams to try at each latency: those given, or as many as the engine would admit."""
    from nemotron_asr.engine import Engine

    if given:
        return dict.fromkeys(latencies, given)
    with Engine(recognizer) as engine:
        capacity = engine.statistics.capacity
    return {latency: (capacity[latency],) for latency in latencies}


def _shares(profile: "Profile") -> Iterator[tuple[str, str, str]]:
    for name, seconds in {**profile.stages, "glue": profile.elapsed * profile.glue}.items():
        yield name, f"{1000 * seconds / profile.rows:.2f}", f"{seconds / profile.elapsed:.1%}"


def _against(rival: str, layers: int, files: tuple[Path, ...], model: str) -> int:
    module, package = RIVALS[rival]
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(f"--against {rival} needs it installed: pip install '{package}'")
    run = importlib.import_module(f"nemotron_asr.benchmark.against_{rival.replace('-', '_')}").run
    if rival != "sherpa-onnx":
        return DONE if run(layers) else FAILED
    if not files or model == RANDOM:
        raise OptionError("--against sherpa-onnx needs --files, a folder of exported files, and --model, of the same")
    return DONE if run(files, model) else FAILED


def _load(server: str, protocol: str, key: str, port: int | None, plan: _Plan) -> int:
    """Put load on a server; 1 if a stream was refused or failed or a chunk in a thousand was late."""
    if importlib.util.find_spec("websockets") is None:
        raise needs_extra("--server", "server")
    from nemotron_asr.benchmark.load import load
    from nemotron_asr.benchmark.speech import speech

    headings = (
        "streams", "latency", "late", "finalize to final", "last audio to last word", "words", "refused", "failed",
        "CPU",
    )  # fmt: skip
    rows, fine = list[tuple[str, ...]](), True
    for latency in (0,) if protocol == "wyoming" else map(int, plan.latencies):  # there it is the server's to choose
        for streams in plan.streams or (8,):
            report = load(server, protocol, speech(), streams, latency, plan.seconds, key, port)
            rows.append((f"{streams}", f"{latency} ms" if latency else "the server's", *_row(report, latency)))
            fine &= not report.refused and not report.failed and report.late <= LATE * report.chunks
            if report.problem:
                note(report.problem)
            note(f"the load generator was late by {1000 * report.lag:.0f} ms at most")
    print_table(headings, rows)
    return DONE if fine else FAILED


def _row(report: "Load", latency_ms: int) -> tuple[str, ...]:
    cpu = report.cpu / max(1, report.audio)
    return (
        f"{report.late:.0f} of {report.chunks:.0f}", _spread(report.finals), _spread(report.ends), f"{report.words}",
        f"{report.refused}", f"{report.failed}",
        f"{latency_ms * cpu:.2f} ms a chunk" if latency_ms else f"{1000 * cpu:.1f} ms a second",
    )  # fmt: skip


def _spread(seconds: Sequence[float]) -> str:
    """The middle, and what one in a hundred exceeds."""
    import numpy as np

    if not seconds:
        return "-"
    middle, worst = np.quantile(seconds, (0.5, 0.99))
    return f"p50 {1000 * middle:.0f} ms, p99 {1000 * worst:.0f} ms"


def random_model(cache: Path, dtype: str) -> Path:
    """The folder of random weights of the released model's size, made when it is first needed."""
    import torch

    from nemotron_asr.benchmark.random_model import random_checkpoint
    from nemotron_asr.benchmark.speech import speech
    from nemotron_asr.checkpoint import save_checkpoint

    folder = cache / f"nemotron-asr-random-{dtype}"
    if not (folder / "config.json").exists():  # which is written last
        note(f"writing random weights of the released model's size to {folder}")
        save_checkpoint(random_checkpoint(speech()), folder, "native", getattr(torch, dtype))
    return folder


def _alone(recognizer: "Recognizer", latencies: list[int], minutes: float) -> Iterator[tuple[str, str]]:
    from nemotron_asr.benchmark.single import one_stream, recording
    from nemotron_asr.benchmark.speech import speech

    for latency in latencies:
        chunks = one_stream(recognizer, speech(), latency, seconds=max(10, latency / 50))
        best, median = f"{chunks.best:.3f}", f"{chunks.median:.3f}"
        figure = f"{median} (best {best}), {chunks.words_per_frame:.2f} words a frame"
        yield f"one stream, {latency} ms: compute per second of audio", figure
    if minutes:
        speed, words = recording(recognizer, speech(), minutes)
        figure = f"{speed:.1f}, {words:.2f} words a frame"
        yield f"a recording of {minutes:g} minutes: audio per second of compute", figure


def _together(
    recognizer: "Recognizer", numbers: dict[int, tuple[int, ...]], seconds: float
) -> Iterator[tuple[str, ...]]:
    from nemotron_asr.benchmark.realtime import serve
    from nemotron_asr.benchmark.speech import speech
    from nemotron_asr.engine import Engine, settle_process

    settle_process()
    for latency, counts in numbers.items():
        for count in filter(None, counts):
            with Engine(recognizer, max_streams=count) as engine:
                engine.reserve(count)
                service = serve(engine, speech(), count, latency, seconds)
            words = service.words / max(1, service.chunks * latency / FRAME_MS)
            yield (
                f"{latency} ms", f"{count}", f"{service.late} of {service.chunks} ({service.late_share:.2%})",
                f"{service.delay:.2f} s", f"{service.busy:.2f}", f"{words:.2f}", "yes" if service.sustained else "no",
            )  # fmt: skip
