"""Attention over the rings of keys and values, without a gathered copy; `plain.attend` is its oracle.

A program takes one head of one chunk of one stream. It goes through the keys that the chunk sees in the order of time,
block by block, with a running softmax (Dao et al. 2022). A key older than the step comes from the stream's ring, a
newer one from the step's own projections.
"""

from torch import Tensor

from nemotron_asr.engine.gpu.compiling import jit, power_of_2, product, tl
from nemotron_asr.engine.gpu.layout import Batch, RingState

HIDDEN = tl.constexpr(-1e30)
SMALLEST = 16
"""Rows of the smallest matrix product that Triton has."""

BLOCKS = (64, 32)
"""Keys at once: all of a short chunk, or a part of a long one's."""


@jit
def _attend(
    qkv: tl.tensor, position: tl.tensor, k: tl.tensor, v: tl.tensor, content_bias: tl.tensor, out: tl.tensor,
    rows: tl.tensor, t: tl.tensor, end: tl.tensor, lines: tl.tensor, layer: tl.tensor, frames: tl.tensor,
    scale: tl.tensor, LAYERS: tl.constexpr, HEADS: tl.constexpr, LEFT: tl.constexpr, WIDTH: tl.constexpr,
    CHUNK: tl.constexpr, PAST: tl.constexpr, DISTANCES: tl.constexpr,
    QUERIES: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    stream, part, head = tl.program_id(0) // (frames // CHUNK), tl.program_id(0) % (frames // CHUNK), tl.program_id(1)
    row, now, stop = tl.load(rows + stream), tl.load(t + stream), tl.load(end + stream)
    i, d = tl.arange(0, QUERIES), tl.arange(0, COLUMNS)
    line = stream * frames + part * CHUNK + i
    here = (i < CHUNK)[:, None] & (d < WIDTH)[None]
    of_head = head * WIDTH + d
    asked = tl.load(qkv + line[:, None] * (3 * HEADS * WIDTH) + of_head, mask=here, other=0.0)
    bias = tl.load(content_bias + of_head, mask=d < WIDTH, other=0.0)
    q = (asked.to(tl.float32) + bias.to(tl.float32)[None]).to(asked.dtype)
    ring = ((row * LAYERS + layer) * HEADS + head) * (LEFT * WIDTH)
    top = tl.full([QUERIES], HIDDEN, tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    result = tl.zeros([QUERIES, COLUMNS], tl.float32)
    for start in range(0, PAST + CHUNK, BLOCK):
        j = start + tl.arange(0, BLOCK)
        age = part * CHUNK - PAST + j  # against the first frame of the step
        time = now + age
        exists = (time >= 0) & (j < PAST + CHUNK)
        old = (exists & (age < 0))[:, None] & (d < WIDTH)[None]
        new = (exists & (age >= 0))[:, None] & (d < WIDTH)[None]
        slot = ring + (tl.where(exists, time, 0) % LEFT)[:, None] * WIDTH + d
        step = (stream * frames + age)[:, None] * (3 * HEADS * WIDTH) + HEADS * WIDTH + of_head
        key = tl.where(old, tl.load(k + slot, mask=old, other=0.0), tl.load(qkv + step, mask=new, other=0.0))
        score = product(q, tl.trans(key))
        at = (head * lines + line)[:, None] * DISTANCES + (CHUNK - 1 - i)[:, None] + j
        asking = (i < CHUNK)[:, None] & (j < PAST + CHUNK)[None]
        score = (score + tl.load(position + at, mask=asking, other=0.0).to(tl.float32)) * scale
        visible = asking & ((exists & (time < stop))[None] | (j[None] == (PAST + i)[:, None]))
        score = tl.where(visible, score, HIDDEN)
        highest = tl.maximum(top, tl.max(score, 1))
        weight = tl.where(visible, tl.exp(score - highest[:, None]), 0.0)
        fade = tl.exp(top - highest)
        step += HEADS * WIDTH
        value = tl.where(old, tl.load(v + slot, mask=old, other=0.0), tl.load(qkv + step, mask=new, other=0.0))
        total = total * fade + tl.sum(weight, 1)
        result = result * fade[:, None] + product(weight.to(value.dtype), value)
        top = highest
    y = result / tl.maximum(total, 1e-30)[:, None]
    tl.store(out + line[:, None] * (HEADS * WIDTH) + of_head, y.to(out.dtype.element_ty), mask=here)


def attend(qkv: Tensor, position: Tensor, state: RingState, layer: int, content_bias: Tensor, batch: Batch) -> Tensor:
    """See `plain.attend`."""
    layers, heads, left, width = state.k.shape[1:]
    out, past = qkv.new_empty(len(qkv), heads * width), left // batch.chunk * batch.chunk
    _attend[len(batch.rows) * (batch.frames // batch.chunk), heads](
        qkv, position, state.k, state.v, content_bias, out, batch.rows, batch.t, batch.end, len(qkv), layer,
        batch.frames, width**-0.5, LAYERS=layers, HEADS=heads, LEFT=left, WIDTH=width, CHUNK=batch.chunk,
        PAST=past, DISTANCES=position.shape[2],
        QUERIES=max(SMALLEST, power_of_2(batch.chunk)), COLUMNS=max(SMALLEST, power_of_2(width)),
        BLOCK=BLOCKS[past + batch.chunk > BLOCKS[0]], num_stages=1,
    )  # fmt: skip
    return out
