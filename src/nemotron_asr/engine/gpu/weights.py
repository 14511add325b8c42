"""A block's weights as the kernels want them: linears over the same input are one, halves are folded in."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nemotron_asr.model.conformer import Block

Norm = tuple[Tensor, Tensor]


class Matrix(nn.Module):
    """A linear around weights that exist."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class Layer:
    """One block of the encoder. The second linears of the feed-forwards are halved, as the block adds them."""

    norm_ff1: Norm
    up_1: nn.Module
    down_1: nn.Module
    norm_attention: Norm
    qkv: nn.Module
    content_bias: Tensor  # (heads, d_head)
    position_bias: Tensor  # (heads, d_head)
    out: nn.Module
    norm_conv: Norm
    expand: nn.Module
    taps: Tensor  # (kernel + 1, d_model): the oldest first, then the bias
    conv_norm: Norm
    reduce: nn.Module
    norm_ff2: Norm
    up_2: nn.Module
    down_2: nn.Module
    norm_out: Norm

    @classmethod
    def of(cls, block: Block) -> "Layer":
        """The weights of a block, which it shares where they are used as they are."""
        attention, conv = block.attention, block.conv
        return cls(
            _norm(block.norm_ff1), block.ff1.up, _halved(block.ff1.down),
            _norm(block.norm_attention), _together(attention.q, attention.k, attention.v),
            attention.content_bias.data, attention.position_bias.data, attention.out,
            _norm(block.norm_conv), conv.expand, _taps(conv.depthwise), _norm(conv.norm), conv.reduce,
            _norm(block.norm_ff2), block.ff2.up, _halved(block.ff2.down), _norm(block.norm_out),
        )  # fmt: skip


LINEARS = ("up_1", "down_1", "qkv", "out", "expand", "reduce", "up_2", "down_2")
"""The fields of a layer that are matrices: nearly all of a step's arithmetic."""


def _norm(norm: nn.LayerNorm) -> Norm:
    return norm.weight.data, norm.bias.data


def _halved(linear: nn.Linear) -> Matrix:
    return Matrix(linear.weight.data / 2, None if linear.bias is None else linear.bias.data / 2)


def _together(*linears: nn.Linear) -> Matrix:
    biases = [linear.bias.data for linear in linears if linear.bias is not None]
    return Matrix(torch.cat([linear.weight.data for linear in linears]), torch.cat(biases) if biases else None)


def _taps(conv: nn.Conv1d) -> Tensor:
    bias = torch.zeros_like(conv.weight[:, 0, 0]) if conv.bias is None else conv.bias
    return torch.cat([conv.weight.data[:, 0].T, bias.data[None]]).contiguous()
