"""The options that `transcribe` and `stream` share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TextIO

import click

from nemotron_asr.cli.running import debug
from nemotron_asr.config import LATENCIES
from nemotron_asr.languages import AUTO
from nemotron_asr.options import PAUSE_MS, Options
from nemotron_asr.postprocess import Postprocessor, chain, mask_words, read_words, spoken_numbers

if TYPE_CHECKING:
    from nemotron_asr.recognizer import Recognizer

Function = Callable[..., Any]


class Format(click.Choice[str]):
    """A format, in any case; txt, as the files are called, is text."""

    def __init__(self, choices: Iterable[str]) -> None:
        super().__init__(list(choices), case_sensitive=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Find the format that is meant."""
        return super().convert("text" if str(value).casefold() == "txt" else value, param, ctx)


class NewPath(click.Path):
    """What is to be written; an empty name, which would mean the current folder, is an error."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Make a path of a name."""
        if value == "":
            self.fail("the name is empty; is a variable of the shell not set?", param, ctx)
        return super().convert(value, param, ctx)


@dataclass(frozen=True)
class Listening:
    """Which model listens, and how."""

    model: str
    device: str
    dtype: str
    options: Options

    def load(self) -> "Recognizer":
        """Load the model: this is where torch is imported."""
        from nemotron_asr.recognizer import load

        return load(self.model, self.device, self.dtype)


def listening_options(latency_ms: int) -> Callable[[Function], Function]:
    """Give a command the shared options, which it gets as `listening`.

    Args:
        latency_ms: the default latency.
    """

    def decorate(command: Function) -> Function:
        @wraps(command)
        def listen(**given: Any) -> Any:
            listening = Listening(given.pop("model"), given.pop("device"), given.pop("dtype"), _take_options(given))
            return command(listening=listening, **given)

        decorated: Function = listen
        for option in reversed(_declared(latency_ms)):
            decorated = option(decorated)
        return decorated

    return decorate


def _declared(latency_ms: int) -> list[Callable[[Function], Function]]:
    return [
        click.option("--model", default="tiny", metavar="MODEL", show_default=True, help=_MODEL),
        click.option("--language", default=AUTO, metavar="auto|LOCALE", show_default=True, help=_LANGUAGE),
        click.option("--languages", metavar="LOCALE,...", help="With auto: find no other languages than these."),
        click.option("--latency", type=LATENCY, default=str(latency_ms), show_default=True, help=_LATENCY_HELP),
        click.option("--boost", multiple=True, metavar="PHRASE[:WEIGHT]", help=_BOOST),
        click.option(
            "--boost-file",
            type=click.File(encoding="utf-8-sig"),
            metavar="FILE",
            help="Phrases to boost, one a line; lines with # are notes.",
        ),
        click.option("--beam", type=int, metavar="N", help=_BEAM),
        click.option("--lm", type=click.Path(dir_okay=False), metavar="FILE", help=_LM),
        click.option("--endpointing", default=str(PAUSE_MS), metavar="MS|none", show_default=True, help=_ENDPOINTING),
        click.option("--vad", is_flag=True, help="Listen to where somebody speaks, too; needs the extra vad."),
        click.option(
            "--keep-language-tags", is_flag=True, help="Leave the model's tags, such as <de-DE>, in the text."
        ),
        click.option("--profanity-filter", metavar="WORDLIST", help=_PROFANITY_FILTER),
        click.option("--itn", is_flag=True, help="Write spoken numbers in digits."),
        click.option("--device", default="auto", metavar="auto|cpu|cuda|cuda:N|mps", show_default=True, help=DEVICE),
        click.option("--dtype", type=DTYPE, default="auto", show_default=True, help=_DTYPE_HELP),
        debug,
    ]


def _take_options(given: dict[str, Any]) -> Options:
    """What was given on the command line of how to listen; it is taken out of `given`."""
    wanted: Options = {
        "language": given.pop("language"),
        "languages": _listed(given.pop("languages")),
        "latency_ms": int(given.pop("latency")),
        "boost": [*given.pop("boost"), *_phrases(given.pop("boost_file"))],
        "lm": given.pop("lm"),
        "endpointing_ms": _milliseconds(given.pop("endpointing")),
        "vad": given.pop("vad"),
        "keep_language_tags": given.pop("keep_language_tags"),
        "postprocess": _postprocess(given.pop("profanity_filter"), itn=given.pop("itn")),
    }
    if (beam := given.pop("beam")) is not None:
        wanted["beam"] = beam
    return wanted


def _milliseconds(value: str) -> int | None:
    if value != "none" and not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number of milliseconds nor none", param_hint="--endpointing")
    return None if value == "none" else int(value)


def _listed(names: str | None) -> list[str]:
    listed = [name.strip() for name in (names or "").split(",") if name.strip()]
    if names is not None and not listed:
        raise click.BadParameter("the list is empty; is a variable of the shell not set?", param_hint="--languages")
    return listed


def _phrases(file: TextIO | None) -> list[str]:
    try:
        lines = [line.strip() for line in file or ()]
    except UnicodeDecodeError:
        name = getattr(file, "name", "it")
        raise click.BadParameter(f"{name} is not a text in UTF-8", param_hint="--boost-file") from None
    return [line for line in lines if line and not line.startswith("#")]


def _postprocess(word_list: str | None, *, itn: bool) -> Postprocessor | None:
    steps = [spoken_numbers()] if itn else []
    if word_list is not None:
        steps.append(mask_words(read_words(word_list)))
    return chain(*steps) if steps else None


LATENCY = click.Choice([str(latency) for latency in LATENCIES])
DTYPE = click.Choice(["auto", "float32", "bfloat16", "int8", "float8"])
_MODEL = (
    "tiny (embedded), a Hugging Face name or its short form (nemotron-3.5, nemotron-en), a folder, or a .nemo file."
)
_LANGUAGE = "The language spoken, see `nemotron-asr languages`; auto has the model find out."
_LATENCY_HELP = (
    "Milliseconds of audio that the model hears at a time: more gives better words. "
    "160 works, but the released model was not trained on it."
)
latencies_option = click.option(
    "--latency", "latencies", type=LATENCY, multiple=True, default=("80", "1120"), show_default=True,
    help=f"{_LATENCY_HELP} Several.",
)  # fmt: skip
"""Of the commands that measure at several latencies."""

_BOOST = "A phrase that is likely, such as a name; may be repeated. Weights go from 0 to 4, 1 is usual."
_BEAM = (
    "Hypotheses that are followed at a time, up to 16; 1 is greedy search, the default without --lm. More is better."
)
_LM = "ARPA file: a word n-gram model, which a beam of 4, or of --beam, listens to as well."
_PROFANITY_FILTER = "Mask the words of this file, one a line: only their first letter stays."
_ENDPOINTING = "Milliseconds of silence that end a segment; none: silence ends nothing."
DEVICE = "Where to compute; auto is the first GPU, if there is one."
_DTYPE_HELP = "Precision; auto is bfloat16 on a GPU and, on a CPU, int8 for a large model."
