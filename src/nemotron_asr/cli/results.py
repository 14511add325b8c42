"""Where transcripts go: to standard output, or one file per recording."""

import errno
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol

import click

from nemotron_asr.cli.inputs import Input
from nemotron_asr.cli.provenance import Provenance
from nemotron_asr.cli.running import check_output
from nemotron_asr.drafts import drafted
from nemotron_asr.errors import printable

if TYPE_CHECKING:
    from nemotron_asr.transcript import Transcript


def _json(transcript: "Transcript", indent: int | None = None) -> str:
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=indent) + "\n"


def _text(transcript: "Transcript") -> str:
    """The text on a line; where there are speakers, a line for each turn, after the speaker."""
    turns = [(speaker, tuple(said)) for speaker, said in groupby(transcript.segments, key=attrgetter("speaker"))]
    lines = [(f"{speaker}: " if speaker else "") + replace(transcript, segments=said).text for speaker, said in turns]
    return "\n".join(lines) + "\n"


RENDER: dict[str, Callable[["Transcript"], str]] = {
    "text": _text,
    "json": lambda transcript: _json(transcript, indent=2),
    "jsonl": _json,
    "srt": lambda transcript: transcript.to_srt(),
    "vtt": lambda transcript: transcript.to_vtt(),
}
"""Format -> what a file in it contains."""

_SUFFIXES = {"text": "txt"}  # where it is not the format's name
_ONE_PER_FILE = {"srt", "vtt"}


class Results(Protocol):
    """What takes transcripts.

    Attributes:
        ordered: they must come in the order of the recordings; otherwise as soon as they are finished.
    """

    ordered: bool

    def has(self, recording: Input, /) -> bool:
        """Whether a recording is done already."""

    def write(self, recording: Input, /, transcript: "Transcript") -> None:
        """Take the transcript of a recording."""

    def close(self) -> None:
        """Nothing more comes."""


class Printed:
    """Transcripts on standard output, in the order of the recordings; several in JSON are one array."""

    ordered = True

    def __init__(self, form: str, recordings: Sequence[Input]) -> None:
        """Prepare to print.

        Raises:
            UsageError: several recordings in a format that has one per file.
            OSError: standard output is closed.
        """
        check_output()
        several = len(recordings) > 1
        if several and form in _ONE_PER_FILE:
            raise click.UsageError(f"--format {form} holds one recording per file; add --output DIR")
        self._form, self._named, self._array = form, several and form == "text", several and form == "json"
        self._count = 0

    def has(self, _: Input, /) -> bool:
        """Whether a recording is done already: what is printed is gone."""
        return False

    def write(self, recording: Input, /, transcript: "Transcript") -> None:
        """Print a transcript."""
        text = RENDER[self._form](transcript)
        if self._named:
            text = "".join(f"{printable(recording.name)}: {line}\n" for line in text.removesuffix("\n").split("\n"))
        if self._array:
            text = (",\n" if self._count else "[\n") + text.rstrip("\n")
        self._count += 1
        click.echo(text, nl=False)

    def close(self) -> None:
        """End the array, if it is one."""
        if self._array:
            click.echo("\n]" if self._count else "[]")


class Folder:
    """Transcripts in files, each written at once or not at all; those of an earlier run count as done."""

    ordered = False

    def __init__(self, folder: Path, form: str, recordings: Sequence[Input]) -> None:
        """Choose the files.

        Raises:
            UsageError: two recordings would be written to the same file.
            OSError: the folder cannot be made.
        """
        self._form, self._folder, self._origins = form, folder, Provenance(folder)
        self._places = _places(recordings, _SUFFIXES.get(form, form), self._origins)
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, recording: Input, /) -> bool:
        """Whether a recording is done already."""
        place = self._places[recording]
        return self._origins.same(place, Path(recording.name)) and (self._folder / place).is_file()

    def write(self, recording: Input, /, transcript: "Transcript") -> None:
        """Write a transcript to its file.

        Raises:
            OSError: it cannot be written.
        """
        place = self._places[recording]
        target = self._folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        text = RENDER[self._form](transcript)
        try:
            with drafted(target, shared=True) as draft:
                draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
                self._origins.look()
                if self._origins.foreign(place) or self._origins.other(place, Path(recording.name)):
                    raise FileExistsError(errno.EEXIST, "somebody else has put a file there")
                with _aside(target):  # what is there is of the recording as it was
                    self._origins.add(place, Path(recording.name))  # first: a kill in between leaves no file unknown
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fspath(target)) from error  # the user knows of no draft

    def close(self) -> None:
        """Nothing is left to do: every file is complete."""


@contextmanager
def _aside(target: Path) -> Iterator[None]:
    """Take a file away, unless what is done meanwhile fails."""
    old = target.with_name(f".{os.getpid()}.old")  # short, for the other name may be as long as names can be
    if target.exists():
        target.replace(old)
    try:
        yield
    except OSError:
        if old.exists():
            old.replace(target)
        raise
    old.unlink(missing_ok=True)


def _places(recordings: Sequence[Input], suffix: str, origins: Provenance) -> dict[Input, PurePath]:
    """Names of files: `a.wav` -> `a.txt`; where that is another recording's, too, or the user's own file, `a.wav.txt`.

    Raises:
        UsageError: that is another one's as well.
    """
    places = {recording: recording.place.with_suffix(f".{suffix}") for recording in recordings}
    disputed = set(chain.from_iterable(_disputes(places)))
    for recording, place in places.items():
        source, full = Path(recording.name), place.with_name(f"{recording.place.name}.{suffix}")
        taken = recording in disputed or origins.other(place, source) or origins.same(full, source)
        if not origins.same(place, source) and (taken or origins.foreign(place)):
            places[recording] = full
    _check_places(places, origins)
    return places


def _check_places(places: Mapping[Input, PurePath], origins: Provenance) -> None:
    """Look whether every recording has a file of its own.

    Raises:
        UsageError: one does not.
    """
    for one, other, *_ in _disputes(places):
        raise click.UsageError(
            f"{one.name} and {other.name} would be written to the same file; "
            "use two output folders, or give the folder that holds both, with --recursive"
        )
    for recording, place in places.items():
        if before := origins.other(place, Path(recording.name)):
            raise click.UsageError(f"{recording.name} would replace {place}, which is of {before}; use another folder")
        if origins.foreign(place):
            raise click.UsageError(f"{recording.name} would replace {place}, which is no transcript of it")


def _disputes(places: Mapping[Input, PurePath]) -> list[list[Input]]:
    """The recordings that have the same place, where there are several; some file systems ignore its case."""
    claims = defaultdict[str, list[Input]](list)
    for recording, place in places.items():
        claims[str(place).casefold()].append(recording)
    return [claimants for claimants in claims.values() if len(claimants) > 1]
