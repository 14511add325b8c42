"""What `make demo` runs: the embedded model hears the bundled recordings, one per language.

python -m nemotron_asr.demo
"""

import json
import time
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nemotron_asr.languages import name
from nemotron_asr.recognizer import Recognizer, load
from nemotron_asr.transcript import Transcript

BEAM = 4
"""Hypotheses: a small model is often unsure, and gains much by them."""


def demo(model: str, console: Console) -> None:
    """Show what a model makes of the bundled recordings, without being told their languages."""
    recognizer = load(model)
    started, seconds = time.perf_counter(), 0.0
    first: Transcript | None = None
    for spoken, transcript in _heard(recognizer):
        console.print(_comparison(spoken, transcript))
        console.print()
        first = first or transcript
        seconds += transcript.duration
    passed = time.perf_counter() - started
    if first is not None:
        console.print(_words(first))
    console.print(f"{seconds:.1f} s of speech heard in {passed:.1f} s by {model!r}.")


def _heard(recognizer: Recognizer) -> Iterator[tuple[str, Transcript]]:
    """What is said in each recording, and its transcript."""
    with as_file(files("nemotron_asr") / "samples") as folder:
        for sample in json.loads((folder / "samples.json").read_text(encoding="utf-8")):
            yield sample["text"], recognizer.transcribe(folder / sample["file"], beam=BEAM)


def _comparison(spoken: str, transcript: Transcript) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    detected = f"{name(transcript.language)}, detected" if transcript.language else "no language detected"
    table.add_row(Text("file", "dim"), Text(f"{Path(transcript.file or '').name} ({detected})"))
    table.add_row(Text("spoken", "dim"), Text(spoken))
    table.add_row(Text("heard", "dim"), Text(transcript.text, "bold green"))
    return table


def _words(transcript: Transcript) -> Table:
    table = Table("word", box=SIMPLE_HEAD)
    for heading in ("start", "end", "confidence"):
        table.add_column(heading, justify="right")
    for word in transcript.words:
        table.add_row(Text(word.word), f"{word.start:.2f} s", f"{word.end:.2f} s", f"{word.confidence:.2f}")
    return table


if __name__ == "__main__":
    demo("tiny", Console(highlight=False))
