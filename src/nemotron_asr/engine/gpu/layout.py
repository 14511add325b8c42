"""How the streams' state lies on a GPU, and the arrays that describe a step."""

from dataclasses import dataclass

from torch import Tensor

from nemotron_asr.model import Encoder, EncoderState


class RingState(EncoderState):
    """State that is written in place. The frame of time t lies in slot t modulo the length of its ring.

    k, v: (rows, layers, heads, left, d_head) keys and values.
    conv: (rows, layers, kernel - 1, d_model) inputs of the depthwise convolutions.

    What lies in the rings of a new stream is older than time zero and never read: only `t` and the subsampling's past
    need to be cleared.
    """

    @classmethod
    def new(cls, encoder: Encoder, rows: int) -> "RingState":
        """The state of so many streams at time zero."""
        plain = encoder.initial_state(rows, history=0)
        layers, heads, width = plain.k.shape[1], plain.k.shape[2], plain.k.shape[4]
        k, v = (plain.k.new_zeros(rows, layers, heads, encoder.config.left_context, width) for _ in range(2))
        return cls(plain.t, plain.subsampling, k, v, plain.conv.transpose(2, 3).contiguous())

    def reset(self, rows: Tensor) -> None:
        """Put `rows` back to time zero, in place."""
        for pool in [self.t, *self.subsampling]:
            pool[rows] = 0

    def grown(self) -> "RingState":
        """Twice as many rows, the new ones to be reset."""
        plain = super().grown()
        for ring in (plain.k, plain.v, plain.conv):
            ring[len(self.t) :] = 0
        return RingState(plain.t, plain.subsampling, plain.k, plain.v, plain.conv)

    def bytes_per_row(self) -> int:
        """Memory of one stream."""
        return sum(part[0].numel() * part.element_size() for part in self.tensors())


@dataclass(frozen=True)
class Batch:
    """The streams of a step, one entry each. Rows that only fill up a batch have `keep` 0 and no valid frames."""

    rows: Tensor  # (B,) where their state lives
    t: Tensor  # (B,) their clocks
    end: Tensor  # (B,) encoder frames that exist
    keep: Tensor  # (B,) 1 where the state moves on, 0 where it stays
    frames: int  # of each stream
    chunk: int  # lookahead + 1
