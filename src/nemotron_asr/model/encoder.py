"""The cache-aware FastConformer encoder (Noroozi et al. 2023): one step for files, live streams and training.

Every stream carries a clock `t`, its next encoder frame. Whatever lies before time zero or after the end is zero, so a
new stream, a running one and an ending one take the same step with the same shapes, and a batch may mix them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from nemotron_asr.config import ModelConfig
from nemotron_asr.model.conformer import Block
from nemotron_asr.model.subsampling import STAGES, Subsampling, halved_bins


def encoder_frames(mel: int) -> int:
    """Encoder frames of an utterance of `mel` mel frames: one more than mel / 8, its right context being zeros."""
    for _ in range(STAGES if mel else 0):
        mel = mel // 2 + 1
    return mel


@dataclass
class EncoderState:
    """Everything the encoder remembers of a stream; axis 0 is always the batch."""

    t: Tensor  # (B,) encoder frames consumed so far, int64
    subsampling: list[Tensor]  # per stage (B, channels, 1, bins): its last input frame
    k: Tensor  # (B, layers, heads, history, d_head): keys of the last frames
    v: Tensor  # like k: values
    conv: Tensor  # (B, layers, d_model, kernel - 1): inputs of the depthwise convolutions

    def tensors(self) -> list[Tensor]:
        """The parts in a fixed order."""
        return [self.t, *self.subsampling, self.k, self.v, self.conv]

    def gather(self, rows: Tensor) -> "EncoderState":
        """A copy of some rows, in the order of `rows`."""
        return EncoderState(
            self.t[rows], [s[rows] for s in self.subsampling], self.k[rows], self.v[rows], self.conv[rows]
        )

    def scatter(self, rows: Tensor, new: "EncoderState") -> None:
        """Write `new` into `rows`, in place."""
        for pool, row in zip(self.tensors(), new.tensors(), strict=True):
            pool[rows] = row

    def reset(self, rows: Tensor) -> None:
        """Put `rows` back to time zero, in place."""
        for pool in self.tensors():
            pool[rows] = 0

    def grown(self) -> "EncoderState":
        """Twice as many rows; the new ones hold nothing of use before they are reset, and on a CPU take no memory."""
        t, *subsampling, k, v, conv = (_longer(pool) for pool in self.tensors())
        return EncoderState(t, subsampling, k, v, conv)


def _longer(rows: Tensor) -> Tensor:
    longer = rows.new_empty(2 * len(rows), *rows.shape[1:])
    longer[: len(rows)] = rows
    return longer


def distance_embeddings(longest: int, shortest: int, width: int) -> Tensor:
    """Sinusoids of the distances longest, longest - 1, ..., shortest: (longest - shortest + 1, width)."""
    distance = torch.arange(longest, shortest - 1, -1, dtype=torch.float32)
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    angle = distance[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def visible_keys(t: Tensor, end: Tensor, history: int, frames: int, chunk: int, left: int) -> Tensor:
    """Which keys each new frame attends to, "chunked_limited": its chunk and the left // chunk chunks before it.

    Keys before time zero or from `end` (B,) on do not exist. Every frame sees itself, so that frames past the end,
    whose output nobody reads, do not become NaN. Returns (B, 1, frames, history + frames), bool.
    """
    key = torch.arange(-history, frames, device=t.device)
    query = key[history:]
    chunks_back = (query // chunk)[:, None] - (key // chunk)[None]
    in_window = (chunks_back >= 0) & (chunks_back <= left // chunk)
    time = t[:, None] + key
    exists = (time >= 0) & (time < end[:, None])
    itself = query[:, None] == key[None]
    return ((in_window & exists[:, None]) | itself)[:, None]


class Encoder(nn.Module):
    """Mel frames to encoder frames, 80 ms each."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = math.sqrt(config.d_model) if config.xscaling else 1.0
        self.subsampling = Subsampling(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))

    @property
    def _like(self) -> Tensor:
        """A weight on whose device and in whose dtype the frames are; linears may have been replaced by others."""
        return cast("Block", self.blocks[0]).norm_out.weight

    def initial_state(self, batch: int, history: int | None = None) -> EncoderState:
        """The state of `batch` streams at time zero.

        Args:
            batch: number of streams.
            history: frames of past that attention keeps; the model's left context unless given. 0 is exact, and
                cheaper, for utterances that are fed whole.
        """
        config, like = self.config, self._like
        history = config.left_context if history is None else history

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(batch, *shape, device=like.device, dtype=like.dtype)

        channels = [1, config.subsampling_channels, config.subsampling_channels]
        past = [zeros(c, 1, f) for c, f in zip(channels, halved_bins(config.n_mels), strict=False)]
        cache = (config.n_layers, config.n_heads, history, config.d_model // config.n_heads)
        t = torch.zeros(batch, dtype=torch.long, device=like.device)
        return EncoderState(
            t, past, zeros(*cache), zeros(*cache), zeros(config.n_layers, config.d_model, config.conv_kernel - 1)
        )

    def distances(self, history: int, frames: int) -> list[Tensor]:
        """Per block, the projected embeddings of a step's distances: (heads, history + 2 frames - 1, d_head).

        They depend on the shape of a step alone, so a live loop computes them once.
        """
        like = self._like
        sinusoids = distance_embeddings(history + frames - 1, 1 - frames, self.config.d_model).to(like)
        attentions = [block.attention for block in cast("Iterable[Block]", self.blocks)]
        return [attention.split(attention.position(sinusoids)) for attention in attentions]

    def forward(
        self, mel: Tensor, end: Tensor, state: EncoderState, chunk: int, distances: list[Tensor] | None = None
    ) -> tuple[Tensor, EncoderState]:
        """Encode the next frames of every stream.

        A live step is one chunk, a file many chunks, a training utterance all of them: the result is the same.

        Args:
            mel: (B, 8n, n_mels), the mel frames from 8t - 7 on.
            end: (B,) valid mel frames of the whole utterance; anything large while it is not known.
            state: the past; not modified.
            chunk: lookahead + 1, in encoder frames; chunks are counted from `state.t`.
            distances: `self.distances(history, n)`, when the caller keeps it.

        Returns:
            (B, n, d_model) frames and the new state. Frames past the end hold nothing of use.
        """
        x, subsampling, end = self.subsampling(mel, end, state.t, state.subsampling)
        x = self.dropout(x * self.scale)
        history, frames = state.k.shape[3], x.shape[1]
        distances = self.distances(history, frames) if distances is None else distances
        visible = visible_keys(state.t, end, history, frames, chunk, self.config.left_context)
        k, v, conv = [], [], []
        for i, block in enumerate(self.blocks):
            x, block_k, block_v, block_conv = block(
                x, distances[i], visible, state.k[:, i], state.v[:, i], state.conv[:, i]
            )
            k.append(block_k)
            v.append(block_v)
            conv.append(block_conv)
        return x, EncoderState(
            state.t + frames, subsampling, torch.stack(k, 1), torch.stack(v, 1), torch.stack(conv, 1)
        )
