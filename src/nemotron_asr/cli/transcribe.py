"""`nemotron-asr transcribe`: recordings -> transcripts."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nemotron_asr.cli.inputs import Input, collect
from nemotron_asr.cli.options import Format, Listening, NewPath, listening_options
from nemotron_asr.cli.progress import Meter
from nemotron_asr.cli.results import RENDER, Folder, Printed, Results
from nemotron_asr.cli.running import DONE, FAILED, note, why
from nemotron_asr.errors import NemotronError
from nemotron_asr.options import RECORDING_MS

if TYPE_CHECKING:
    from nemotron_asr.cluster import Cluster
    from nemotron_asr.recognizer import Recognizer
    from nemotron_asr.recordings import Channels
    from nemotron_asr.transcript import Transcript

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Why no other transcript can be written either."""


@click.command()
@click.argument("audio", nargs=-1, required=True)
@click.option("--format", "form", type=Format(RENDER), default="text", show_default=True, help="Format.")
@click.option(
    "--output",
    type=NewPath(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write one file per recording, and skip those written before.",
)
@click.option("--recursive", is_flag=True, help="Transcribe the recordings in folders, and in the folders in them.")
@click.option(
    "--channels",
    type=click.Choice(["mix", "separate"]),
    default="mix",
    show_default=True,
    help="Hear all channels as one, or each alone as a speaker of its own.",
)
@click.option(
    "--ray", metavar="auto|local|ADDRESS", help="Transcribe on all machines of a Ray cluster; needs the extra ray."
)
@listening_options(latency_ms=RECORDING_MS)
def transcribe(
    audio: tuple[str, ...],
    form: str,
    output: Path | None,
    recursive: bool,
    channels: "Channels",
    ray: str | None,
    listening: Listening,
) -> int:
    """Transcribe audio and video files.

    One recording prints its text; several print a line each, after the file's name. With separate channels a line is
    what one of them says before another does.
    """
    recordings, wrong = collect(audio, recursive=recursive)
    results = Folder(output, form, recordings) if output else Printed(form, recordings)
    pending = [recording for recording in recordings if not results.has(recording)]
    if len(pending) < len(recordings):
        note(f"{len(recordings) - len(pending)} of {len(recordings)} done already, skipped")
    for folder in wrong:
        note(f"error: {folder}")
    wanted, failed = len(recordings) + len(wrong), len(wrong)
    if pending:
        failed += _transcribe(pending, results, channels, listening, ray)
    if failed and wanted > 1:
        note(f"{failed} of {wanted} failed")
    return FAILED if failed else DONE


def _transcribe(
    recordings: Sequence[Input], results: Results, channels: "Channels", listening: Listening, ray: str | None
) -> int:
    """Transcribe into `results`; count the failures."""
    failed = 0
    with Meter(recordings) as meter, closing(results), _transcriber(listening, ray) as transcriber:
        sources = meter.sources() if ray is None else meter.paths()
        heard = (
            enumerate(transcriber.transcribe_many(sources, channels=channels, **listening.options))
            if results.ordered
            else transcriber.transcribe_as_finished(sources, channels=channels, **listening.options)
        )
        for number, result in heard:
            recording = recordings[number]
            meter.finished(number)
            with meter.aside():
                failed += not _write(results, recording, result)
    return failed


@contextmanager
def _transcriber(listening: Listening, ray: str | None) -> "Iterator[Recognizer | Cluster]":
    """What transcribes: a model here, or workers on a Ray cluster."""
    if ray is None:
        yield listening.load()
        return
    from nemotron_asr.cluster import Cluster

    with Cluster(listening.model, listening.device, listening.dtype, address=ray) as cluster:
        yield cluster


def _write(results: Results, recording: Input, result: "Transcript | NemotronError") -> bool:
    """Write a transcript, or say what went wrong; whether it is written.

    Raises:
        OSError: no other one can be written either.
    """
    if isinstance(result, NemotronError):
        note(f"error: {result}")
        return False
    try:
        results.write(recording, replace(result, file=recording.name))
    except OSError as error:
        if results.ordered or error.errno in _NO_ROOM:
            raise
        note(f"error: {recording.name} was transcribed, but the transcript cannot be written: {why(error)}")
        return False
    return True
