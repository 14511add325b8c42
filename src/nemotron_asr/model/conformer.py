"""One conformer block (Gulati et al. 2020), causal, with the past of attention and convolution passed in and out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nemotron_asr.config import ModelConfig


class FeedForward(nn.Module):
    """Two linears with a SiLU between them, applied at half weight by the block (macaron style)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_ff, bias=config.use_bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.use_bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d_model) -> the same shape."""
        y: Tensor = self.down(self.dropout(F.silu(self.up(x))))
        return y


def shift_by_distance(scores: Tensor, keys: int) -> Tensor:
    """Turn scores per distance into scores per key.

    Column d of (..., T, keys + T - 1) belongs to the distance keys - 1 - d from query to key; row i of the result
    (..., T, keys) starts at its column T - 1 - i. One pad and two views do it, without a gather.
    """
    rows, distances = scores.shape[-2:]
    flat = F.pad(scores, (0, 1)).flatten(-2)
    shifted: Tensor = flat[..., rows - 1 : rows - 1 + rows * distances].unflatten(-1, (rows, distances))
    return shifted[..., :keys]


class Attention(nn.Module):
    """Self-attention with relative positions (Transformer-XL, Dai et al. 2019) over cached keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, self.heads = config.d_model, config.n_heads
        self.q = nn.Linear(d, d, bias=config.use_bias)
        self.k = nn.Linear(d, d, bias=config.use_bias)
        self.v = nn.Linear(d, d, bias=config.use_bias)
        self.out = nn.Linear(d, d, bias=config.use_bias)
        self.position = nn.Linear(d, d, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(self.heads, d // self.heads))
        self.position_bias = nn.Parameter(torch.zeros(self.heads, d // self.heads))

    def split(self, x: Tensor) -> Tensor:
        """(..., T, d_model) -> (..., heads, T, d_head)."""
        heads: Tensor = x.unflatten(-1, (self.heads, -1))
        return heads.transpose(-3, -2)

    def forward(
        self, x: Tensor, distances: Tensor, visible: Tensor, past_k: Tensor, past_v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend from the new frames to the past and the new ones.

        Args:
            x: (B, T, d_model).
            distances: (heads, past + 2T - 1, d_head) projected embeddings of the distances past + T - 1 ... -(T - 1).
            visible: (B, 1, T, past + T) which keys a query sees.
            past_k: (B, heads, past, d_head) keys before x; `past_v` likewise the values.

        Returns:
            (B, T, d_model) and the last `past` keys and values.
        """
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        k, v = torch.cat([past_k, k], dim=2), torch.cat([past_v, v], dim=2)
        by_distance = (q + self.position_bias[:, None]) @ distances.mT
        position = shift_by_distance(by_distance, k.shape[2]) * q.shape[-1] ** -0.5
        bias = position.masked_fill(~visible, float("-inf"))
        y = F.scaled_dot_product_attention(q + self.content_bias[:, None], k, v, attn_mask=bias)
        drop = x.shape[1]
        return self.out(y.transpose(1, 2).flatten(2)), k[:, :, drop:], v[:, :, drop:]


class Convolution(nn.Module):
    """Gated, causal, depthwise convolution with a LayerNorm where the original has a BatchNorm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d = config.d_model
        self.expand = nn.Linear(d, 2 * d, bias=config.use_bias)
        self.depthwise = nn.Conv1d(d, d, config.conv_kernel, groups=d, bias=config.use_bias)
        self.norm = nn.LayerNorm(d)
        self.reduce = nn.Linear(d, d, bias=config.use_bias)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, d_model) and the (B, d_model, kernel - 1) inputs before it -> the same two."""
        gated = F.glu(self.expand(x), dim=-1).transpose(1, 2)
        inputs = torch.cat([past, gated], dim=2)
        y = self.norm(self.depthwise(inputs).transpose(1, 2))
        return self.reduce(F.silu(y)), inputs[:, :, x.shape[1] :]


class Block(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d = config.d_model
        self.norm_ff1, self.ff1 = nn.LayerNorm(d), FeedForward(config)
        self.norm_attention, self.attention = nn.LayerNorm(d), Attention(config)
        self.norm_conv, self.conv = nn.LayerNorm(d), Convolution(config)
        self.norm_ff2, self.ff2 = nn.LayerNorm(d), FeedForward(config)
        self.norm_out = nn.LayerNorm(d)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, distances: Tensor, visible: Tensor, k: Tensor, v: Tensor, conv: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One block over (B, T, d_model); `k`, `v`, `conv` are its past and come back as its new past."""
        x = x + 0.5 * self.dropout(self.ff1(self.norm_ff1(x)))
        attended, k, v = self.attention(self.norm_attention(x), distances, visible, k, v)
        x = x + self.dropout(attended)
        convolved, conv = self.conv(self.norm_conv(x), conv)
        x = x + self.dropout(convolved)
        x = x + 0.5 * self.dropout(self.ff2(self.norm_ff2(x)))
        return self.norm_out(x), k, v, conv
