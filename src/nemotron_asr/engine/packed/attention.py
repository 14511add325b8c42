"""Attention of one head of one stream over a step's frames and the past, in float32 over bfloat16 keys and values.

The past comes from the stream's ring into the order of time, the new keys and values behind it:

    columns of keys   margin | t - left ... t - 1 | t ... t + frames - 1 |
    chunk 0 sees              ^-------------------------^
    chunk 1 sees                   ^-------------------------^

so that what a chunk sees is one range of columns. The margin is there because a line of the ring is copied as a whole,
to two places: once for what follows the oldest frame in it, once for what precedes it.
"""

import numpy as np

from nemotron_asr.engine.packed.compiling import jit
from nemotron_asr.engine.packed.intrinsics import call_float_tile, copy_64
from nemotron_asr.engine.packed.kernels import ONE, ZERO, address, bfloat16, exp, highest
from nemotron_asr.engine.packed.layout import LONGEST, Batch, Context, Floats, Group, Halves, State
from nemotron_asr.engine.packed.products import WIDE

HIDDEN = np.float32(-1e30)
WIDE_TALL, WIDE_SHORT = WIDE[14], WIDE[7]


@jit
def copy(source: int, target: int, count: int) -> None:
    """Copy so many bytes, a multiple of 64."""
    for offset in range(0, count, 64):
        copy_64(source + offset, target + offset)


@jit
def recall(k: Halves, v: Halves, t: int, context: Context) -> None:
    """Bring the past into the order of time."""
    left, width = context.left, len(k)
    slots, line = k.shape[1], context.k.shape[1]
    oldest = t % left
    behind = oldest // 32 * 64  # whole cache lines that hold nothing older than what is to be copied
    before = (oldest + 31) // 32 * 64
    for d in range(width):
        source, target = address(k) + 2 * slots * d, address(context.k) + 2 * (line * d + context.margin)
        copy(source + behind, target - 2 * oldest + behind, 2 * slots - behind)
        copy(source, target + 2 * (left - oldest), before)
    copy(address(v) + 2 * width * oldest, address(context.v), 2 * width * (left - oldest))
    copy(address(v), address(context.v) + 2 * width * (left - oldest), 2 * width * oldest)


@jit
def append(qkv: Floats, head: int, context: Context) -> None:
    """Put the new keys and values behind the past."""
    width, attended, left = len(context.k), qkv.shape[1] // 3, context.left
    for i in range(len(qkv)):
        k, v = qkv[i, attended + head * width :], qkv[i, 2 * attended + head * width :]
        for d in range(width):
            context.k[d, context.margin + left + i] = bfloat16(k[d])
        for d in range(width):
            context.v[left + i, d] = bfloat16(v[d])


@jit
def remember(k: Halves, v: Halves, t: int, frames: int, context: Context) -> None:
    """Keep the last keys and values in the ring."""
    left = context.left
    for i in range(max(0, frames - left), frames):
        slot = (t + i) % left
        for d in range(len(k)):
            k[d, slot] = context.k[d, context.margin + left + i]
        v[slot] = context.v[left + i]


@jit
def product(tile: int, rows: int, a: int, m: int, stride: int, k: int, out: int, columns: int) -> None:
    """Out (rows, columns) = a (rows, k) m (k, columns); addresses; `columns` a multiple of 16."""
    wide = WIDE_TALL if rows == 14 else WIDE_SHORT
    c = 0
    while c < columns:
        vectors = wide if columns - c >= 16 * wide else 1
        call_float_tile(tile, (rows, vectors, a, m + 2 * c, out + 4 * c, stride, k))
        c += 16 * vectors


@jit
def softmax(row: Floats) -> None:
    """In place."""
    top, total = highest(row), ZERO
    for j in range(len(row)):
        row[j] = exp(row[j] - top)
        total += row[j]
    factor = ONE / total
    for j in range(len(row)):
        row[j] *= factor


