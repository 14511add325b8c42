"""Rows of model state, one per stream."""

import torch
from torch import Tensor

from nemotron_asr.decoding import greedy
from nemotron_asr.decoding.greedy import DecoderState
from nemotron_asr.model import EncoderState, NemotronASR


class Pool:
    """A fixed number of rows. A row that is handed out is at time zero."""

    @torch.inference_mode()
    def __init__(self, model: NemotronASR, rows: int) -> None:
        self._encoder = model.encoder.initial_state(rows)
        self._decoder = greedy.initial_state(model.transducer, rows)
        self._fresh = greedy.initial_state(model.transducer, 1)
        self._free = list(reversed(range(rows)))

    @property
    def free(self) -> int:
        """Rows that nobody holds."""
        return len(self._free)

    @torch.inference_mode()
    def acquire(self) -> int:
        """Take a row; the caller sees to it that one is free."""
        row = self._free.pop()
        self._encoder.reset(torch.tensor([row]))
        self._decoder.scatter(torch.tensor([row]), self._fresh)
        return row

    def release(self, row: int) -> None:
        """Give a row back."""
        self._free.append(row)

    def gather(self, rows: Tensor) -> tuple[EncoderState, DecoderState]:
        """Copies of the states of some rows."""
        return self._encoder.gather(rows), self._decoder.gather(rows)

    def scatter(self, rows: Tensor, encoder: EncoderState, decoder: DecoderState) -> None:
        """Write the states back."""
        self._encoder.scatter(rows, encoder)
        self._decoder.scatter(rows, decoder)
