"""Live streams by the thousand, without an object for each: arrays of clocks, and the audio in rings on the device.

A `Session` costs some work in Python for every packet and chunk, which is what bounds their number on a large GPU. A
fleet takes packets of many streams at once and gives the tokens of many streams at once; the steps are the same.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nemotron_asr.config import FRAME_SAMPLES, HOP
from nemotron_asr.decoding.greedy import DecoderState
from nemotron_asr.engine.gpu.runner import GpuRunner, RingPool
from nemotron_asr.engine.gpu.step import END, FIRST, KEEP, PROMPT, ROW, VALID, Buffers, Shape, T
from nemotron_asr.engine.stream import UNKNOWN_END
from nemotron_asr.errors import OptionError
from nemotron_asr.features import window_samples, window_start

Longs = NDArray[np.int64]
Floats = NDArray[np.float32]

FIRST_ROW = 1
"""The pool's first row is the spare one."""


@dataclass(frozen=True)
class Said:
    """The tokens of a step, in the order of their streams, an entry each."""

    stream: Longs
    token: Longs
    frame: Longs  # since the stream began
    logprob: Floats
    confidence: Floats


class Fleet:
    """Streams 0 ... streams - 1 of one chunk size, all in one language or all with the same choice.

    Args:
        runner: whose model.
        streams: how many.
        chunk: lookahead + 1, in encoder frames.
        sizes: numbers of streams for which a step is recorded; the largest is the most that step together.
        prompt: row of the language prompt.
    """

    def __init__(self, runner: GpuRunner, streams: int, chunk: int, sizes: list[int], prompt: int = 0) -> None:
        self.runner, self.streams, self.chunk, self.prompt = runner, streams, chunk, prompt
        window = window_samples(chunk) + 2 * FRAME_SAMPLES * chunk
        self._ring = 1 << (window - 1).bit_length()
        with runner.computing():
            self.pool: RingPool = runner.new_pool(streams)
            self.buffers = self._recorded(sizes)
            self._fresh = self.pool.decoder.gather(torch.tensor([self.pool.spare], device=runner.device))
            self._audio = torch.zeros(streams + FIRST_ROW, self._ring, device=runner.device)
        self.t, self.fed = np.zeros(streams, np.int64), np.zeros(streams, np.int64)
        self.closed = np.ones(streams, np.bool_)
        self._step: tuple[Buffers, Longs] | None = None

    @property
    def most(self) -> int:
        """Streams that step together at most."""
        return self.buffers[-1].shape.streams

    def begin(self, who: Longs) -> None:
        """Some streams begin, at time zero."""
        self.t[who] = self.fed[who] = 0
        self.closed[who] = False
        fresh = (part.expand(len(who), *part.shape[1:]) for part in self._fresh.tensors())
        with self.runner.computing():
            self.pool.decoder.scatter(self._upload(who + FIRST_ROW), DecoderState(*fresh))

    def feed(self, who: Longs, samples: Floats) -> None:
        """Packets (n, m) of n different streams, mono at 16 kHz.

        Raises:
            OptionError: a stream is so far ahead that audio which it still needs would be lost.
        """
        fed = self.fed[who]
        if not self.room(samples.shape[1])[who].all():
            raise OptionError(f"a stream is ahead of its steps; a fleet keeps {self._ring} samples of each")
        with self.runner.computing():
            rows = self._upload(who + FIRST_ROW)[:, None]
            at = self._upload(fed)[:, None] + torch.arange(samples.shape[1], device=rows.device)
            self._audio[rows, at % self._ring] = self._upload(samples)
        self.fed[who] += samples.shape[1]

    def room(self, samples: int) -> NDArray[np.bool_]:
        """Which streams can take so many samples."""
        kept = window_start(0) - 1 + FRAME_SAMPLES * self.t
        has_room: NDArray[np.bool_] = ~self.closed & (self.fed + samples - kept <= self._ring)
        return has_room

    def close(self, who: Longs) -> None:
        """No more audio will come of some streams."""
        self.closed[who] = True

    def ready(self) -> Longs:
        """The streams that can step."""
        enough = self.fed - FRAME_SAMPLES * self.t >= window_start(0) + window_samples(self.chunk)
        return np.flatnonzero(np.where(self.closed, self.t < self.frames(), enough))

    def done(self, who: Longs) -> NDArray[np.bool_]:
        """Whether all was said of some streams."""
        return self.closed[who] & (self.t >= self.frames())[who]

    def frames(self) -> Longs:
        """Encoder frames of every stream, if it ended now; see `encoder_frames`."""
        frames = mel = self.fed // HOP
        for _ in range(3):
            frames = frames // 2 + 1
        return np.where(mel > 0, frames, 0)

    def start(self, who: Longs) -> None:
        """Start a step of some streams that are ready; they move on."""
        buffers = next(each for each in self.buffers if each.shape.streams >= len(who))
        n, table = len(who), buffers.host_table.numpy()
        table[:] = 0
        table[ROW, n:] = self.pool.spare
        table[ROW, :n], table[T, :n], table[KEEP, :n] = who + FIRST_ROW, self.t[who], 1
        table[END, :n] = np.where(self.closed[who], self.fed[who], UNKNOWN_END)
        table[PROMPT], table[FIRST] = self.prompt, 0
        table[VALID, :n] = np.where(
            self.closed[who], np.minimum(self.frames()[who] - self.t[who], self.chunk), self.chunk
        )
        with self.runner.computing():
            buffers.upload_table()
            self._windows(buffers)
            self.runner.launch(self.pool, buffers)
        self._step = buffers, who
        self.t[who] += self.chunk

    def finish(self) -> Said:
        """Wait for the step that was started."""
        if self._step is None:
            raise OptionError("no step was started")
        (buffers, who), self._step = self._step, None
        self.runner.finish(self.pool, buffers)
        counts, said = buffers.said()
        counts, said = counts[: len(who)], said[: len(who)]
        token, frame, logprob, confidence = said[np.arange(said.shape[1]) < counts[:, None]].T
        stream = np.repeat(who, counts)
        frames = frame.astype(np.int64) + self.t[stream] - self.chunk
        return Said(stream, token.astype(np.int64), frames, logprob, confidence)

    def step(self, who: Longs) -> Said:
        """A step of some streams that are ready."""
        self.start(who)
        return self.finish()

    def _recorded(self, sizes: list[int]) -> list[Buffers]:
        """The steps of these sizes. They share memory: the largest is recorded first, which has room for the others."""
        shapes = [Shape(size, self.chunk, self.chunk) for size in sorted(sizes, reverse=True)]
        return [self.runner.record(self.pool, shape) for shape in shapes][::-1]

    def _windows(self, buffers: Buffers) -> None:
        """Bring the samples of the step out of the rings; before time zero there is nothing."""
        first = window_start(0) - 1 + FRAME_SAMPLES * buffers.table[T][:, None]
        time = first + torch.arange(buffers.windows.shape[1], device=first.device)
        samples = self._audio[buffers.table[ROW][:, None], time % self._ring]
        buffers.windows.copy_(torch.where(time >= 0, samples, 0))

    def _upload(self, array: Longs | Floats) -> torch.Tensor:
        """To the device; nobody waits."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self.runner.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.runner.device, non_blocking=True)
