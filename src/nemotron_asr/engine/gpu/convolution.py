"""What a block's convolution does between its two linears, in one pass; and what a step leaves in the rings.

The oracles are in `plain`.
"""

from torch import Tensor

from nemotron_asr.engine.gpu.compiling import jit, power_of_2, tl
from nemotron_asr.engine.gpu.layout import Batch, RingState
from nemotron_asr.engine.gpu.norms import normalised


@jit
def _gated(expanded: tl.tensor, line: tl.tensor, d: tl.tensor, wanted: tl.tensor, D: tl.constexpr) -> tl.tensor:
    """The first `wanted` of a line (2 D) of values and gates -> (D,) float32, 0 behind them."""
    at = expanded + line * (2 * D) + d
    value = tl.load(at, mask=d < wanted, other=0.0).to(tl.float32)
    return value * tl.sigmoid(tl.load(at + D, mask=d < wanted, other=0.0).to(tl.float32))


@jit
def _convolve(
    expanded: tl.tensor, conv: tl.tensor, taps: tl.tensor, weight: tl.tensor, bias: tl.tensor, out: tl.tensor,
    rows: tl.tensor, t: tl.tensor, layer: tl.tensor, frames: tl.tensor,
    LAYERS: tl.constexpr, KERNEL: tl.constexpr, D: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    line, d = tl.program_id(0).to(tl.int64), tl.arange(0, COLUMNS)
    stream, i = line // frames, line % frames
    ring = conv + (tl.load(rows + stream) * LAYERS + layer) * ((KERNEL - 1) * D)
    now = tl.load(t + stream) + i
    y = tl.load(taps + KERNEL * D + d, mask=d < D, other=0.0).to(tl.float32)
    for tap in tl.static_range(KERNEL):
        back = KERNEL - 1 - tap
        new = tl.where(i >= back, D, 0)  # the columns that come from the step, and those that come from the ring
        old = tl.where((i < back) & (now >= back), D, 0)
        slot = tl.maximum(now - back, 0) % (KERNEL - 1)
        past = tl.load(ring + slot * D + d, mask=d < old, other=0.0).to(tl.float32)
        tap_weight = tl.load(taps + tap * D + d, mask=d < D, other=0.0).to(tl.float32)
        y += (past + _gated(expanded, line - back, d, new, D)) * tap_weight
    y = normalised(y, weight, bias, d, D)
    tl.store(out + line * D + d, (y * tl.sigmoid(y)).to(out.dtype.element_ty), mask=d < D)


def convolve(
    expanded: Tensor, state: RingState, layer: int, taps: Tensor, norm_weights: tuple[Tensor, Tensor], batch: Batch
) -> Tensor:
    """See `plain.convolve`."""
    layers, past, d = state.conv.shape[1:]
    out = expanded.new_empty(len(expanded), d)
    _convolve[len(expanded),](
        expanded, state.conv, taps, *norm_weights, out, batch.rows, batch.t, layer, batch.frames,
        LAYERS=layers, KERNEL=past + 1, D=d, COLUMNS=power_of_2(d),
    )  # fmt: skip
    return out


@jit
def _remember(
    qkv: tl.tensor, expanded: tl.tensor, k: tl.tensor, v: tl.tensor, conv: tl.tensor,
    rows: tl.tensor, t: tl.tensor, keep: tl.tensor, layer: tl.tensor, frames: tl.tensor, kept: tl.tensor,
    LAYERS: tl.constexpr, HEADS: tl.constexpr, LEFT: tl.constexpr, WIDTH: tl.constexpr, TAPS: tl.constexpr,
    D: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    stream, i, d = tl.program_id(0).to(tl.int64), frames - kept + tl.program_id(1), tl.arange(0, COLUMNS)
    if tl.load(keep + stream) > 0:
        row, time, line = tl.load(rows + stream), tl.load(t + stream) + i, stream * frames + i
        if i >= frames - LEFT:
            head = (row * LAYERS + layer) * HEADS + d // WIDTH
            slot = (head * LEFT + time % LEFT) * WIDTH + d % WIDTH
            at = qkv + line * (3 * D) + D + d
            tl.store(k + slot, tl.load(at, mask=d < D, other=0.0), mask=d < D)
            tl.store(v + slot, tl.load(at + D, mask=d < D, other=0.0), mask=d < D)
        if i >= frames - TAPS:
            slot = ((row * LAYERS + layer) * TAPS + time % TAPS) * D + d
            y = _gated(expanded, line, d, D, D)
            tl.store(conv + slot, y.to(conv.dtype.element_ty), mask=d < D)


def remember(qkv: Tensor, expanded: Tensor, state: RingState, layer: int, batch: Batch) -> None:
    """See `plain.remember`."""
    layers, heads, left, width = state.k.shape[1:]
    taps = state.conv.shape[2]
    kept = min(batch.frames, max(left, taps))
    _remember[len(batch.rows), kept](
        qkv, expanded, state.k, state.v, state.conv, batch.rows, batch.t, batch.keep, layer, batch.frames, kept,
        LAYERS=layers, HEADS=heads, LEFT=left, WIDTH=width, TAPS=taps, D=heads * width,
        COLUMNS=power_of_2(heads * width),
    )  # fmt: skip
