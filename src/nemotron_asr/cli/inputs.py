"""Files and folders on the command line -> the recordings in them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import click

from nemotron_asr.audio.suffixes import SUFFIXES


@dataclass(frozen=True)
class Input:
    """One recording.

    Attributes:
        name: the path, as the user gave it or below the folder that the user gave.
        place: where it lies below that folder; the mere file name of a single file.
    """

    name: str
    place: PurePath


def collect(arguments: Sequence[str], *, recursive: bool) -> list[Input]:
    """All recordings that the arguments name, those of a folder sorted; none twice.

    Raises:
        UsageError: a folder without `recursive`, or with no recording in it; an empty name.
    """
    found: list[Input] = []
    for argument in arguments:
        if not argument:
            raise click.UsageError("a recording's name is empty; is a variable of the shell not set?")
        if not os.path.isdir(argument):  # noqa: PTH112 - unlike Path's, it takes any name without an error
            found.append(Input(argument, PurePath(Path(argument).name)))
        elif recursive:
            found += _recordings(Path(argument))
        else:
            raise click.UsageError(f"{argument} is a folder; add --recursive to transcribe the recordings in it")
    unique: dict[Path, Input] = {}
    for recording in found:
        unique.setdefault(Path(recording.name).absolute(), recording)
    return list(unique.values())


def _recordings(folder: Path) -> list[Input]:
    found = [Input(os.fspath(path), path.relative_to(folder)) for path in sorted(_walk(folder))]
    if not found:
        raise click.UsageError(f"{folder} holds no audio or video file")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Files that look like recordings; hidden ones, such as the Finder's `._name.mp3`, are not meant."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path