@jit
def weigh(scores: Floats, by_distance: Floats, first: int, last: int, itself: int) -> None:
    """Scores of one query to weights; keys outside [first, last) do not exist, but the query sees itself."""
    for j in range(len(scores)):
        visible = (first <= j < last) or j == itself
        scores[j] = scores[j] + by_distance[j] if visible else HIDDEN
    softmax(scores)


@jit
def up(n: int) -> int:
    """To a multiple of 16."""
    return (n + 15) // 16 * 16


@jit
def bias_queries(q: Floats, first: int, biases: Floats, content: Floats, position: Floats) -> None:
    """The queries of a head, whose columns begin at `first`, as content and as position ask: biased and scaled."""
    width = biases.shape[1]
    factor = ONE / np.sqrt(np.float32(width))
    for i in range(len(q)):
        for d in range(width):
            content[i, d] = (q[i, first + d] + biases[0, d]) * factor
            position[i, d] = (q[i, first + d] + biases[1, d]) * factor


@jit
def attend_chunk(
    q: Floats,
    out: Floats,
    head: int,
    start: int,
    exist: tuple[int, int],
    distances: Halves,
    biases: Floats,
    context: Context,
) -> None:
    """One chunk of one head.

    Args:
        q: (chunk, 3 heads d_head) queries, and more.
        out: (chunk, heads d_head).
        head: which it is.
        start: the first key that it sees, counted from the oldest of the context.
        exist: the first key that exists and the first that does not any more, counted alike.
        distances: (d_head, distances) bfloat16 projected embeddings of context.left + LONGEST - 1 and all shorter ones.
        biases: (2, d_head): content and position.
        context: keys and values.
    """
    chunk, width, small = len(q), len(context.k), context.small
    past = context.left // chunk * chunk
    keys = past + chunk
    content, position, scores, by_distance, result = small[0], small[1], small[2], small[3], small[4]
    bias_queries(q, head * width, biases, content, position)
    k, line = address(context.k) + 2 * (context.margin + start), 2 * context.k.shape[1]
    product(context.tile, chunk, address(content), k, line, width, address(scores), up(keys))
    longest, line = address(distances) + 2 * (context.left + LONGEST - keys), 2 * distances.shape[1]
    to, columns = address(by_distance), up(keys + chunk - 1)
    product(context.tile, chunk, address(position), longest, line, width, to, columns)
    first, last = exist[0] - start, min(exist[1] - start, keys)
    for i in range(chunk):
        weigh(scores[i, : up(keys)], by_distance[i, chunk - 1 - i :], first, last, past + i)
    v = address(context.v) + 2 * width * start
    product(context.tile, chunk, address(scores), v, 2 * width, keys, address(result), width)
    for i in range(chunk):
        out[i, head * width : (head + 1) * width] = result[i, :width]


@jit
def attend(
    layer: int, task: int, group: Group, batch: Batch, state: State, distances: Halves, biases: Floats, context: Context
) -> None:
    """All chunks of a step of one head of one stream; `task` counts heads, then streams."""
    head, stream = task % state.k.shape[2], task // state.k.shape[2]
    frames, chunk, t, left = batch.frames, batch.chunk, batch.t[stream], context.left
    k, v = state.k[batch.rows[stream], layer, head], state.v[batch.rows[stream], layer, head]
    qkv = group.qkv[stream * frames : (stream + 1) * frames]
    out = group.attended[stream * frames : (stream + 1) * frames]
    recall(k, v, t, context)
    append(qkv, head, context)
    exist = (left - min(t, left), left + batch.end[stream] - t)
    for i in range(0, frames, chunk):
        start = left + i - left // chunk * chunk
        attend_chunk(
            qkv[i : i + chunk],
            out[i : i + chunk],
            head,
            start,
            exist,
            distances[layer, head],
            biases[layer, head],
            context,
        )
    if batch.keep[stream]:
        remember(k, v, t, frames, context)
