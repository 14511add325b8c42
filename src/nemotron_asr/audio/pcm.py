"""Bytes of plain samples -> arrays: linear, mu-law and A-law; interleaved channels; packets cut anywhere."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from nemotron_asr.audio.samples import to_mono
from nemotron_asr.errors import OptionError

Array = NDArray[np.int16] | NDArray[np.int32] | NDArray[np.uint8] | NDArray[np.float32]

LINEAR = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4", "u8": "u1"}
"""Encodings of linear samples, and their types in numpy."""

COMPANDED = ("mulaw", "alaw")
"""Encodings of ITU-T G.711, 8 bits a sample."""


ENCODINGS = (*LINEAR, "s24le", *COMPANDED)


class PcmReader:
    """Reads the plain samples of one stream.

    Args:
        encoding: one of `LINEAR` and `COMPANDED`, or "s24le".
        channels: interleaved in the bytes.
        channel: the one to hear; None averages all.

    Raises:
        OptionError: there is no such encoding, or channel.
    """

    def __init__(self, encoding: str, channels: int = 1, channel: int | None = None) -> None:
        if encoding not in ENCODINGS:
            raise OptionError(f"encoding {encoding!r:.40} is unknown; choose {', '.join(ENCODINGS)}")
        if channels < 1 or not 0 <= (channel or 0) < channels:
            raise OptionError(f"channel {channel} of {channels} is none")
        self._encoding, self._channels, self._channel = encoding, channels, channel
        self._frame = channels * sample_bytes(encoding)
        self._rest = b""

    def read(self, data: bytes) -> Array:
        """Samples of one channel, shape (samples,); a sample that is not whole yet waits for its other bytes."""
        if self._rest:
            data = self._rest + data
        whole = len(data) - len(data) % self._frame
        self._rest = data[whole:]
        samples = _decode(self._encoding, data[:whole] if self._rest else data)
        if self._channels == 1:
            return samples
        planes = samples.reshape(-1, self._channels).T
        return planes[self._channel].copy() if self._channel is not None else to_mono(planes)


def sample_bytes(encoding: str) -> int:
    """Bytes of one sample."""
    if encoding in COMPANDED:
        return 1
    return 3 if encoding == "s24le" else np.dtype(LINEAR[encoding]).itemsize


def _decode(encoding: str, data: bytes) -> Array:
    if encoding in COMPANDED:
        expanded: NDArray[np.int16] = _expansion(encoding)[np.frombuffer(data, np.uint8)]
        return expanded
    if encoding == "s24le":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0]
    linear: Array = np.frombuffer(data, LINEAR[encoding])
    return linear


@cache
def _expansion(law: str) -> NDArray[np.int16]:
    """The 256 values of ITU-T G.711, in 16 bits."""
    codes = np.arange(256)
    return (_mulaw(codes ^ 0xFF) if law == "mulaw" else _alaw(codes ^ 0x55)).astype(np.int16)


def _mulaw(codes: NDArray[np.int_]) -> NDArray[np.int_]:
    exponent, mantissa = (codes >> 4) & 7, codes & 15
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return np.where(codes & 0x80, -magnitude, magnitude)


def _alaw(codes: NDArray[np.int_]) -> NDArray[np.int_]:
    exponent, mantissa = (codes >> 4) & 7, codes & 15
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(codes & 0x80, magnitude, -magnitude)
