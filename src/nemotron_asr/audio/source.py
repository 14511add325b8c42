"""Anything that holds a recording -> mono float32 at 16 kHz: whole, or block by block."""

import itertools
import operator
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import av
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nemotron_asr.audio.container import FileSource, audio_stream, decode, open_container
from nemotron_asr.audio.resampler import Resampler, checked_rate
from nemotron_asr.audio.samples import Samples, parts, to_mono, to_planes
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.errors import AudioError, OptionError

AudioSource: TypeAlias = FileSource | tuple[ArrayLike, int]
"""A path, the bytes of a file, a binary file object (read from its start), or (samples, sample rate)."""


def load(source: AudioSource, *, channel: int | None = None) -> Samples:
    """Decode a whole source.

    Args:
        source: a path, the bytes of a file, a binary file object, or (samples, sample rate).
        channel: the only channel to hear, counted from 0; None averages all of them.

    Returns:
        Mono samples at 16 kHz, shape (samples,).

    Raises:
        AudioError: as `read_blocks`.
        OptionError: the source has no such channel.
    """
    return np.concatenate(list(read_blocks(source, channel=channel)))


def read_blocks(source: AudioSource, *, block_seconds: float = 10.0, channel: int | None = None) -> Iterator[Samples]:
    """Decode a source block by block, in constant memory; the blocks joined do not depend on their size.

    The first audio track is heard. Damage is stepped over: whatever can be decoded is returned.

    Args:
        source: a path, the bytes of a file, a binary file object, or (samples, sample rate).
        block_seconds: length of every block but the last, in seconds.
        channel: the only channel to hear, counted from 0; None averages all of them.

    Yields:
        Mono samples at 16 kHz, shape (samples,), never empty.

    Raises:
        AudioError: nothing could be decoded, or the samples are not usable; the message names the source.
        OptionError: the source has no such channel, or a block is shorter than a sample.
    """
    size = int(block_seconds * SAMPLE_RATE)
    if size < 1:
        raise OptionError(f"block_seconds {block_seconds!r} is less than one sample at {SAMPLE_RATE} Hz")
    with _naming(source):
        empty = True
        for block in _regroup(_resample(_pieces(source, channel)), size):
            empty = False
            yield block
        if empty:
            raise AudioError("no audio samples")


def probe_duration(source: AudioSource) -> float | None:
    """Seconds of audio as the container claims them, without decoding; None when it does not say. Exact for arrays.

    Raises:
        AudioError: the source cannot be opened or has no audio track.
    """
    with _naming(source):
        if isinstance(source, tuple):
            samples, rate = source
            return float(to_planes(samples).shape[1] / checked_rate(rate))
        if hasattr(source, "seekable") and not source.seekable():
            return None  # looking would consume what is to be decoded
        with open_container(source) as container:
            stream = audio_stream(container)
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
            return float(container.duration / av.time_base) if container.duration else None


@contextmanager
def _naming(source: AudioSource) -> Iterator[None]:
    """Put the source's name before every message."""
    try:
        yield
    except (AudioError, OptionError) as error:
        raise type(error)(f"{_name(source)}: {error}") from error.__cause__


def _name(source: AudioSource) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "array" if isinstance(source, tuple) else type(source).__name__


def _pieces(source: AudioSource, channel: int | None) -> Iterator[tuple[Samples, int]]:
    """Yield (mono samples, rate)."""
    first = 0
    for planes, rate in _split(*source) if isinstance(source, tuple) else decode(source):
        yield to_mono(planes, channel, first=first), rate
        first += planes.shape[1]


def _split(samples: ArrayLike, rate: int) -> Iterator[tuple[NDArray[Any], int]]:
    return ((planes, rate) for planes in parts(to_planes(samples)))


def _resample(pieces: Iterable[tuple[Samples, int]]) -> Iterator[Samples]:
    """Bring pieces of (mono samples, rate) to 16 kHz; the rate may change from one to the next."""
    for rate, run in itertools.groupby(pieces, key=operator.itemgetter(1)):
        resampler = Resampler(rate)
        for second in _regroup((samples for samples, _ in run), resampler.rate):  # few calls, not one per codec frame
            yield resampler.feed(second)
        yield resampler.finish()


def _regroup(pieces: Iterable[Samples], size: int) -> Iterator[Samples]:
    """Cut a sequence of arrays into arrays of `size`; the last may be shorter, none is empty."""
    held: list[Samples] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count >= size:
            joined = np.concatenate(held)
            whole = count - count % size
            yield from (joined[start : start + size] for start in range(0, whole, size))
            held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)
