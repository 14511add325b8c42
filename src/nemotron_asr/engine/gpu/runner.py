"""The runner on a GPU: `Runner`'s steps, over state in place and recorded graphs."""

import importlib.util
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import cast

import torch
from torch import Tensor

from nemotron_asr.config import LATENCIES
from nemotron_asr.decoding.beam import GREEDY, Beam
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.engine.gpu import plain
from nemotron_asr.engine.gpu.encoder import Kernels
from nemotron_asr.engine.gpu.float8 import in_float8
from nemotron_asr.engine.gpu.graphs import Recorder, Recording, recorder_for
from nemotron_asr.engine.gpu.layout import Batch, RingState
from nemotron_asr.engine.gpu.step import END, FIRST, KEEP, PROMPT, ROW, VALID, Buffers, Shape, Stepper, T
from nemotron_asr.engine.pool import Pool
from nemotron_asr.engine.runner import Part, Runner, StepResult
from nemotron_asr.features import LogMel, mel_frames
from nemotron_asr.model import NemotronASR, Transducer

FEWEST_ROWS, MOST_ROWS = 16, 16_384
"""Streams for which a pool has room, if it can choose: so many that it need not grow, which ends its recordings."""

MOST_TOGETHER = 256
"""Streams in one step; more are no matter of a session each, see `fleet`."""

LOOSE = 8
"""Shapes of steps that were not recorded whose memory is kept: a recording's last steps are of many lengths."""

CHUNKS = tuple(lookahead + 1 for lookahead in LATENCIES.values())
LONGEST = max(CHUNKS)


