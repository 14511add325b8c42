"""A part of a recording, which is what a manifest's line with an `offset` means."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

from nemotron_asr.audio import Samples, load
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.errors import AudioError

SLACK = 0.1
"""Seconds by which a part may end behind its recording, for durations are rounded."""


@dataclass(frozen=True)
class Part:
    """A part of a recording, or all of it. As text it is what may follow the name, as in a web address (`#t=10,12`)."""

    begin: float = 0.0  # seconds
    end: float = math.inf  # seconds; infinity: that of the recording

    def __str__(self) -> str:
        if self == WHOLE:
            return ""
        return f"#t={self.begin}" if self.end == math.inf else f"#t={self.begin},{self.end}"

    def of(self, samples: Samples, path: Path | str) -> Samples:
        """The samples of the part.

        Args:
            samples: of the whole recording, at 16 kHz.
            path: its name.

        Raises:
            AudioError: the part begins, or ends by more than `SLACK`, behind the end of the recording.
        """
        length = len(samples) / SAMPLE_RATE
        end = min(self.end, length)
        if self.begin >= end or length + SLACK < self.end < math.inf:
            raise AudioError(f"{path}{self} is not a part of the recording, which has {length:.2f} s")
        return samples[round(self.begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


WHOLE = Part()
"""All of a recording."""


class PartReader:
    """Decodes a recording once for all of its parts, if these follow one another. Threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._load = lru_cache(maxsize=2)(load)  # one thread may be in the next recording already

    def read(self, path: Path | str, part: Part) -> Samples:
        """The samples of a part.

        Raises:
            AudioError: the recording cannot be decoded, or has no such part.
        """
        if part == WHOLE:
            return load(path)
        with self._lock:
            whole = self._load(path)
        return part.of(whole, path)
