"""Streams of one chunk size that step together."""

from collections.abc import Iterator

from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.engine.pool import Pool
from nemotron_asr.engine.runner import Runner
from nemotron_asr.engine.stream import Stream

STEP_FRAMES = 112
"""Encoder frames in one step at most: 9 s, a multiple of every chunk size; more makes nothing faster."""


class Lane:
    """Opens streams on the rows of its own pool and advances all that can go on."""

    def __init__(self, runner: Runner, chunk: int, rows: int = 1) -> None:
        self._runner, self._chunk = runner, chunk
        self._pool = Pool(runner.model, rows)
        self._streams: list[Stream] = []

    @property
    def free(self) -> int:
        """How many streams can still be opened."""
        return self._pool.free

    def open(self, prompt: int) -> Stream:
        """A new stream at time zero."""
        stream = Stream(self._pool.acquire(), prompt)
        self._streams.append(stream)
        return stream

    def leave(self, stream: Stream) -> None:
        """Forget a stream and free its row."""
        self._streams.remove(stream)
        self._pool.release(stream.row)

    def step(self) -> Iterator[tuple[Stream, list[Emission]]]:
        """Advance the stream that has come least far, and all that share its shape, and hand out their tokens.

        Nothing comes out when no stream has a whole chunk left or, where closed, a frame.
        """
        wanted = {stream: frames for stream in self._streams if (frames := self._frames(stream))}
        if not wanted:
            return
        frames = wanted[min(wanted, key=lambda stream: stream.t)]
        batch = [stream for stream in wanted if wanted[stream] == frames]
        said = self._runner.step(self._pool, batch, frames, self._chunk)
        yield from zip(batch, said, strict=True)

    def drain(self) -> Iterator[tuple[Stream, list[Emission]]]:
        """Step until nothing is left to do."""
        while said := list(self.step()):
            yield from said

    def _frames(self, stream: Stream) -> int:
        """A power of two of chunks, so that shapes are few: within what is there or, once closed, covering it."""
        if stream.available <= 0:
            return 0
        most = STEP_FRAMES // self._chunk
        if stream.closed:
            chunks = -(-stream.available // self._chunk)
            return self._chunk * min(most, 1 << (chunks - 1).bit_length())
        chunks = stream.available // self._chunk
        return self._chunk * (most if chunks >= most else 1 << chunks.bit_length() >> 1)
