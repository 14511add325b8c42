"""`nemotron-asr evaluate`: how well a model hears what manifests say was said."""

import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import track

from nemotron_asr.cli.options import DEVICE, DTYPE, NewPath, latencies_option
from nemotron_asr.cli.running import DONE, FAILED, debug, note
from nemotron_asr.cli.several import Several
from nemotron_asr.errors import LanguageError, ManifestError, NemotronError, needs_extra

if TYPE_CHECKING:
    from nemotron_asr.config import ModelConfig
    from nemotron_asr.evaluation.judging import Judged
    from nemotron_asr.evaluation.recognition import Recognition
    from nemotron_asr.evaluation.report import Report
    from nemotron_asr.recognizer import Recognizer

T = TypeVar("T")

_FILE = NewPath(dir_okay=False, path_type=Path)
_MODES = {"language": ("language",), "auto": ("auto",), "both": ("language", "auto")}


@dataclass
class _Plan:
    """What the command line asks for."""

    manifests: tuple[str, ...]
    model: str
    language: str
    latencies: tuple[str, ...]
    mode: str
    form: str
    plot: Path | None
    page: Path | None
    results: Path | None
    batch: int
    beam: int
    device: str
    dtype: str
    skipped: dict[str, None] = field(default_factory=dict)  # what was said of each, once

    def usable(self, results: "Iterable[T | NemotronError]") -> list[T]:
        """All but the errors, which are counted and named, once each."""
        found: list[T] = []
        for result in results:
            if not isinstance(result, NemotronError):
                found.append(result)
            elif str(result) not in self.skipped:
                self.skipped[str(result)] = None
                note(f"skipped: {result}")
        return found


@click.command(cls=Several)
@click.argument("manifests", nargs=-1, required=True, metavar="MANIFEST...")
@click.option("--model", default="tiny", metavar="MODEL", show_default=True, help="A model as for `transcribe`.")
@click.option("--language", default="", metavar="LOCALE", help="Of clips that do not say it: those of folders.")
@latencies_option
@click.option(
    "--mode",
    type=click.Choice(list(_MODES)),
    default="both",
    show_default=True,
    help="Tell the model the language, have it find out, or both.",
)
@click.option("--format", "form", type=click.Choice(["table", "markdown", "json"]), default="table", show_default=True)
@click.option("--plot", type=_FILE, help="Draw error rates against latency and per locale: .png, .svg or .pdf.")
@click.option("--html", "page", type=_FILE, help="Write the worst clips, aligned, with players.")
@click.option("--results", type=_FILE, help="Keep what is heard of every clip (JSON lines), and go on from it.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Clips heard at once.")
@click.option("--beam", type=int, default=1, metavar="N", show_default=True, help="As for `transcribe`.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda|cuda:N|mps", show_default=True, help=DEVICE)
@click.option("--dtype", type=DTYPE, default="auto", show_default=True, help="Precision.")
@debug
def evaluate(**options: Any) -> int:
    """Measure word errors, languages found, delays and confidence over manifests.

    MANIFEST is a file of JSON lines with audio_filepath, duration, text and target_lang, or a folder of recordings
    with their texts in .txt files, or fleurs:LOCALE, or fleurs for all locales. A line or a clip that cannot be used
    is named and skipped.
    """
    plan = _Plan(**options)
    _check_extra(
        "jiwer", "whisper_normalizer", *(["matplotlib"] if plan.plot else []), *(["jinja2"] if plan.page else [])
    )
    if plan.plot:
        from nemotron_asr.evaluation.plots import check_name

        check_name(plan.plot)
    report, judged = _measure(plan)
    _show(report, plan.form)
    _keep(plan, report, judged)
    if plan.skipped:
        note(f"{len(plan.skipped)} skipped")
    return FAILED if plan.skipped else DONE


def _check_extra(*packages: str) -> None:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise needs_extra("evaluate", "eval", missing[0])


def _measure(plan: _Plan) -> "tuple[Report, list[Judged]]":
    from nemotron_asr.evaluation.judging import judge
    from nemotron_asr.evaluation.report import make_report
    from nemotron_asr.languages import AUTO, canonical
    from nemotron_asr.recognizer import load

    recognizer = load(plan.model, plan.device, plan.dtype)
    if plan.language and canonical(plan.language, recognizer.config.prompts) == AUTO:  # said once, not of every clip
        raise LanguageError("--language auto is none that is spoken; say which the recordings have")
    judged = [judge(recognition) for recognition in _heard(plan, recognizer)]
    if not judged:
        raise ManifestError("no clip was heard: there is nothing to report")
    tags = bool(recognizer.tokenizer.language_tags)
    return make_report(plan.model, judged, list(plan.skipped), plan.beam, names_languages=tags), judged


def _keep(plan: _Plan, report: "Report", judged: "list[Judged]") -> None:
    """Write the files that were asked for."""
    if plan.plot:
        from nemotron_asr.evaluation.plots import save_plot

        save_plot(report, plan.plot)
    if plan.page:
        from nemotron_asr.evaluation.page import write_page

        write_page(judged, plan.page)


def _heard(plan: _Plan, recognizer: "Recognizer") -> "list[Recognition]":
    """All clips in all manners; those that were heard before come from the results."""
    from nemotron_asr.evaluation.manifests import read_clips
    from nemotron_asr.evaluation.recognition import Mode
    from nemotron_asr.evaluation.records import Records, recognize_rest

    clips = list(dict.fromkeys(plan.usable(read_clips(plan.manifests, recognizer.config, plan.language))))
    manners = [(Mode(mode), int(latency)) for mode in _MODES[plan.mode] for latency in dict.fromkeys(plan.latencies)]
    with Records(plan.results, _identity(plan, recognizer.config)) as records:
        recognitions = recognize_rest(recognizer, clips, manners, records, plan.batch, plan.beam)
        return plan.usable(_watched(recognitions, len(manners) * len(clips)))


def _identity(plan: _Plan, config: "ModelConfig") -> dict[str, str]:
    """What must be the same for results to be gone on with; the precision is what "auto" means here."""
    if plan.results is None:
        return {}
    from nemotron_asr.checkpoint import load_checkpoint
    from nemotron_asr.checkpoint.adapter import fingerprint
    from nemotron_asr.engine.devices import DTYPES, choose_device, choose_dtype

    dtype = choose_dtype(plan.dtype, choose_device(plan.device), config)
    precision = next(name for name, meant in DTYPES.items() if meant == dtype)
    weights = fingerprint(load_checkpoint(plan.model).weights)
    beam = {"beam": str(plan.beam)} if plan.beam != 1 else {}  # results are older than beams
    return {"model": plan.model, "weights": weights, "dtype": precision, **beam}


def _watched(results: Iterable[T], count: int) -> Iterable[T]:
    """The same, with a bar on a terminal."""
    console = Console(stderr=True)
    return track(results, "listening", count, console=console, transient=True, disable=not console.is_terminal)


def _show(report: "Report", form: str) -> None:
    from nemotron_asr.evaluation.tables import to_markdown, to_text

    if form == "json":
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        click.echo({"table": to_text, "markdown": to_markdown}[form](report), nl=False)
