"""Where live samples come from, packet by packet."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.errors import AudioError

_CONTAINERS = {
    (0, b"RIFF"): "WAV",
    (0, b"FORM"): "AIFF",
    (0, b"OggS"): "Ogg",
    (0, b"fLaC"): "FLAC",
    (0, b"ID3"): "MP3",
    (4, b"ftyp"): "MP4",
    (0, b"\x1a\x45\xdf\xa3"): "Matroska or WebM",
}
"""What is found at which byte of files that are no raw samples."""


@dataclass(frozen=True)
class Packets:
    """Mono samples, int16 or float32, and their rate in Hz."""

    samples: Iterator[NDArray[np.int16] | NDArray[np.float32]]
    rate: int = SAMPLE_RATE


def from_file(path: str, seconds: float) -> Packets:
    """A recording, as fast as it can be heard."""
    from nemotron_asr.audio import read_blocks

    return Packets(read_blocks(path, block_seconds=seconds))


def from_stdin(seconds: float) -> Packets:
    """Raw 16-bit little-endian samples at 16 kHz, as they arrive."""
    return Packets(_raw_samples(2 * int(seconds * SAMPLE_RATE)))


def _raw_samples(most: int) -> Iterator[NDArray[np.int16]]:
    if sys.stdin is None:
        raise AudioError("standard input is closed")
    held = os.read(sys.stdin.fileno(), most)
    if not held:
        raise AudioError("standard input: no audio samples")
    for (place, magic), name in _CONTAINERS.items():
        if held.startswith(magic, place):
            raise AudioError(f"standard input: this is {name}, not raw 16-bit samples; give the file's name instead")
    while data := held:
        whole = len(data) // 2 * 2
        if whole:
            yield np.frombuffer(data[:whole], "<i2")
        more = os.read(sys.stdin.fileno(), most)
        held = data[whole:] + more if more else b""


class UntilInterrupted:
    """Packets up to Ctrl-C, which ends them while they are waited for, and never in the middle of anything else.

    Attributes:
        interrupted: whether Ctrl-C was what ended them.
    """

    def __init__(self, packets: Iterable[NDArray[np.int16] | NDArray[np.float32]]) -> None:
        self.interrupted = False
        self._packets = iter(packets)
        self._waiting = False

    def __iter__(self) -> Iterator[NDArray[np.int16] | NDArray[np.float32]]:
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            while (packet := self._next()) is not None:
                yield packet
        finally:
            signal.signal(signal.SIGINT, before)

    def _next(self) -> NDArray[np.int16] | NDArray[np.float32] | None:
        if self.interrupted:
            return None
        try:
            self._waiting = True
            return next(self._packets, None)
        except KeyboardInterrupt:
            return None
        finally:
            self._waiting = False

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        self.interrupted = True
        if self._waiting:
            raise KeyboardInterrupt
