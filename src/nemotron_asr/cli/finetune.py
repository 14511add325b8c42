"""`nemotron-asr finetune`: a model and some recordings with their texts -> a better model."""

import logging
import os
import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nemotron_asr.cli.options import DEVICE, LATENCY, NewPath
from nemotron_asr.cli.running import debug, note
from nemotron_asr.cli.several import Several
from nemotron_asr.cli.table import print_table
from nemotron_asr.errors import OptionError, needs_extra

if TYPE_CHECKING:
    from torch import Tensor

    from nemotron_asr.training.data import Source
    from nemotron_asr.training.options import FinetuneConfig
    from nemotron_asr.training.watching import Scores

SOURCE = (
    "A manifest (JSON lines, as NeMo's), a folder of recordings with their texts in .txt files, or "
    "hf:OWNER/NAME[:CONFIGURATION[:SPLIT]], a Hugging Face dataset. "
)


@click.command(cls=Several)
@click.option("--train", multiple=True, required=True, metavar="SOURCE[:WEIGHT]...", help=f"{SOURCE}Several.")
@click.option("--validation", multiple=True, required=True, metavar="SOURCE...", help="To measure on; likewise.")
@click.option(
    "--output", type=NewPath(file_okay=False, path_type=Path), required=True, help="Folder; a run in it goes on."
)
@click.option("--model", default="tiny", metavar="MODEL", show_default=True, help="To begin with, as for `transcribe`.")
@click.option("--language", default="", metavar="LOCALE", help="Of --train and --validation that do not say it.")
@click.option(
    "--replay",
    multiple=True,
    metavar="SOURCE...",
    help="Clips that say of which other language they are, so that none is forgotten.",
)
@click.option(
    "--replay-share", type=click.FloatRange(0, 0.95), default=0.3, show_default=True, help="Of what is heard."
)
@click.option("--lora-rank", type=click.IntRange(0), default=0, show_default=True, help="Adapters; 0: all weights.")
@click.option("--freeze-encoder", is_flag=True, help="Train what comes after it alone.")
@click.option("--new-locale", default="", metavar="LOCALE[:LIKE]", help="Give a language a prompt, begun as another's.")
@click.option(
    "--new-pieces", type=click.IntRange(0), default=0, show_default=True,
    help="Give the tokenizer up to so many pieces for characters that it lacks.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Of the optimiser.")
