"""Decoded audio on disk: every recording is decoded once, and read from there in every step."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemotron_asr.audio import Samples
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.corpus.parts import PartReader
from nemotron_asr.drafts import drafted
from nemotron_asr.errors import AudioError, printable

log = logging.getLogger(__name__)


class AudioCache:
    """The decoded audio of a list of clips as one memory-mapped file of 16-bit samples.

    Attributes:
        name: that of the list, with what tells it from another list of this name.
        lengths: samples of every clip.
        problems: why a clip has none, by its place in the list.
    """

    def __init__(self, clips: Sequence[Clip], folder: Path, name: str) -> None:
        """Open the cache of `clips`, or decode them all; clips that cannot be decoded have length zero."""
        self.name = f"{name}-{_fingerprint(clips)}"
        index, data = folder / f"{self.name}.json", folder / f"{self.name}.pcm"
        if not index.exists():
            folder.mkdir(parents=True, exist_ok=True)
            lengths, problems = _decode(clips, data)
            with drafted(index) as draft:
                draft.write_text(json.dumps({"lengths": lengths, "problems": problems}))
        told = json.loads(index.read_text())
        told = {"lengths": told, "problems": {}} if isinstance(told, list) else told  # as older versions wrote it
        self.lengths: NDArray[np.int64] = np.array(told["lengths"], dtype=np.int64)
        self.problems: dict[int, str] = {int(row): problem for row, problem in told["problems"].items()}
        self._ends = np.cumsum(self.lengths)
        self._path = data

    @cached_property
    def _data(self) -> NDArray[np.int16]:
        return np.memmap(self._path, dtype=np.int16, mode="r") if self.lengths.any() else np.zeros(0, np.int16)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: it maps the file itself, for a map would be sent as all that is in it."""
        return {name: value for name, value in vars(self).items() if name != "_data"}

    def __getitem__(self, clip: int) -> Samples:
        """The samples of one clip, float32 in [-1, 1)."""
        end = self._ends[clip]
        return self._data[end - self.lengths[clip] : end].astype(np.float32) / np.float32(32768)


def _fingerprint(clips: Sequence[Clip]) -> str:
    """Changes when a file of the list is replaced, or another part of it is meant."""
    lines = (f"{clip.path}|{_stamp(clip.path)}{clip.part}\n" for clip in clips)
    return hashlib.sha256("".join(lines).encode(errors="surrogatepass")).hexdigest()[:16]


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change of a file; None where nobody can look into it."""
    try:
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) if os.access(path, os.R_OK) else None
    except (OSError, ValueError):
        return None


def _decode(clips: Sequence[Clip], target: Path) -> tuple[list[int], dict[int, str]]:
    """Write the samples of all clips one after the other; returns their numbers, and why there are none, by place."""
    log.info("decoding %d clips into %s", len(clips), target)
    lengths: list[int] = []
    problems: dict[int, str] = {}
    recordings = PartReader()
    with drafted(target) as draft, draft.open("wb") as file:
        for clip in clips:
            try:
                samples = recordings.read(clip.path, clip.part)
            except AudioError as error:
                problems[len(lengths)] = printable(str(error))
                log.warning("left out: %s", problems[len(lengths)])
                samples = np.zeros(0, np.float32)
            file.write(np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16).tobytes())
            lengths.append(len(samples))
    return lengths, problems
