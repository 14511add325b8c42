"""The header of a WAV file at the beginning of a live stream, as clients send it that stream files byte by byte."""

import struct
from dataclasses import dataclass, replace

from nemotron_asr.server.formats import AudioFormat
from nemotron_asr.server.problems import invalid

LONGEST_HEADER = 1 << 16
"""Bytes within which the samples must begin."""

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_ENCODINGS = {
    (_PCM, 8): "u8", (_PCM, 16): "s16le", (_PCM, 24): "s24le", (_PCM, 32): "s32le",
    (_FLOAT, 32): "f32le", (_ALAW, 8): "alaw", (_MULAW, 8): "mulaw",
}  # fmt: skip


@dataclass(frozen=True)
class WavHeader:
    """What a header says, and where the samples begin.

    Attributes:
        form: the samples; None if they are of a kind that is not plain.
        start: bytes before the samples.
        length: bytes of samples; None if the header does not say, as when it was written before them.
    """

    form: AudioFormat | None
    start: int
    length: int | None


def is_wav(head: bytes) -> bool:
    """Whether a stream begins as WAV files do."""
    return head[:4] == b"RIFF" and head[8:12] == b"WAVE"


def read_header(data: bytes, form: AudioFormat) -> WavHeader | None:
    """Read the header of a stream that begins with `data`; None while it is not whole.

    Args:
        data: the stream so far.
        form: what the client says of it; the header wins.

    Raises:
        Problem: it is damaged.
    """
    position, described, plain = 12, False, None
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if name == b"data":
            if not described:
                raise invalid("the WAV header does not say what its samples are")
            return WavHeader(plain, body, None if size in {0, 0xFFFFFFFF} else size)
        if name == b"fmt " and body + max(size, 16) <= len(data):
            described, plain = True, _described(data[body : body + size], form)
        position = body + size + size % 2
        if position > LONGEST_HEADER:
            break
    if len(data) > LONGEST_HEADER or position > LONGEST_HEADER:
        raise invalid(f"the WAV header has no samples in its first {LONGEST_HEADER} bytes")
    return None


def _described(chunk: bytes, form: AudioFormat) -> AudioFormat | None:
    if len(chunk) < 16:
        raise invalid(f"the WAV header's description of its samples has {len(chunk)} bytes, not 16")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == _EXTENSIBLE and len(chunk) >= 26:
        (kind,) = struct.unpack_from("<H", chunk, 24)
    encoding = _ENCODINGS.get((kind, bits))
    return replace(form, encoding=encoding, rate=rate, channels=channels) if encoding else None