@click.option("--batch-seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="Audio per batch.")
@click.option("--accumulate", type=click.IntRange(1), default=1, show_default=True, help="Batches per step.")
@click.option("--lr", type=click.FloatRange(0), default=0.0, help="Peak rate; 3e-4, with adapters 1e-3, if not given.")
@click.option(
    "--warmup",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Steps to the peak rate; at most a fifth of all.",
)
@click.option("--ema", type=click.FloatRange(0, 1, max_open=True), default=0.999, show_default=True, help="Of weights.")
@click.option("--latency", type=LATENCY, default="1120", show_default=True,
              help="Milliseconds, of validation: that of the deployment. All are trained.")  # fmt: skip
@click.option("--validate-every", type=click.IntRange(0), default=0, help="Steps; ten times in a run if not given.")
@click.option("--augment/--no-augment", default=True, show_default=True, help="Speed, rooms, noise, masks.")
@click.option("--recompute", is_flag=True, help="Activations, instead of keeping them: less memory, a third more time.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True,
              help="Of the matrix products; auto is bfloat16 on a GPU.")  # fmt: skip
@click.option("--device", default="auto", metavar="auto|cpu|cuda|cuda:N", show_default=True, help=DEVICE)
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that make batches.")
@click.option("--seed", type=click.IntRange(0, 2**63), default=0, show_default=True, help="Of all chance.")
@debug
def finetune(**options: Any) -> None:
    """Fine-tune a model. Killed and started again with the same options, it goes on where it was.

    The best model is the folder `best` in the output folder, for `--model` of every command. TensorBoard's curves are
    in `logs`. Clips that cannot be used are counted, and named in `cache`. Several GPUs: `torchrun --nproc-per-node N
    -m nemotron_asr finetune ...`.
    """
    try:
        from nemotron_asr.training.card import score_rows
        from nemotron_asr.training.finetune import finetune as run
    except ImportError as error:
        raise needs_extra("finetune", "train", error.name) from None
    config = _config(**options)
    with _Report(config) as report:
        outcome = run(config, [report] if report.leads else [])
    if report.leads:
        print_table(("locale", *outcome.after), score_rows(outcome.before, outcome.after))
        note(f"the best model is {outcome.folder}")


def _config(*, latency: str, precision: str, device: str, output: Path, **options: Any) -> "FinetuneConfig":
    from nemotron_asr.engine.devices import choose_device
    from nemotron_asr.training.options import FinetuneConfig

    language, datasets = options.pop("language"), output / "datasets"
    replay, share = options.pop("replay"), options.pop("replay_share")
    learnt = [_source(text, language, datasets) for text in options.pop("train")]
    repeated = [_replayed(text, datasets) for text in replay if share]
    whole = sum(source.weight for source in repeated)
    repeated = [replace(source, share=share * source.weight / whole) for source in repeated]
    where = choose_device(device)
    return FinetuneConfig(
        train=(*learnt, *repeated),
        validation=tuple(_measured(text, language, datasets) for text in options.pop("validation")),
        output=output,
        latency_ms=int(latency),
        bfloat16=where.type == "cuda" if precision == "auto" else precision == "bfloat16",
        device=str(where),
        **options,
    )


def _replayed(text: str, datasets: Path) -> "Source":
    """Clips of other languages, as they say themselves."""
    source = _source(text, "", datasets)
    if source.manifest.is_dir():
        raise OptionError(f"--replay {text!r} is a folder; give a manifest, whose lines say their languages")
    return source


def _measured(text: str, language: str, datasets: Path) -> "Source":
    """A source all of whose clips count alike."""
    source = _source(text, language, datasets)
    if source.weight != 1.0:
        raise OptionError(f"--validation {text!r} has a weight, which only --train and --replay take; leave it out")
    return source


def _source(text: str, language: str, datasets: Path) -> "Source":
    """`SOURCE[:WEIGHT]`; what comes after the last colon is a weight if it is a number."""
    from nemotron_asr.corpus.sources import HUGGING_FACE, fetch_dataset
    from nemotron_asr.training.data import Source

    name, weight = text, 1.0
    if match := re.fullmatch(r"(.+):(\d+(?:\.\d*)?|\.\d+)", text):
        name, weight = match[1], float(match[2])
    if not weight:
        raise OptionError(f"source {text!r} has the weight 0; leave it out, or give it one above 0")
    path = fetch_dataset(name, datasets, language) if name.startswith(HUGGING_FACE) else Path(name)
    return Source(path.absolute(), weight, language=language)


class _Report:
    """Log lines, and a bar on a terminal, from the process that leads."""

    def __init__(self, config: "FinetuneConfig") -> None:
        self._config = config
        self.leads = int(os.environ.get("RANK", "0")) == 0
        self._stack = ExitStack()
        self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not sys.stderr.isatty())
        self._task = self._bar.add_task("reading", total=config.steps)

    def __enter__(self) -> "_Report":
        if self.leads:
            self._stack.enter_context(self._bar)
            self._config.output.mkdir(parents=True, exist_ok=True)
            self._follow(
                logging.FileHandler(self._config.output / "train.log", encoding="utf-8", errors="backslashreplace")
            )
            self._follow(_Lines(self._console))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _follow(self, handler: logging.Handler) -> None:
        logger = logging.getLogger("nemotron_asr.training")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        self._stack.callback(handler.close)
        self._stack.callback(logger.removeHandler, handler)

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step, description=f"loss {values['loss']:.2f}")

    def validated(self, step: int, scores: "Scores") -> None:
        """Lines say it."""

    def kept(self, step: int, weights: "Mapping[str, Tensor]", scores: "Scores") -> None:
        """Lines say it."""


class _Lines(logging.Handler):
    """Log lines above the bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        self._console.print(self.format(record), markup=False, soft_wrap=True)
