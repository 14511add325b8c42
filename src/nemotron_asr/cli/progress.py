"""A progress bar on standard error, if that is a terminal: it moves as recordings are read."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from nemotron_asr.cli.inputs import Input

if TYPE_CHECKING:
    from nemotron_asr.audio import AudioSource


class Meter:
    """How far a list of recordings has come, by the bytes read of them."""

    def __init__(self, recordings: Sequence[Input]) -> None:
        self._recordings = recordings
        self._files: dict[int, _Reading | None] = {}
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        sizes = sum(map(_size, recordings))
        self._task = self._bar.add_task("loading the model", total=sizes or None)
        self._done = 0

    def __enter__(self) -> Self:
        self._show()
        return self

    def __exit__(self, *_: object) -> None:
        self._hide()
        with ExitStack() as stack:
            for file in filter(None, self._files.values()):
                stack.callback(file.close)

    def sources(self) -> "Iterator[AudioSource]":
        """What to transcribe, each opened when its turn comes; what cannot be opened stays a path."""
        self._describe()
        for number, recording in enumerate(self._recordings):
            file = self._files[number] = self._open(recording)
            yield file or recording.name

    def paths(self) -> Iterator[str]:
        """What to transcribe, for others to open: the bar moves when a recording is done."""
        self._describe()
        return (recording.name for recording in self._recordings)

    def finished(self, number: int) -> None:
        """A recording is done."""
        file = self._files.pop(number, None)
        if file is not None:
            file.close()
        self._bar.advance(self._task, file.unread if file else _size(self._recordings[number]))
        self._done += 1
        self._describe()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Make way for something else on the terminal."""
        self._hide()
        yield
        self._show()

    def _open(self, recording: Input) -> "_Reading | None":
        try:
            return _Reading(recording.name, self)
        except OSError:
            return None

    def advance(self, count: int) -> None:
        """So many bytes were read."""
        self._bar.advance(self._task, count)

    def _describe(self) -> None:
        several = len(self._recordings) > 1
        text = f"{self._done} of {len(self._recordings)}" if several else Path(self._recordings[0].name).name
        self._bar.update(self._task, description=text)

    def _show(self) -> None:
        if sys.stderr.isatty():
            self._bar.start()

    def _hide(self) -> None:
        if sys.stderr.isatty():
            self._bar.stop()


class _Reading(io.FileIO):
    """A file that tells how much of it is read."""

    def __init__(self, path: str, meter: Meter) -> None:
        super().__init__(path)
        self._meter = meter
        self.unread = Path(path).stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size) or b""
        self.unread -= len(data)
        self._meter.advance(len(data))
        return data


def _size(recording: Input) -> int:
    try:
        return Path(recording.name).stat().st_size
    except OSError:
        return 0
