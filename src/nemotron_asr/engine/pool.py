"""Rows of model state, one per stream."""

import torch

from nemotron_asr.decoding import greedy
from nemotron_asr.decoding.beam import Beam, BeamState, initial_beam
from nemotron_asr.decoding.bias import BoostTables
from nemotron_asr.engine.memory import trim
from nemotron_asr.model import EncoderState, Transducer


class Pool:
    """Rows of state; there are as many as were ever held at once. A row that is handed out is at time zero.

    Attributes:
        encoder, decoder: the states, axis 0 the rows; the encoder's is laid out as its runner likes.
        boosted: where each row is within its likely phrases, see `Bias.place`.
        tables: the likely phrases of all rows.
        beams: width -> the hypotheses of rows that are searched by beams of that width.
    """

    @torch.inference_mode()
    def __init__(self, encoder: EncoderState, transducer: Transducer) -> None:
        self._rows = len(encoder.t)
        self._transducer = transducer
        self.beams: dict[int, BeamState] = {}
        self.encoder = encoder
        self.decoder = greedy.initial_state(transducer, self._rows)
        self._fresh = greedy.initial_state(transducer, 1)
        self.boosted = torch.zeros(self._rows, 2, dtype=torch.long, device=encoder.t.device)
        self.tables = BoostTables(encoder.t.device)
        self._free = list(reversed(range(self._rows)))

    @torch.inference_mode()
    def acquire(self) -> int:
        """Take a row."""
        if not self._free:
            self._grow()
        row = self._free.pop()
        self.reset(row)
        return row

    @torch.inference_mode()
    def reset(self, row: int) -> None:
        """Put a row at time zero."""
        self.encoder.reset(torch.tensor([row]))
        self.decoder.scatter(torch.tensor([row]), self._fresh)
        self.boosted[row] = 0

    @torch.inference_mode()
    def search(self, row: int, beam: Beam) -> None:
        """Search a row that is at time zero by a beam."""
        if beam.width not in self.beams:
            self.beams[beam.width] = initial_beam(self._transducer, self._rows, beam)
        self.beams[beam.width].scatter(torch.tensor([row]), initial_beam(self._transducer, 1, beam))

    def release(self, row: int) -> None:
        """Give a row back."""
        self._free.append(row)

    def reserve(self, rows: int) -> None:
        """Have the memory of so many rows, of which none is in use: the system gives it when it is written to."""
        for row in reversed([self.acquire() for _ in range(rows)]):
            self.release(row)

    def _grow(self) -> None:
        """Twice as many rows, of all states or, where memory is short, of none."""
        encoder, decoder, boosted = self.encoder.grown(), self.decoder.grown(), torch.cat([self.boosted, self.boosted])
        beams = {width: state.grown() for width, state in self.beams.items()}
        self.encoder, self.decoder, self.boosted, self.beams = encoder, decoder, boosted, beams
        self._free = list(reversed(range(self._rows, 2 * self._rows)))
        self._rows *= 2
        trim()
