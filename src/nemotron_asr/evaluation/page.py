"""The worst clips as a page for people: what was said above what was heard, with players."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nemotron_asr.evaluation.judging import Judged

SHOWN = 100
"""Clips on a page."""

_PART = re.compile(r"#t=[\d.,e-]+\Z")
"""As `Part` is written."""


def write_page(judged: Iterable[Judged], path: Path) -> None:
    """Write the clips with the highest error rates, each in all the manners in which it was heard, as HTML.

    The players load the audio from where it lies, relative to the page.
    """
    clips: dict[str, list[Judged]] = {}
    for one in judged:
        clips.setdefault(one.recognition.audio, []).append(one)
    worst = sorted(clips.items(), key=lambda clip: _badness(clip[1]), reverse=True)[:SHOWN]
    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    rendered = page.get_template("page.html").render(
        clips=[(_link(audio, path), recognitions) for audio, recognitions in worst], all=len(clips), columns=columns
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rendered, encoding="utf-8", errors="xmlcharrefreplace")


def columns(judged: Judged) -> list[tuple[str, str, str]]:
    """The alignment as (kind, said, heard)."""
    found = []
    for pair in judged.alignment:
        said = "" if pair.reference is None else judged.reference[pair.reference]
        heard = "" if pair.hypothesis is None else judged.hypothesis[pair.hypothesis]
        kind = "right" if pair.equal else "wrong" if said and heard else "missing" if said else "extra"
        found.append((kind, said, heard))
    return found


def _badness(recognitions: Sequence[Judged]) -> tuple[float, int]:
    errors = sum(one.counts.errors for one in recognitions)
    return errors / sum(one.counts.units for one in recognitions), errors


def _link(audio: str, page: Path) -> str:
    """The address of a recording, from the page; players know the part that stands behind a name."""
    begin = found.start() if (found := _PART.search(audio)) else len(audio)
    path, part = audio[:begin], audio[begin:]
    try:
        return quote(Path(os.path.relpath(path, page.parent)).as_posix(), errors="surrogateescape") + part
    except ValueError:  # another drive
        return Path(path).absolute().as_uri() + part
