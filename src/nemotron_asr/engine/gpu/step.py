"""One step of many streams over memory that stays where it is: samples in, tokens out, no question from the host."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from nemotron_asr.config import FRAME_SAMPLES, HOP
from nemotron_asr.engine.gpu.encoder import Kernels, RingEncoder
from nemotron_asr.engine.gpu.layout import Batch, RingState
from nemotron_asr.engine.gpu.search import GreedySearch, Search, rooms
from nemotron_asr.engine.pool import Pool
from nemotron_asr.features import LogMel, window_samples, window_start
from nemotron_asr.model import NemotronASR

ROW, T, END, KEEP, PROMPT, FIRST, VALID = range(7)
"""The lines of a step's table, a column for every stream. They are those of `Part`; `KEEP` is 0 for a flush."""

COLUMNS = 7

MORE = 4
"""Turns of the search that are done at once when those of a step were not enough."""


@dataclass(frozen=True)
class Shape:
    """What the memory of a step depends on."""

    streams: int
    frames: int
    chunk: int


class Buffers:
    """Memory of the steps of one shape, on the device and, pinned, on the host.

    Attributes:
        table: (7, streams) int64, see `ROW` and so on.
        windows: (streams, 1 + samples) float32.
        fused: (streams, frames, d_model) encoder frames with the language in them.
        search: the tokens.
    """

    def __init__(self, model: NemotronASR, shape: Shape) -> None:
        like, streams = model.transducer.head.bias, shape.streams
        pinned = like.device.type == "cuda"
        self.shape = shape
        self.table = torch.zeros(COLUMNS, streams, dtype=torch.long, device=like.device)
        self.windows = like.new_zeros(streams, 1 + window_samples(shape.frames), dtype=torch.float32)
        self.fused = like.new_zeros(streams, shape.frames, model.config.d_model)
        self.search = Search.new(model.transducer, streams, shape.frames)
        self.host_table = torch.zeros(self.table.shape, dtype=torch.long, pin_memory=pinned)
        self.host_windows = torch.zeros(self.windows.shape, pin_memory=pinned)
        self._said = torch.zeros(self.search.said.shape, pin_memory=pinned)
        self._count = torch.zeros(streams + 1, dtype=torch.long, pin_memory=pinned)
        self._active = torch.zeros((), dtype=torch.long, pin_memory=pinned)
        self._done = torch.cuda.Event(blocking=True) if pinned else None

    def upload(self) -> None:
        """Bring table and windows to the device; nobody waits."""
        self.upload_table()
        self.windows.copy_(self.host_windows, non_blocking=True)

    def upload_table(self) -> None:
        """Only the table."""
        self.table.copy_(self.host_table, non_blocking=True)

    def ask(self) -> None:
        """Bring what was said to the host when it is there; nobody waits."""
        self._said.copy_(self.search.said, non_blocking=True)
        self._count.copy_(self.search.count, non_blocking=True)
        self._active.copy_(self.search.active, non_blocking=True)
        if self._done is not None:
            self._done.record()

    def wait(self) -> bool:
        """Wait for what was asked for; whether the search has come to its end."""
        if self._done is not None:
            self._done.synchronize()
        return not self._active

    def said(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(streams,) the numbers of tokens, and (streams, most, 4) the tokens: see `search.FIELDS`."""
        return self._count[:-1].numpy(), self._said[:-1, :-1].numpy()


class Stepper:
    """The work of a step. It may be recorded: it reads and writes only `Buffers` and the pool."""

    def __init__(self, model: NemotronASR, log_mel: LogMel, kernels: Kernels) -> None:
        self.model, self.log_mel = model, log_mel
        self.encoder = RingEncoder(model.encoder, kernels)
        self.search = GreedySearch(model.transducer, kernels)

    def step(self, buffers: Buffers, pool: Pool) -> None:
        """From the windows to the tokens of most streams."""
        shape, table = buffers.shape, buffers.table
        start = window_start(0) + FRAME_SAMPLES * table[T]
        mel = self.log_mel(buffers.windows, start, table[END]).to(buffers.fused.dtype)
        batch = Batch(table[ROW], table[T], table[END], table[KEEP], shape.frames, shape.chunk)
        encoded = self.encoder.step(mel, table[END] // HOP, cast("RingState", pool.encoder), batch)
        buffers.fused.copy_(self.model.prompt(encoded, table[PROMPT]))
        memory = pool.decoder.gather(table[ROW])
        self.search.begin(buffers.search, buffers.fused, table[FIRST], table[VALID], memory)
        self._turns(buffers, pool, rooms(shape.streams, shape.frames))

    def more(self, buffers: Buffers, pool: Pool) -> None:
        """More turns of the search, for streams that said unusually much."""
        self._turns(buffers, pool, [-(-buffers.shape.streams // 2)] * MORE)

    def _turns(self, buffers: Buffers, pool: Pool, capacities: list[int]) -> None:
        self.search.turns(buffers.search, capacities)
        pool.decoder.scatter(buffers.table[ROW], self.search.memory(buffers.search))
