"""Which recording each transcript in a folder is of, so that another one of the same name is not taken for it."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePath

LIST = ".transcripts.jsonl"
"""The file beside the transcripts, a line for each of them."""

EDGE = 1 << 16
"""Bytes at both ends of a recording that, with its size, tell it from others."""


@dataclass(frozen=True)
class Origin:
    """A recording: where it was, and what tells it from others wherever it is now, if anything does."""

    path: str
    mark: str

    @classmethod
    def of(cls, path: Path) -> "Origin":
        """That of a file; without a mark where it cannot be read, or not once more."""
        return cls(str(path.absolute()), _mark(path))


def _mark(path: Path) -> str:
    try:
        if not path.is_file():  # a pipe with a name would be waited for
            return ""
        with path.open("rb") as file:
            size, head = os.fstat(file.fileno()).st_size, file.read(EDGE)
            file.seek(max(EDGE, size - EDGE))
            return hashlib.sha256(b"%d " % size + head + file.read(EDGE)).hexdigest()
    except (OSError, ValueError):
        return ""


class Provenance:
    """The origins of all transcripts in a folder, by their names in it."""

    def __init__(self, folder: Path) -> None:
        self._list = folder / LIST
        self._known: dict[str, Origin] = {}
        self.look()

    def look(self) -> None:
        """See what is known by now: another run may be writing to the same folder."""
        if self._list.is_file():
            for line in self._list.read_text(encoding="utf-8", errors="replace").splitlines():
                self._take(line)

    def _take(self, line: str) -> None:
        """Read a line; one that was cut off by a kill says nothing."""
        try:
            entry = json.loads(line)
            self._known[str(entry["transcript"])] = Origin(str(entry["recording"]), str(entry["mark"]))
        except (ValueError, TypeError, KeyError):
            return

    def same(self, place: PurePath, recording: Path) -> bool:
        """Whether a transcript is of just this recording."""
        known = self._known.get(place.as_posix())
        return known is not None and known.mark != "" and known.mark == Origin.of(recording).mark

    def foreign(self, place: PurePath) -> bool:
        """Whether a file is there that nothing is known of: it is the user's own."""
        return place.as_posix() not in self._known and os.path.lexists(self._list.parent / place)

    def other(self, place: PurePath, recording: Path) -> str:
        """The path of another recording that a transcript is of; nothing if it is of this one, now or as it was."""
        known = self._known.get(place.as_posix())
        if known is None or known.path == str(recording.absolute()) or self.same(place, recording):
            return ""
        return known.path

    def add(self, place: PurePath, recording: Path) -> None:
        """A transcript is about to be written.

        Raises:
            OSError: the list cannot be written.
        """
        origin = Origin.of(recording)
        self._known[place.as_posix()] = origin
        entry = {"transcript": place.as_posix(), "recording": origin.path, "mark": origin.mark}
        with self._list.open("ab+") as file:
            file.seek(-min(file.tell(), 1), os.SEEK_END)
            torn = file.read() not in {b"", b"\n"}  # a kill has cut the last line off
            file.write(b"\n" * torn + json.dumps(entry).encode() + b"\n")
