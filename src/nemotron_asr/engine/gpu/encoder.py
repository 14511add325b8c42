"""The encoder's step over rows of state, by kernels that are chosen once."""

from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import pad, silu

from nemotron_asr.engine.gpu.layout import Batch, RingState
from nemotron_asr.engine.gpu.weights import Layer
from nemotron_asr.model import Encoder
from nemotron_asr.model.conformer import Block

ALIGNED = 8
"""Numbers of columns are a multiple of this, without which products are slow."""


class Kernels(Protocol):
    """What lies between the matrix products; the modules `plain` and `fused` are such. See `plain`."""

    def add_norm(self, x: Tensor, delta: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Residual and LayerNorm."""

    def add_norm_norm(
        self, x: Tensor, delta: Tensor, outer: tuple[Tensor, Tensor], inner: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The end of a block, and the LayerNorm that the next one begins with."""

    def attend(
        self, qkv: Tensor, position: Tensor, state: RingState, layer: int, content_bias: Tensor, batch: Batch
    ) -> Tensor:
        """Attention over the rings."""

    def convolve(
        self,
        expanded: Tensor,
        state: RingState,
        layer: int,
        taps: Tensor,
        norm_weights: tuple[Tensor, Tensor],
        batch: Batch,
    ) -> Tensor:
        """GLU, depthwise convolution, LayerNorm, SiLU."""

    def remember(self, qkv: Tensor, expanded: Tensor, state: RingState, layer: int, batch: Batch) -> None:
        """Write the rings."""

    def most_likely(self, hidden: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best tokens of the joint, and how likely they are."""

    def quantize_rows(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rows in 8-bit floats."""

    def lstm(self, gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """What an LSTM makes of its gates."""


class RingEncoder:
    """An encoder whose streams' state is written in place. Nothing in a step asks the device for a value."""

    def __init__(self, encoder: Encoder, kernels: Kernels) -> None:
        self.encoder, self.kernels = encoder, kernels
        self.layers = [Layer.of(cast("Block", block)) for block in encoder.blocks]
        self._distances: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def prepare(self, chunk: int) -> None:
        """Compute what depends on the chunk alone, before a step that may be captured."""
        if chunk in self._distances:
            return
        past = self.encoder.config.left_context // chunk * chunk
        self._distances[chunk] = []
        for layer, distances in zip(self.layers, self.encoder.distances(past, chunk), strict=True):
            transposed = pad(distances.mT, (0, -distances.shape[1] % ALIGNED)).contiguous()
            self._distances[chunk].append((transposed, layer.position_bias[:, None] @ transposed))

    def step(self, mel: Tensor, end: Tensor, state: RingState, batch: Batch) -> Tensor:
        """Encode the next frames of some streams.

        Args:
            mel: (B, 8 frames, n_mels).
            end: (B,) valid mel frames.
            state: of all streams; changes in place where `batch.keep` says so.
            batch: the streams; its `end` is not used.

        Returns:
            (B, frames, d_model).
        """
        new = (batch.t == 0)[:, None, None, None]
        past = [torch.where(new, 0, each[batch.rows]) for each in state.subsampling]
        x, subsampling, ends = self.encoder.subsampling(mel, end, batch.t, past)
        batch = Batch(batch.rows, batch.t, ends, batch.keep, batch.frames, batch.chunk)
        keep = batch.keep[:, None, None, None] > 0
        for pool, old, latest in zip(state.subsampling, past, subsampling, strict=True):
            pool[batch.rows] = torch.where(keep, latest, old)
        encoded = self._blocks((x * self.encoder.scale).flatten(0, 1), state, batch)
        return encoded.view(len(batch.rows), batch.frames, -1)

    def _blocks(self, frames: Tensor, state: RingState, batch: Batch) -> Tensor:
        """All blocks over (N, d_model); the residual is in float32."""
        kernels, x = self.kernels, frames.float()
        y = kernels.add_norm(x, torch.zeros_like(frames), *self.layers[0].norm_ff1)
        for i, layer in enumerate(self.layers):
            y = kernels.add_norm(x, layer.down_1(silu(layer.up_1(y), inplace=True)), *layer.norm_attention)
            qkv = layer.qkv(y)
            position = self._by_distance(qkv, i, batch.chunk)
            y = kernels.attend(qkv, position, state, i, layer.content_bias, batch)
            y = kernels.add_norm(x, layer.out(y), *layer.norm_conv)
            expanded = layer.expand(y)
            y = kernels.convolve(expanded, state, i, layer.taps, layer.conv_norm, batch)
            kernels.remember(qkv, expanded, state, i, batch)
            y = kernels.add_norm(x, layer.reduce(y), *layer.norm_ff2)
            delta = layer.down_2(silu(layer.up_2(y), inplace=True))
            if i + 1 < len(self.layers):
                y = kernels.add_norm_norm(x, delta, layer.norm_out, self.layers[i + 1].norm_ff1)
        return kernels.add_norm(x, delta, *self.layers[-1].norm_out)

    def _by_distance(self, qkv: Tensor, layer: int, chunk: int) -> Tensor:
        """(heads, N, distances and more) what a query says to every distance: one product per head for all streams."""
        distances, biased = self._distances[chunk][layer]
        heads, width = self.layers[layer].position_bias.shape
        queries = qkv[:, : heads * width].unflatten(1, (heads, width)).transpose(0, 1)
        return torch.baddbmm(biased, queries, distances)
