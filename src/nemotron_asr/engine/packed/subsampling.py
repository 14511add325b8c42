"""The subsampling in compiled code; see `convolutions`."""

from threading import local
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from nemotron_asr.config import SUBSAMPLING
from nemotron_asr.engine.packed import has_bfloat16
from nemotron_asr.engine.packed.convolutions import half_tile_address, subsample
from nemotron_asr.engine.packed.layout import TALL, TILE_COLUMNS, Stages, Stem
from nemotron_asr.engine.packed.weights import bfloat16_bits, in_reading_order
from nemotron_asr.engine.quantize import Int8Linear
from nemotron_asr.engine.subsampling import Subsampled
from nemotron_asr.model.subsampling import STAGES, Subsampling, halved, halved_bins


class PackedSubsampling(nn.Module):
    """Takes the place of `Subsampling`; the past of every stage is (B, bins, channels).

    Args:
        original: its convolutions are packed, and its quantised linear is made to read channels last.
        n_mels: the lowest of its bins.
    """

    def __init__(self, original: Subsampling, n_mels: int) -> None:
        super().__init__()
        out = cast("Int8Linear", original.out)
        self.bins, self.channels = halved_bins(n_mels), cast("nn.Conv2d", original.conv[0]).out_channels
        order = torch.arange(out.weight.shape[1]).view(self.channels, -1).T.flatten()
        self.out = Int8Linear(out.weight[:, order], out.scale, out.bias)
        self._stem = _pack(original)
        self._own = local()

    @staticmethod
    def takes(channels: int) -> bool:
        """Whether the kernels take so many channels, and the processor multiplies in bfloat16."""
        return channels % TILE_COLUMNS == 0 and has_bfloat16()

    def initial_past(self, rows: int) -> list[Tensor]:
        """The past of so many streams at time zero."""
        mels, firsts, seconds, _ = self.bins
        shapes = (mels,), (firsts, self.channels), (seconds, self.channels)
        return [torch.zeros(rows, *shape) for shape in shapes]

    def forward(self, mel: Tensor, end: Tensor, t: Tensor, past: list[Tensor]) -> Subsampled:
        """See `Subsampling.forward`."""
        new_past, n = [each.clone() for each in past], mel.shape[1] // SUBSAMPLING
        x = torch.empty(len(mel), n, self.bins[-1], self.channels)
        mels, firsts, seconds = (each.numpy() for each in new_past)
        samples = mel.contiguous().numpy(), end.numpy(), t.numpy()
        subsample(*samples, (mels, firsts, seconds), self._stem, self._memory(), x.numpy())
        for _ in range(STAGES):
            end = halved(end)
        return self.out(x.flatten(2)), new_past, end

    def _memory(self) -> Stages:
        """What this thread works with."""
        if not hasattr(self._own, "stages"):
            mels, firsts, seconds, _ = self.bins
            shapes = (1 + SUBSAMPLING, mels), (5 * firsts + 1, self.channels), (3 * seconds + 1, self.channels)
            mel, first, second = (np.zeros(shape, np.float32) for shape in shapes)
            rows = -(-2 * seconds // TALL) * TALL
            y, halves = np.empty(self.channels, np.float32), np.zeros((rows, self.channels), np.uint16)
            self._own.stages = Stages(mel, first, second, y, halves, half_tile_address())
        stages: Stages = self._own.stages
        return stages


def _pack(original: Subsampling) -> Stem:
    """The weights of the convolutions as the kernels read them."""
    first, *depthwise = (_taps(cast("nn.Conv2d", conv)) for conv in original.conv)
    pointwise = [cast("nn.Conv2d", conv) for conv in original.pointwise]
    points = torch.stack([in_reading_order(conv.weight[:, :, 0, 0].detach(), 2).flatten(1) for conv in pointwise])
    biases = torch.stack([cast("Tensor", conv.bias).float() for conv in pointwise])
    return Stem(first.numpy(), torch.stack(depthwise).numpy(), bfloat16_bits(points), biases.numpy())


def _taps(conv: nn.Conv2d) -> Tensor:
    """(10, channels): the nine taps of a convolution of one input channel each, and its bias."""
    taps = conv.weight.detach().float().flatten(1).T
    return torch.cat([taps, cast("Tensor", conv.bias).detach().float()[None]]).contiguous()
