"""Files and folders on the command line -> the recordings in them."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath

import click

from nemotron_asr.cli.running import why

_ADDRESS = re.compile(r"(https?|ftps?|rtmps?|rtsp|s3|gs)://", re.IGNORECASE)


@dataclass(frozen=True)
class Input:
    """One recording.

    Attributes:
        name: the path, as the user gave it or below the folder that the user gave.
        place: where it lies below that folder; the mere file name of a single file.
    """

    name: str
    place: PurePath


def collect(arguments: Sequence[str], *, recursive: bool) -> tuple[list[Input], list[str]]:
    """All recordings that the arguments name, those of a folder sorted, none twice; and what is wrong with folders.

    Raises:
        UsageError: a folder without `recursive`; what cannot be a recording's name; no recording at all.
    """
    found = {argument: _recordings(argument, recursive=recursive) for argument in arguments}
    barren = [f"{argument} holds no audio or video file" for argument, either in found.items() if not any(either)]
    if len(barren) == len(found):
        raise click.UsageError("; ".join(barren))
    unique: dict[Path, Input] = {}
    for recording in chain.from_iterable(recordings for recordings, _ in found.values()):
        unique.setdefault(Path(recording.name).absolute(), recording)
    return list(unique.values()), [*(why(error) for _, unread in found.values() for error in unread), *barren]


def check_name(name: str) -> None:
    """Look whether this is meant to be a file.

    Raises:
        UsageError: it is empty, or an address.
    """
    if not name:
        raise click.UsageError("a recording's name is empty; is a variable of the shell not set?")
    if _ADDRESS.match(name):
        raise click.UsageError(f"{name}: recordings are not fetched; download it first")


def _recordings(argument: str, *, recursive: bool) -> tuple[list[Input], list[OSError]]:
    """Those that an argument names, and why folders in it cannot be read."""
    check_name(argument)
    if argument == "-":
        raise click.UsageError(
            "- is not a recording; a file on standard input is /dev/stdin on Linux and macOS, one of this name is ./-"
        )
    if not os.path.isdir(argument):  # noqa: PTH112 - unlike Path's, it takes any name without an error
        return [Input(argument, PurePath(Path(argument).name))], []
    if not recursive:
        raise click.UsageError(f"{argument} is a folder; add --recursive to transcribe the recordings in it")
    folder, unread = Path(argument), list[OSError]()
    return [Input(os.fspath(path), path.relative_to(folder)) for path in sorted(_walk(folder, unread))], unread


def _walk(folder: Path, unread: list[OSError]) -> Iterator[Path]:
    """Files that look like recordings; hidden ones, such as the Finder's `._name.mp3`, are not meant."""
    from nemotron_asr.audio.suffixes import SUFFIXES  # imports numpy and PyAV

    for where, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(where, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path