def buckets(most: int) -> list[int]:
    """The numbers of streams for which steps are recorded: powers of two, and half-way between the larger ones."""
    powers = [1 << power for power in range(most.bit_length())]
    between = [3 * power // 2 for power in powers if power >= FEWEST_ROWS]
    return [*sorted(size for size in [*powers, *between] if size < most), most]


def rows_that_fit(row: int, device: torch.device) -> int:
    """Streams for which half of a GPU's free memory has room, each `row` bytes."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    return min(MOST_ROWS, max(FEWEST_ROWS, free // 2 // row))


def best_kernels() -> Kernels:
    """Triton's, where it is installed: torch's builds for CUDA bring it along on Linux."""
    if importlib.util.find_spec("triton") is None:
        return plain
    from nemotron_asr.engine.gpu import fused

    return fused


@dataclass(frozen=True)
class RecordedStep:
    """The step of a shape.

    Attributes:
        buffers: what comes in and goes out.
        step: replays `Stepper.step` over them.
        more: replays `Stepper.more`.
    """

    buffers: Buffers
    step: Recording
    more: Recording


class RingPool(Pool):
    """Rows that stay where they are, and the steps that were recorded over them. Engines may share it.

    Attributes:
        spare: the row of those streams that only fill up a batch.
        recorder: what records them.
        steps: those that were recorded, by shape.
        loose: memory for steps that were not recorded, the latest last.
    """

    def __init__(self, state: RingState, transducer: Transducer, lock: RLock, recorder: Recorder) -> None:
        super().__init__(state, transducer)
        self.recorder = recorder
        self.steps: dict[Shape, RecordedStep] = {}
        self.loose: dict[Shape, Buffers] = {}
        self._lock = lock
        self._returned: deque[int] = deque()
        self.spare = self.acquire()

    def acquire(self) -> int:
        """Take a row. That waits for a step of another engine, which must not meet a pool that grows."""
        with self._lock:
            while self._returned:
                self._free.append(self._returned.pop())
            return super().acquire()

    def reset(self, row: int) -> None:
        """Put a row at time zero."""
        with self._lock:
            super().reset(row)

    def search(self, row: int, beam: Beam) -> None:
        """Search a row that is at time zero by a beam."""
        with self._lock:
            super().search(row, beam)

    def release(self, row: int) -> None:
        """Give a row back; nobody waits for a step, and a pool that grows meanwhile does not lose the row."""
        self._returned.append(row)

    def reserve(self, rows: int) -> None:
        """Their memory was taken when they were made."""

    def _grow(self) -> None:
        """Recordings are of memory that is no more: from now on steps are not replayed but started kernel by kernel."""
        super()._grow()
        self.steps.clear()


class GpuRunner(Runner):
    """Steps on a GPU.

    Graphs are recorded when a pool is made, and never later. A step of another shape runs kernel by kernel, and so do
    the searches of streams with beams or preferences.

    Args:
        model: the model; its weights are shared as far as they are used as they are.
        log_mel: the front end.
        kernels: `fused`, or `plain`.
        rows: streams for which there is room from the beginning; if not given, as half of the free memory holds.
        most: streams in one step.
        chunks: the chunk sizes for which steps are recorded.
        float8: whether the encoder's large linears are in 8-bit floats.
        recorder: what records them; if not given, every pool has one of its own.
    """

    def __init__(
        self,
        model: NemotronASR,
        log_mel: LogMel,
        kernels: Kernels,
        *,
        rows: int | None = None,
        most: int = MOST_TOGETHER,
        chunks: Iterable[int] = CHUNKS,
        float8: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(model, log_mel)
        self.most, self.chunks = most, tuple(chunks)
        self.stepper = Stepper(model, log_mel, kernels)
        if float8:
            encoder = self.stepper.encoder
            encoder.layers = [in_float8(layer, kernels) for layer in encoder.layers]
        self.rows = rows or rows_that_fit(self.initial_state(1).bytes_per_row(), self.device)
        many = max(1, min(most, self.rows // 2))  # a few streams take as long as one
        self.trials = ((1, 1), (many, 1), (1, LONGEST), (many, LONGEST))
        self._recorder = recorder
        self._lock = RLock()  # no two steps at once: they share the memory between their first and last results
        self._pool: RingPool | None = None

    def initial_state(self, rows: int) -> RingState:
        """See `RingState`."""
        return RingState.new(self.model.encoder, rows)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Around whatever runs on the device: it must be the current one for streams, graphs and Triton's kernels."""
        with torch.inference_mode(), torch.cuda.device(self.device if self.device.type == "cuda" else -1):
            yield

    def pool(self, rows: int = 1) -> RingPool:
        """The rows of state, with a step recorded for every chunk size and number of streams: that takes a while, once.

        There is one pool for all who ask, for it takes a good part of the memory.
        """
        with self._lock:
            if self._pool is None:
                pool = self.new_pool(max(rows, self.rows))
                for shape in [Shape(n, c, c) for n in reversed(buckets(self.most)) for c in sorted(self.chunks)[::-1]]:
                    self.record(pool, shape)
                self._pool = pool
            return self._pool

    def new_pool(self, rows: int) -> RingPool:
        """Room for so many streams; nothing is recorded yet."""
        with self.computing():
            recorder = self._recorder or recorder_for(self.device)
            return RingPool(self.initial_state(1 + rows), self.model.transducer, self._lock, recorder)

    def record(self, pool: RingPool, shape: Shape) -> Buffers:
        """Record the step of a shape, on rows that nobody has."""
        with self.computing():
            buffers = self._buffers(pool, shape)
            step = pool.recorder(lambda: self.stepper.step(buffers, pool))
            more = pool.recorder(lambda: self.stepper.more(buffers, pool))
        pool.steps[shape] = RecordedStep(buffers, step, more)
        return buffers

    def step(self, pool: Pool, parts: Sequence[Part], frames: int, chunk: int) -> list[StepResult]:
        """See `Runner.step`."""
        shares = [parts[i : i + self.most] for i in range(0, len(parts), self.most)]
        with self._lock, self.computing():
            return [one for share in shares for one in self._step(cast("RingPool", pool), share, frames, chunk)]

    def _step(self, pool: RingPool, parts: Sequence[Part], frames: int, chunk: int) -> list[StepResult]:
        shape = Shape(next(size for size in buckets(self.most) if size >= len(parts)), frames, chunk)
        buffers = pool.steps[shape].buffers if shape in pool.steps else self._loose(pool, shape)
        _fill(buffers, parts, pool.spare)
        buffers.upload()
        self.launch(pool, buffers)
        self.finish(pool, buffers)
        heard = _heard(buffers, parts)
        others = [i for i, part in enumerate(parts) if not _simple(part)]
        if others:
            found = self.decode(pool, [parts[i] for i in others], buffers.fused[self._tensor(others)])
            for i, one in zip(others, found, strict=True):
                heard[i] = one
        return heard

    def launch(self, pool: RingPool, buffers: Buffers) -> None:
        """Start a step of what is in the buffers on the device."""
        with self.computing():
            if recorded := pool.steps.get(buffers.shape):
                recorded.step.replay()
            else:
                self.stepper.step(buffers, pool)
            buffers.ask()

    def finish(self, pool: RingPool, buffers: Buffers) -> None:
        """Wait until what was said in the step is on the host."""
        with self.computing():
            while not buffers.wait():
                if recorded := pool.steps.get(buffers.shape):
                    recorded.more.replay()
                else:
                    self.stepper.more(buffers, pool)
                buffers.ask()

    def _loose(self, pool: RingPool, shape: Shape) -> Buffers:
        """Memory for a step that was not recorded; only the latest shapes keep theirs."""
        buffers = pool.loose.pop(shape, None)
        while len(pool.loose) >= LOOSE:
            del pool.loose[next(iter(pool.loose))]
        pool.loose[shape] = buffers = buffers or self._buffers(pool, shape)
        return buffers

    def _buffers(self, pool: RingPool, shape: Shape) -> Buffers:
        self.stepper.encoder.prepare(shape.chunk)
        buffers = Buffers(self.model, shape)
        _fill(buffers, [], pool.spare)
        buffers.upload()
        return buffers

    def encode(self, pool: Pool, parts: Sequence[Part], mel: Tensor, frames: int, chunk: int) -> Tensor:
        """See `Runner.encode`."""
        rows, t, keep = (self._tensor(list(x)) for x in zip(*((p.row, p.t, not p.flush) for p in parts), strict=True))
        end = self._tensor([mel_frames(part.end) for part in parts])
        state, batch = cast("RingState", pool.encoder), Batch(rows, t, end, keep, frames, chunk)
        with self.computing():
            self.stepper.encoder.prepare(chunk)
            return self.stepper.encoder.step(mel, end, state, batch)


def _simple(part: Part) -> bool:
    """Whether a stream's tokens are found by the search within the step."""
    return part.beam == GREEDY and not part.boost and not part.target.banned


def _fill(buffers: Buffers, parts: Sequence[Part], spare: int) -> None:
    """What the streams bring into a step; the rest of its places is taken by streams that are nobody's."""
    table, n = buffers.host_table.numpy(), len(parts)
    table[:] = 0
    table[ROW, n:] = spare
    table[ROW, :n] = [part.row for part in parts]
    table[T, :n] = [part.t for part in parts]
    table[END, :n] = [part.end for part in parts]
    table[KEEP, :n] = [not part.flush for part in parts]
    table[PROMPT, :n] = [part.target.prompt for part in parts]
    table[FIRST, :n] = [part.first for part in parts]
    table[VALID, :n] = [part.valid if _simple(part) else 0 for part in parts]
    windows = buffers.host_windows.numpy()
    for i, part in enumerate(parts):
        windows[i] = part.window


def _heard(buffers: Buffers, parts: Sequence[Part]) -> list[StepResult]:
    counts, said = buffers.said()
    rows = (tokens[:count].tolist() for count, tokens in zip(counts.tolist(), said, strict=False))
    return [
        StepResult.of(part, [Emission(int(token), int(frame), *scores) for token, frame, *scores in row])
        for part, row in zip(parts, rows, strict=False)
    ]
