"""Arrays of samples -> mono float32 in [-1, 1], or a clear refusal."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nemotron_asr.errors import AudioError, OptionError

Samples: TypeAlias = NDArray[np.float32]

MAX_CHANNELS = 64
MAX_LEVEL = 8.0
"""Floating-point audio may overshoot [-1, 1]; far beyond it, the samples are integers in disguise."""

FULL_SCALE = {"float16": 1, "float32": 1, "float64": 1, "int16": 2**15, "int32": 2**31, "uint8": 2**7}
"""Types of samples and the value that means 1.0; uint8 is centred on 128."""

_FULL_SCALE = {np.dtype(name): scale for name, scale in FULL_SCALE.items()}
"""The same without names, which NumPy puts together anew whenever one is asked for: too slow for every packet."""


_BYTES = {"B", "b", "c"}
"""Formats of views of bytes."""


def as_float32(samples: ArrayLike) -> Samples:
    """Turn an array of samples into mono float32.

    Args:
        samples: float16, float32 or float64 in [-1, 1], or int16, int32 or uint8 over their full range; shape
            (samples,), (samples, channels) or (channels, samples). The smaller axis is the channels (the second one if
            both are equal), and they are averaged.

    Returns:
        Shape (samples,); a one-dimensional float32 array is not copied.

    Raises:
        AudioError: another type or shape, or a sample that is NaN, infinite or far outside [-1, 1].
    """
    return to_mono(to_planes(samples))


def as_array(samples: ArrayLike) -> NDArray[Any]:
    """What NumPy makes of samples: an array, a list, a tensor.

    Raises:
        AudioError: it makes no array of them; or they are bytes, of which nobody knows what they mean.
    """
    if isinstance(samples, bytes | bytearray) or (isinstance(samples, memoryview) and samples.format in _BYTES):
        raise AudioError("the samples are bytes, not numbers; of 16-bit PCM make them by np.frombuffer(data, np.int16)")
    try:
        return np.asarray(samples)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; tensors that NumPy has no type for
        raise AudioError(f"the samples are no array: {error}") from None


def to_planes(samples: ArrayLike) -> NDArray[Any]:
    """View an array as (channels, samples), as `as_float32` describes."""
    array = as_array(samples)
    if array.ndim == 1:
        return array[None]
    if array.ndim != 2 or min(array.shape) > MAX_CHANNELS:
        choices = f"(samples,) or (samples, channels) with at most {MAX_CHANNELS} channels"
        raise AudioError(f"an array of samples has the shape {choices}, not {array.shape}")
    if not array.size:
        return np.zeros((1, 0), array.dtype)
    return array.T if array.shape[0] >= array.shape[1] else array


def parts(samples: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut the last axis into pieces of a million samples, so that long arrays cost constant memory."""
    size = 1 << 20
    for start in range(0, samples.shape[-1], size):
        yield samples[..., start : start + size]


def to_mono(planes: NDArray[Any], channel: int | None = None, *, first: int = 0) -> Samples:
    """Hear one channel, or the average of all.

    Args:
        planes: shape (channels, samples), of any type of `FULL_SCALE`.
        channel: counted from 0; None is the average.
        first: place of the first sample in its recording, for messages.

    Returns:
        Shape (samples,).

    Raises:
        AudioError: unusable samples.
        OptionError: there is no such channel.
    """
    if channel is not None:
        if not 0 <= channel < len(planes):
            raise OptionError(f"channel {channel} is not there; the channels are 0 to {len(planes) - 1}")
        planes = planes[channel : channel + 1]
    scaled = to_channels(planes, first)
    mono: Samples = scaled[0] if len(scaled) == 1 else scaled.mean(axis=0)
    return mono


def to_channels(planes: NDArray[Any], first: int = 0) -> Samples:
    """Hear all channels; arguments as for `to_mono`, the result has the shape (channels, samples).

    Raises:
        AudioError: unusable samples.
    """
    scale = _FULL_SCALE.get(planes.dtype.newbyteorder("="))
    if scale is None:
        raise AudioError(f"samples of type {planes.dtype.name} are not accepted; choose {', '.join(FULL_SCALE)}")
    if planes.dtype.kind == "f":
        _check_level(planes, first)
        return planes.astype(np.float32, copy=False)
    floats = planes.astype(np.float32)
    if planes.dtype.kind == "u":
        floats -= scale
    floats /= scale
    return floats


def _check_level(planes: NDArray[Any], first: int) -> None:
    if not planes.size or -MAX_LEVEL <= planes.min() <= planes.max() <= MAX_LEVEL:  # NaN fails every comparison
        return
    bad = ~(np.abs(planes) <= MAX_LEVEL)
    at = int(bad.any(axis=0).argmax())
    value = float(planes[bad[:, at], at][0])
    hint = "; integer samples need an integer type, or a division by full scale" if np.isfinite(value) else ""
    raise AudioError(f"sample {first + at} is {value:g}, but audio lies in [-1, 1]{hint}")
