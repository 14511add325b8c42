"""Where somebody speaks: Silero's voice activity detector over a fixed grid of 32 ms.

The model and its weights (MIT) come with the package `silero-vad`, of which only the file of weights is read: importing
it would change torch's number of threads for the whole process, and its own runners hold one stream per model. Its
network is small enough to be computed window by window in NumPy, so a stream's voice depends on nothing but its audio,
costs two kilobytes of state, and needs neither torch nor a lock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from nemotron_asr.audio.samples import Samples
from nemotron_asr.errors import needs_extra

WINDOW = 512
"""Samples that get one probability: 32 ms."""

CONTEXT, FFT, HOP = 64, 256, 128

SPEAKS, SILENT = 0.5, 0.35
"""Voice begins with a window of at least the one probability, and ends with one below the other."""

SURE = 3
"""Windows after which a beginning or an end is believed: 96 ms."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Voice begins or ends.

    Attributes:
        sample: where.
        known: how many samples must have been heard to be sure of it.
        voice: whether it begins.
    """

    sample: int
    known: int
    voice: bool


class VoiceActivity:
    """Samples of one stream in, edges of its voice out; how they are cut into packets does not matter.

    Raises:
        MissingExtraError: the package `silero-vad` is not installed.
    """

    def __init__(self) -> None:
        self._network = require_voice_activity()
        self._held = np.zeros(CONTEXT, np.float32)  # what the next window needs, and what it has already
        self._hidden, self._cell = np.zeros(128, np.float32), np.zeros(128, np.float32)
        self._windows = 0
        self._voice = False
        self._run = 0  # windows that speak against what is believed

    def feed(self, samples: Samples) -> list[Edge]:
        """Take mono 16 kHz samples; return the edges that are certain now."""
        self._held = np.concatenate([self._held, samples])
        edges: list[Edge] = []
        while len(self._held) >= CONTEXT + WINDOW:
            edges += self._believe(self._probability(self._held[: CONTEXT + WINDOW]))
            self._held = self._held[WINDOW:]
        return edges

    def _probability(self, samples: Samples) -> float:
        """How likely it is that somebody speaks in the next window, given with the samples before it."""
        self._windows += 1
        probability, self._hidden, self._cell = self._network(samples, self._hidden, self._cell)
        return probability

    def _believe(self, probability: float) -> Iterator[Edge]:
        against = probability < SILENT if self._voice else probability >= (SILENT if self._run else SPEAKS)
        self._run = self._run + 1 if against else 0
        if self._run == SURE:
            self._voice, self._run = not self._voice, 0
            yield Edge((self._windows - SURE) * WINDOW, self._windows * WINDOW, self._voice)


@cache
def require_voice_activity() -> "Network":
    """The network with the package's weights, once per process.

    Raises:
        MissingExtraError: the package is not installed.
    """
    package = find_spec("silero_vad")
    if package is None or not package.submodule_search_locations:
        raise needs_extra("voice activity", "vad")
    return Network(Path(package.submodule_search_locations[0]) / "data" / "silero_vad_16k.safetensors")


class Network:
    """Silero VAD 6 at 16 kHz: magnitudes of a short Fourier transform, four convolutions, one LSTM cell."""

    def __init__(self, weights: Path) -> None:
        tensors = load_file(weights)
        self._stft = _matrix(tensors["stft_conv.weight"])
        self._convolutions = [
            (_matrix(tensors[f"conv{i}.weight"]), tensors[f"conv{i}.bias"], stride)
            for i, stride in enumerate((1, 2, 2, 1), 1)
        ]
        inward = tensors["lstm_cell.weight_ih"], tensors["lstm_cell.weight_hh"]
        self._gates = np.ascontiguousarray(np.concatenate(inward, axis=1).T)
        self._gates_bias = tensors["lstm_cell.bias_ih"] + tensors["lstm_cell.bias_hh"]
        self._out, self._out_bias = tensors["final_conv.weight"].ravel(), float(tensors["final_conv.bias"][0])

    def __call__(self, samples: Samples, hidden: Samples, cell: Samples) -> tuple[float, Samples, Samples]:
        """The probability of voice in one window, and the LSTM's state behind it.

        Args:
            samples: shape (64 + 512,), the window and what was before it.
            hidden, cell: shape (128,).
        """
        padded = np.concatenate([samples, samples[-2 : -CONTEXT - 2 : -1]])
        spectrum = _windows(padded, FFT, HOP) @ self._stft
        half = FFT // 2 + 1
        x = np.sqrt(np.square(spectrum[:, :half]) + np.square(spectrum[:, half:]))
        for weight, bias, stride in self._convolutions:
            x = _convolve(x, weight, bias, stride)
        gates = np.concatenate([x[0], hidden]) @ self._gates + self._gates_bias
        keep = _sigmoid(gates)
        cell = keep[128:256] * cell + keep[:128] * np.tanh(gates[256:384])
        hidden = keep[384:] * np.tanh(cell)
        return float(_sigmoid(np.maximum(hidden, 0) @ self._out + self._out_bias)), hidden, cell


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logistic function, by one that does not overflow."""
    logistic: NDArray[np.float32] = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))
    return logistic


def _matrix(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """A convolution's weights (out, in, width) as a matrix (width * in, out)."""
    return np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, kernel.shape[0]))


def _convolve(x: NDArray[np.float32], weight: NDArray[np.float32], bias: Samples, stride: int) -> NDArray[np.float32]:
    """A convolution of width 3 over (frames, channels), a frame of zeros at either end, and what is positive of it."""
    channels = x.shape[1]
    padded = np.zeros((len(x) + 2, channels), np.float32)
    padded[1:-1] = x
    positive: NDArray[np.float32] = np.maximum(
        _windows(padded.ravel(), 3 * channels, stride * channels) @ weight + bias, 0
    )
    return positive


def _windows(x: Samples, length: int, hop: int) -> NDArray[np.float32]:
    """Overlapping windows of a contiguous array, as a view."""
    shape = (len(x) - length) // hop + 1, length
    return np.ndarray(shape, x.dtype, x, strides=(hop * x.itemsize, x.itemsize))
