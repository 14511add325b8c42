"""Live resampling to 16 kHz, packet by packet."""

import operator
from contextlib import suppress

import av
import numpy as np
from av.filter import Graph
from numpy.typing import ArrayLike

from nemotron_asr.audio.samples import Samples, as_array, as_float32, parts
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.errors import AudioError, StreamClosedError

MIN_RATE, MAX_RATE = 1_000, 768_000


class Resampler:
    """Live resampling of one mono stream to 16 kHz; packets of any size give exactly what the whole gives.

    Audio that is at 16 kHz already passes without a copy.

    Raises:
        AudioError: the rate is not a whole number of Hz from 1,000 to 768,000.
    """

    def __init__(self, rate: int) -> None:
        self.rate = checked_rate(rate)
        self._graph = None if self.rate == SAMPLE_RATE else _resampling_graph(self.rate)
        self._finished = False

    def feed(self, samples: ArrayLike) -> Samples:
        """Take a packet of mono samples, shape (samples,), (samples, 1) or (1, samples), of a type of `as_float32`'s.

        Returns:
            What is ready at 16 kHz, shape (samples,), possibly empty.

        Raises:
            AudioError: unusable samples, or more than one channel.
            StreamClosedError: the stream has been finished.
        """
        if self._finished:
            raise StreamClosedError("audio was fed to a resampler that has finished")
        packet = as_array(samples)
        if packet.ndim != 1 and (packet.ndim != 2 or 1 not in packet.shape):
            raise AudioError(f"a packet is mono, with the shape (samples,) or (samples, 1), not {packet.shape}")
        mono = as_float32(packet.reshape(-1))
        if self._graph is None:
            return mono
        for part in parts(mono):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part)[None], format="flt", layout="mono")
            frame.sample_rate = self.rate
            self._graph.push(frame)
        return _drain(self._graph)

    def finish(self) -> Samples:
        """End the stream and return what is left of it, shape (samples,)."""
        graph = None if self._finished else self._graph
        self._finished = True
        if graph is None:
            return np.zeros(0, np.float32)
        graph.push(None)
        return _drain(graph)


def checked_rate(rate: int) -> int:
    """Return a sample rate in Hz that can be resampled.

    Raises:
        AudioError: it is not a whole number, or absurd.
    """
    try:
        whole = operator.index(rate)
    except TypeError:
        whole = 0
    if not MIN_RATE <= whole <= MAX_RATE:
        raise AudioError(f"sample rate {rate!r} is not a whole number of Hz from {MIN_RATE:,} to {MAX_RATE:,}")
    return whole


def _resampling_graph(rate: int) -> Graph:
    """Build the filters.

    libswresample's 64 taps delay a stream by a few milliseconds; libsoxr is flatter near 8 kHz, but its block-wise
    filters hold back 40 to 115 ms, which is as long as the model's shortest chunk.
    """
    graph = Graph()
    entry = graph.add("abuffer", sample_rate=f"{rate}", sample_fmt="flt", channel_layout="mono", time_base=f"1/{rate}")
    resample = graph.add("aresample", f"{SAMPLE_RATE}:filter_size=64")
    graph.link_nodes(entry, resample, graph.add("abuffersink")).configure()
    return graph


def _drain(graph: Graph) -> Samples:
    ready = [np.zeros(0, np.float32)]
    with suppress(BlockingIOError, EOFError):  # nothing more for now, or for ever
        while True:
            ready.append(graph.pull().to_ndarray()[0])
    return np.concatenate(ready)
