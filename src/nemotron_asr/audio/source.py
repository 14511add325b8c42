"""Anything that holds a recording -> mono float32 at 16 kHz: whole, or block by block."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeAlias

import av
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nemotron_asr.audio.container import FileSource, audio_stream, contents, decode, open_container
from nemotron_asr.audio.resampler import Resampler, checked_rate
from nemotron_asr.audio.samples import Samples, parts, to_channels, to_mono, to_planes
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.errors import AudioError, OptionError

AudioSource: TypeAlias = FileSource | tuple[ArrayLike, int]
"""A path, the bytes of a file, a binary file object (read from its start), or (samples, sample rate)."""

_Hear: TypeAlias = Callable[[NDArray[Any], int], Samples]
"""Planes of samples and the place of their first -> what is heard of them, shape (channels, samples)."""


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

    def hear(planes: NDArray[Any], first: int) -> Samples:
        return to_mono(planes, channel, first=first)[None]

    for block in _blocks(source, block_seconds, hear):
        yield block[0]


def read_channels(source: AudioSource, *, block_seconds: float = 10.0) -> Iterator[Samples]:
    """Decode a source once, block by block like `read_blocks`, all channels side by side.

    Yields:
        Samples at 16 kHz, shape (channels, samples), never empty, with the same channels in every block.

    Raises:
        AudioError: as `read_blocks`; or the number of channels changes on the way.
        OptionError: a block is shorter than a sample.
    """
    return _blocks(source, block_seconds, to_channels)


def _blocks(source: AudioSource, seconds: float, hear: _Hear) -> Iterator[Samples]:
    size = int(seconds * SAMPLE_RATE)
    if size < 1:
        raise OptionError(f"block_seconds {seconds!r} is less than one sample at {SAMPLE_RATE} Hz")
    with _naming(source):
        pieces = _pieces(source, hear)
        first = next((piece for piece in pieces if piece[0].size), None)
        if first is None:
            raise AudioError("no audio samples")
        blocks = _regroup(_resample(itertools.chain([first], pieces)), size)
        yield next(blocks, np.zeros((len(first[0]), 1), np.float32))  # what makes no sample at 16 kHz is one of silence
        yield from blocks


def read_file(file: BinaryIO) -> bytes:
    """All bytes of a file object, from its start on.

    Raises:
        AudioError: it is empty or open as text, or raised an error; the message names it.
    """
    with _naming(file):
        return contents(file)


def probe_duration(source: AudioSource) -> float | None:
    """Seconds of audio as the container claims them, without decoding; None when it does not say. Exact for arrays.

    Raises:
        AudioError: the source cannot be opened or has no audio track.
    """
    with _naming(source):
        if isinstance(source, tuple):
            samples, rate = _pair(source)
            return float(to_planes(samples).shape[1] / checked_rate(rate))
        if hasattr(source, "read") and not (hasattr(source, "seekable") and source.seekable()):
            return None  # looking would consume what is to be decoded
        with open_container(source) as container:
            stream = audio_stream(container)
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
            return float(container.duration / av.time_base) if container.duration else None


def _pair(source: tuple[Any, ...]) -> tuple[ArrayLike, int]:
    if len(source) != 2:
        raise AudioError(f"a tuple of {len(source)} is no audio; give (samples, sample rate)")
    return source


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


def _pieces(source: AudioSource, hear: _Hear) -> Iterator[tuple[Samples, int]]:
    """Yield (samples, rate)."""
    first = 0
    for planes, rate in _split(source) if isinstance(source, tuple) else decode(source):
        yield hear(planes, first), rate
        first += planes.shape[1]


def _split(source: tuple[ArrayLike, int]) -> Iterator[tuple[NDArray[Any], int]]:
    samples, rate = _pair(source)
    return ((planes, rate) for planes in parts(to_planes(samples)))


def _resample(pieces: Iterable[tuple[Samples, int]]) -> Iterator[Samples]:
    """Bring pieces of (samples, rate) to 16 kHz; the rate may change from one to the next, the channels may not."""
    before: int | None = None
    for (rate, channels), run in itertools.groupby(pieces, key=_kind):
        if before not in {None, channels}:
            raise AudioError(f"the number of channels changes from {before} to {channels}; mix them")
        before, resamplers = channels, [Resampler(rate) for _ in range(channels)]
        for second in _regroup((samples for samples, _ in run), resamplers[0].rate):  # few calls, not one per frame
            yield np.stack([resampler.feed(row) for resampler, row in zip(resamplers, second, strict=True)])
        yield np.stack([resampler.finish() for resampler in resamplers])


def _kind(piece: tuple[Samples, int]) -> tuple[int, int]:
    samples, rate = piece
    return rate, len(samples)


def _regroup(pieces: Iterable[Samples], size: int) -> Iterator[Samples]:
    """Cut a sequence of arrays along the samples into arrays of `size`; the last may be shorter, none is empty."""
    held: list[Samples] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += piece.shape[1]
        if count >= size:
            joined = np.concatenate(held, axis=1)
            whole = count - count % size
            yield from (joined[:, start : start + size] for start in range(0, whole, size))
            held, count = [joined[:, whole:]], count - whole
    if count:
        yield np.concatenate(held, axis=1)
