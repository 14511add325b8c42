"""What the kernels compute, in plain torch: their oracle, and what runs where there is no Triton.

Nothing here asks the device for a value, so all of it may be captured in a graph.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nemotron_asr.decoding.greedy import certainty
from nemotron_asr.engine.gpu.layout import Batch, RingState
from nemotron_asr.model.conformer import shift_by_distance
from nemotron_asr.model.encoder import visible_keys

EPSILON = 1e-5

FLOAT8 = torch.float8_e4m3fn
LARGEST = 448.0
"""Number in `FLOAT8`."""


def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm of (N, d_model), computed in float32, in the weights' dtype."""
    return F.layer_norm(x.float(), x.shape[-1:], weight.float(), bias.float(), EPSILON).to(weight.dtype)


def add_norm(x: Tensor, delta: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Add `delta` to the residual x (N, d_model), float32, in place; its LayerNorm in the weights' dtype."""
    return norm(x.add_(delta), weight, bias)


def add_norm_norm(x: Tensor, delta: Tensor, outer: tuple[Tensor, Tensor], inner: tuple[Tensor, Tensor]) -> Tensor:
    """The end of one block and the start of the next: x becomes the LayerNorm of x + delta; the LayerNorm of that."""
    weight, bias = (part.float() for part in outer)
    x.copy_(F.layer_norm(x.add_(delta), x.shape[-1:], weight, bias, EPSILON))
    return norm(x, *inner)


def attend(qkv: Tensor, position: Tensor, state: RingState, layer: int, content_bias: Tensor, batch: Batch) -> Tensor:
    """Attention of a step's frames over the past in the rings and over each other.

    Args:
        qkv: (B frames, 3 d_model) projected frames.
        position: (heads, B frames, distances or more) scores by distance, from the longest, past + chunk - 1, to
            1 - chunk.
        state: holds the past; not modified.
        layer: which block's.
        content_bias: (heads, d_head).
        batch: the streams.

    Returns:
        (B frames, d_model).
    """
    left, chunk, streams = state.k.shape[3], batch.chunk, len(batch.rows)
    heads, width = content_bias.shape
    past = left // chunk * chunk
    q, k, v = qkv.view(streams, batch.frames, 3, heads, width).permute(2, 0, 3, 1, 4)
    slots = (batch.t[:, None] - left + torch.arange(left, device=qkv.device)) % left
    index = slots[:, None, :, None].expand(-1, heads, -1, width)
    k = torch.cat([state.k[batch.rows, layer].gather(2, index), k], 2)
    v = torch.cat([state.v[batch.rows, layer].gather(2, index), v], 2)
    visible = visible_keys(batch.t, batch.end, left, batch.frames, chunk, left)
    distances = position[..., : past + 2 * chunk - 1]
    by_distance = distances.unflatten(1, (streams, batch.frames)).transpose(0, 1)
    out = torch.empty_like(q)
    for i in range(0, batch.frames, chunk):
        seen, asking = slice(left + i - past, left + i + chunk), slice(i, i + chunk)
        scores = shift_by_distance(by_distance[:, :, asking], past + chunk) * width**-0.5
        bias = scores.masked_fill(~visible[:, :, asking, seen], -torch.inf)
        biased = q[:, :, asking] + content_bias[:, None]
        out[:, :, asking] = F.scaled_dot_product_attention(biased, k[:, :, seen], v[:, :, seen], attn_mask=bias)
    return out.transpose(1, 2).reshape(len(qkv), -1)


def convolve(
    expanded: Tensor, state: RingState, layer: int, taps: Tensor, norm_weights: tuple[Tensor, Tensor], batch: Batch
) -> Tensor:
    """Gate, causal depthwise convolution, LayerNorm and SiLU of a step's frames.

    Args:
        expanded: (B frames, 2 d_model) values and gates.
        state: holds the inputs before them; not modified.
        layer: which block's.
        taps: (kernel + 1, d_model): the oldest first, and the bias.
        norm_weights: weight and bias.
        batch: the streams.

    Returns:
        (B frames, d_model).
    """
    past = state.conv.shape[2]
    before = batch.t[:, None] - past + torch.arange(past, device=expanded.device)
    index = (before % past)[..., None].expand(-1, -1, state.conv.shape[3])
    remembered = torch.where((before >= 0)[..., None], state.conv[batch.rows, layer].gather(1, index), 0)
    gated = F.glu(expanded, -1).unflatten(0, (-1, batch.frames))
    inputs = torch.cat([remembered, gated], 1).transpose(1, 2)
    y = F.conv1d(inputs, taps[:-1].T[:, None], taps[-1], groups=taps.shape[1]).transpose(1, 2)
    return F.silu(norm(y.flatten(0, 1), *norm_weights))


def remember(qkv: Tensor, expanded: Tensor, state: RingState, layer: int, batch: Batch) -> None:
    """Put the last keys, values and convolution inputs of a step into the rings of the streams that move on."""
    heads, left, width = state.k.shape[2:]
    _, k, v = qkv.view(len(batch.rows), batch.frames, 3, heads, width).unbind(2)
    _put(state.k, layer, left, k, batch)
    _put(state.v, layer, left, v, batch)
    gated = F.glu(expanded, -1).unflatten(0, (-1, batch.frames))
    _put(state.conv[:, :, None], layer, state.conv.shape[2], gated[:, :, None], batch)


def _put(rings: Tensor, layer: int, length: int, new: Tensor, batch: Batch) -> None:
    """Write the last of `new` (B, frames, heads, width) into rings (rows, layers, heads, length, width)."""
    first = max(0, batch.frames - length)
    for i in range(first, batch.frames):
        place = batch.rows, layer, slice(None), (batch.t + i) % length
        rings[place] = torch.where(batch.keep[:, None, None] > 0, new[:, i], rings[place])


def most_likely(hidden: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best tokens of the joint.

    Args:
        hidden: (N, d_joint) what frames and predictions are together.
        weight: (vocab_size + 1, d_joint).
        bias: (vocab_size + 1,).

    Returns:
        (N,) tokens, the natural logarithms of their probabilities, and the model's confidence, see `greedy.certainty`.
    """
    logprobs = F.linear(hidden.float(), weight.float(), bias.float()).log_softmax(-1)
    best, token = logprobs.max(-1)
    return token, best, certainty(logprobs)


def lstm(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The hidden and the cell state after the gates (N, 4 d), in torch's order, and the cell state (N, d) before."""
    into, forget, content, out = gates.float().chunk(4, -1)
    after = forget.sigmoid() * c.float() + into.sigmoid() * content.tanh()
    return (out.sigmoid() * after.tanh()).to(gates.dtype), after.to(c.dtype)


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """(N, d) -> the same in `FLOAT8`, and (N,) the scale of each row."""
    scale = x.float().abs().amax(1).clamp(min=1e-12) / LARGEST
    return (x.float() / scale[:, None]).clamp(-LARGEST, LARGEST).to(FLOAT8), scale
