"""What was recognized, on disk, one clip a line, so that a long evaluation goes on where it stopped."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.errors import NemotronError, OptionError
from nemotron_asr.evaluation.recognition import Mode, Recognition, TimedWord, recognize_all
from nemotron_asr.recognizer import Recognizer

Key = tuple[str, str, str, Mode, int]
"""Audio, locale, reference, mode, latency."""


class Records:
    """What was heard so far, and is heard now; in memory, and in a file if there is one. A context manager.

    The first line of the file says which model heard, and the others are recognitions, each written at once. What
    another model heard is not taken for this one's.

    Raises:
        OptionError: the file belongs to another model, or is none of ours.
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path | None, model: Mapping[str, str]) -> None:
        self._recognitions: dict[Key, Recognition] = {}
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size:
                self._read(path, model)
            self._file = path.open("a", encoding="utf-8", errors="surrogatepass", newline="\n")
            if not self._file.tell():
                self._write(dict(model))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def find(self, clip: Clip, mode: Mode, latency_ms: int) -> Recognition | None:
        """The recognition of a clip in this manner, if there was one; the ends of its words may be known since."""
        found = self._recognitions.get((clip.name, clip.language, clip.text, mode, latency_ms))
        return replace(found, ends=clip.ends or found.ends) if found else None

    def add(self, recognition: Recognition) -> None:
        """Keep a recognition."""
        self._keep(recognition)
        self._write(asdict(recognition))

    def _keep(self, heard: Recognition) -> None:
        self._recognitions[heard.audio, heard.locale, heard.reference, heard.mode, heard.latency_ms] = heard

    def _write(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._file.flush()

    def _read(self, path: Path, model: Mapping[str, str]) -> None:
        """Take the whole lines; the end of one that was being written when the machine stopped is cut off."""
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            entries = [json.loads(line) for line in whole.splitlines()]
            recognitions = [_recognition(entry) for entry in entries[1:]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise OptionError(f"{path} does not hold results of an evaluation: {error}") from error
        if entries and entries[0] != dict(model):
            raise OptionError(f"{path} holds results of {entries[0]}, this is {dict(model)}; give another file")
        for recognition in recognitions:
            self._keep(recognition)
        if len(whole) < len(content):
            path.write_bytes(whole)


def recognize_rest(
    recognizer: Recognizer,
    clips: Sequence[Clip],
    manners: Iterable[tuple[Mode, int]],
    records: Records,
    batch: int,
    beam: int = 1,
) -> Iterator[Recognition | NemotronError]:
    """All clips in all manners (mode, latency); what the records have is not heard again, what is new is added.

    Args:
        batch: clips heard at once.
        beam: hypotheses that are followed at a time.

    Raises:
        OptionError: there are no beams of this width.
    """
    for mode, latency_ms in manners:
        known = [records.find(clip, mode, latency_ms) for clip in clips]
        yield from filter(None, known)
        rest = [clip for clip, heard in zip(clips, known, strict=True) if heard is None]
        for heard in recognize_all(recognizer, rest, mode, latency_ms, batch, beam):
            if isinstance(heard, Recognition):
                records.add(heard)
            yield heard


def _recognition(entry: dict[str, Any]) -> Recognition:
    words = tuple(TimedWord(**word) for word in entry["words"])
    return Recognition(**{**entry, "mode": Mode(entry["mode"]), "words": words, "ends": tuple(entry["ends"])})
