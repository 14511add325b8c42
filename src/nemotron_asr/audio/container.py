"""Files of any container and codec -> planes of samples, as FFmpeg's libraries decode them."""

import io
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from nemotron_asr.audio.samples import MAX_CHANNELS, MAX_LEVEL, Samples
from nemotron_asr.errors import AudioError

FileSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO


BLOCK = 1 << 14
"""Samples of a recording that are given at once: many cost less than few."""

LATE = 0.2
"""Seconds by which a frame may come late on the container's clock, which is rounded."""

MOST_SILENCE = 3600.0
"""Seconds of silence that are put into a recording in all; a clock that goes further was set on the way."""

LOOK = "200000"
"""Microseconds of a live stream at which FFmpeg looks first, to find out what it is; of a file it may be 5 s."""


def decode(source: FileSource, *, live: bool = False, on_time: bool = True) -> Iterator[tuple[Samples, int]]:
    """Decode the first audio track, stepping over damage.

    Args:
        source: of which it is read what is needed next.
        live: give samples as soon as they are there, however few.
        on_time: give silence where the container's clock says that nothing was recorded.

    Yields:
        Samples, float32 of shape (channels, samples), and their rate in Hz; channels and rate may change on the way.

    Raises:
        AudioError: nothing could be decoded.
    """
    with open_container(source, live=live) as container:
        exact = audio_stream(container).codec_context.name.startswith("pcm_")  # else wild values are a codec's damage
        frames = _frames(container)
        for _, run in itertools.groupby(_on_time(frames, container) if on_time else frames, key=_kind):
            for frame in _packed(run, 0 if live else BLOCK):
                samples = np.asarray(frame.to_ndarray(), np.float32)
                if not exact:
                    samples = np.where(np.abs(samples) <= MAX_LEVEL, samples, np.float32(0))
                yield samples.reshape(frame.samples, -1).T, frame.sample_rate


def contents(file: BinaryIO) -> bytes:
    """All bytes of a file object, from its start on.

    Raises:
        AudioError: it is empty or open as text, or raised an error.
    """
    with _reading():
        _rewind(_checked(file))
        return file.read()


@contextmanager
def open_container(source: FileSource, *, live: bool = False) -> Iterator[InputContainer]:
    """Open the container of a path, bytes or file object; of one that is `live`, without reading far ahead.

    FFmpeg is handed an open file and an empty list of protocols, so that a playlist can neither open other files nor
    reach the network.

    Raises:
        AudioError: there is no such file, or nothing that FFmpeg knows in it, or a file object raised an error.
    """
    with ExitStack() as stack:
        with _reading():
            file = stack.enter_context(_open_file(source))
            _rewind(file)
            options = {"protocol_whitelist": ""} | ({"analyzeduration": LOOK} if live else {})
            container = av.open(file, "r", metadata_errors="replace", container_options=options)
            stack.enter_context(container)
        yield container


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever is wrong with a file is an `AudioError`."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, TypeError) as error:
        raise AudioError(_reason(error)) from error
    except (ImportError, MemoryError):
        raise  # not the file's fault
    except Exception as error:  # what somebody's own file object raises
        raise AudioError(_failed(error)) from error


def audio_stream(container: InputContainer) -> AudioStream:
    """Find the first audio track.

    Raises:
        AudioError: there is none, no decoder for it, or it has too many channels.
    """
    if not container.streams.audio:
        raise AudioError("there is no audio track")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise AudioError("there is no decoder for the audio track")
    if stream.channels > MAX_CHANNELS:
        raise AudioError(f"{stream.channels} channels are too many; at most {MAX_CHANNELS} are accepted")
    return stream


def _frames(container: InputContainer) -> Iterator[av.AudioFrame]:
    """Decode frames; damage is an error only if there is nothing else."""
    stream = audio_stream(container)
    problem, heard = "no audio samples", False
    for packet in itertools.chain(_packets(container, stream), [None]):  # None empties the decoder
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            problem = _reason(error)
            continue
        heard = heard or bool(frames)
        yield from frames
    if not heard:
        raise AudioError(problem)


def _on_time(frames: Iterable[av.AudioFrame], container: InputContainer) -> Iterator[av.AudioFrame]:
    """Put silence where nothing was recorded, be it before the first frame: a subtitle is shown by a player's clock."""
    start = cast("int | None", container.start_time)  # PyAV's types do not know that it may be missing
    if start is None:
        yield from frames
        return
    now, left = start / av.time_base, MOST_SILENCE
    for frame in frames:
        late = 0.0 if frame.time is None else frame.time - now
        if late > LATE:
            if late <= left:
                left -= late
                yield from _silence(frame, round(late * frame.sample_rate))
            now += late
        yield frame
        now += frame.samples / frame.sample_rate


def _silence(like: av.AudioFrame, samples: int) -> Iterator[av.AudioFrame]:
    """Silent frames of the kind of another one."""
    nothing = b"\x80" if like.format.name.startswith("u8") else b"\0"
    for start in range(0, samples, BLOCK):
        frame = av.AudioFrame(like.format.name, like.layout.name, min(BLOCK, samples - start))
        frame.sample_rate = like.sample_rate
        for plane in frame.planes:
            plane.update(nothing * plane.buffer_size)
        yield frame


def _kind(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _packed(frames: Iterable[av.AudioFrame], block: int) -> Iterator[av.AudioFrame]:
    """Convert frames of one kind to interleaved float32, inside FFmpeg.

    PyAV's own `to_ndarray` reads beyond the planes of a planar frame of eight channels or more, and crashes.
    """
    converter = av.AudioResampler(format="flt", frame_size=block)
    for frame in itertools.chain(frames, [None]):
        yield from converter.resample(frame)


def _packets(container: InputContainer, stream: AudioStream) -> Iterator["av.Packet[AudioStream]"]:
    """Read packets up to the end, or to where a truncated container breaks off."""
    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except av.FFmpegError:
        return
    except OSError as error:
        raise AudioError(_reason(error)) from error
    except Exception as error:  # what somebody's own file object raises
        raise AudioError(_failed(error)) from error


def _open_file(source: FileSource) -> AbstractContextManager[BinaryIO]:
    """Open what is ours to close; the caller's file object stays open."""
    if isinstance(source, str | os.PathLike):
        return Path(source).open("rb")
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    return nullcontext(_checked(source))


def _checked(source: BinaryIO) -> BinaryIO:
    if not hasattr(source, "read"):
        raise TypeError("audio is a path, bytes, a binary file object or (samples, sample rate)")
    if _is_text(source):
        raise TypeError("this file is open as text; open it in binary mode, 'rb'")
    return source


def _is_text(file: object) -> bool:
    return isinstance(file, io.TextIOBase)


def _rewind(file: BinaryIO) -> None:
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        if not file.seek(0, os.SEEK_END):
            raise ValueError("the file is empty")
        file.seek(0)


def _reason(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the file ends before its audio begins"
    if isinstance(error, av.error.InvalidDataError):
        return "this is not audio or video that can be decoded (or it was cut off)"
    return str(getattr(error, "strerror", None) or error)


def _failed(error: Exception) -> str:
    """What a caller's file object has raised, which may be anything."""
    return f"reading failed: {error!r}"
