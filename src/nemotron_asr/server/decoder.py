"""The process in which foreign media are decoded: bytes in, mono float32 at 16 kHz out. It may be killed at any time.

python -m nemotron_asr.server.decoder MEGABYTES SECONDS

The first line of standard input is JSON: `path`, null if the media follow on standard input; `channel`; `on_time`,
whether the container's clock counts; or `count`, if only the number of channels is wanted, which is written alone.
Otherwise `HEADER` is before every piece of the samples, and alone before more of standard input is waited for: what was
taken has then been heard, as far as that is possible.
What goes wrong is one line on standard error, and the exit status is 3.
"""

import importlib.util
import io
import itertools
import json
import operator
import os
import struct
import sys
from collections.abc import Iterator

import numpy as np

from nemotron_asr.audio import Resampler, Samples
from nemotron_asr.audio.container import audio_stream, decode, open_container
from nemotron_asr.audio.samples import to_mono
from nemotron_asr.errors import AudioError, OptionError

HEADER = struct.Struct("<QI")
"""Bytes of the media that were taken so far, and bytes of samples that follow; none: all that was taken was heard."""

PIECE = 1 << 16
"""Bytes of samples that follow a header at most: a second."""

SPOILT = 3
"""The exit status of a process whose media were not usable."""


def main(megabytes: int, seconds: int) -> int:
    """Decode what standard input asks for.

    Args:
        megabytes: of memory that may be taken.
        seconds: of computing.
    """
    _limit(megabytes << 20, seconds)
    stdin, stdout = io.FileIO(0, "r"), io.FileIO(1, "w")
    request = json.loads(_line(stdin))
    media = Media(stdout)
    try:
        if request.get("count"):
            stdout.write(str(_channels(request["path"])).encode())
        else:
            for samples in _samples(request["path"] or media, request["channel"], on_time=request["on_time"]):
                media.give(samples.tobytes())
    except (AudioError, OptionError) as error:
        os.write(2, " ".join(str(error).split()).encode())
        return SPOILT
    except BrokenPipeError:
        return SPOILT
    return 0


class Media(io.FileIO):
    """The bytes of standard input, and on standard output what they were heard as, behind headers."""

    def __init__(self, stdout: io.FileIO) -> None:
        super().__init__(0, "r", closefd=False)
        self._stdout, self._taken = stdout, 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Take what is there; wait for it, once it is told that all before was heard."""
        self._stdout.write(HEADER.pack(self._taken, 0))
        data = super().read(size) or b""
        self._taken += len(data)
        return data

    def give(self, samples: bytes) -> None:
        """Write samples, of what was taken so far."""
        for start in range(0, len(samples), PIECE):
            piece = samples[start : start + PIECE]
            self._stdout.write(HEADER.pack(self._taken, len(piece)) + piece)


def _samples(source: str | Media, channel: int | None, *, on_time: bool) -> Iterator[Samples]:
    """Blocks; of a live stream as they come, so that it is heard at once."""
    heard, live = False, not isinstance(source, str)
    for rate, run in itertools.groupby(decode(source, live=live, on_time=on_time), key=operator.itemgetter(1)):
        resampler = Resampler(rate)
        for planes, _ in run:
            heard = heard or planes.size > 0
            yield resampler.feed(np.ascontiguousarray(to_mono(planes, channel)))
        yield resampler.finish()
    if not heard:
        raise AudioError("no audio samples")


def _channels(source: str) -> int:
    with open_container(source) as container:
        return audio_stream(container).channels


def _line(stdin: io.FileIO) -> bytes:
    """The first line, and no byte of what follows it."""
    return b"".join(iter(lambda: stdin.read(1), b"\n"))


def _limit(memory: int, seconds: int) -> None:
    """Take what is needed and no more, where the system can enforce it."""
    if importlib.util.find_spec("resource") is None:  # Windows
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
