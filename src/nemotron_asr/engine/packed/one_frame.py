"""Attention of steps of one frame, which most live ones are at the lowest latency.

One query sees all keys, and softmax does not mind their order: keys and values are used where they lie in the ring, and
only the scores by distance, 57 numbers instead of 28 kB, are brought into the ring's order.
"""

from typing import Any

import numpy as np

from nemotron_asr.engine.packed.attention import HIDDEN, bias_queries, product, softmax, up
from nemotron_asr.engine.packed.compiling import jit
from nemotron_asr.engine.packed.intrinsics import fetch, from_bits
from nemotron_asr.engine.packed.kernels import ZERO, Real, address, bfloat16
from nemotron_asr.engine.packed.layout import LONGEST, Batch, Context, Floats, Group, Halves, State


@jit
def widened(half: Any) -> Real:
    """The float32 of a bfloat16."""
    return from_bits(np.int32(half) << 16)


@jit
def dot(query: Floats, key: Floats) -> Real:
    """Of a query and a key that is rounded as those in the ring are."""
    total = ZERO
    for d in range(len(query)):
        total += query[d] * widened(bfloat16(key[d]))
    return total


@jit
def weigh_slots(scores: Floats, by_distance: Floats, oldest: int, left: int, first: int, last: int) -> None:
    """Scores of the ring's slots, and behind them the query's own, to weights.

    Args:
        scores: (up(left + 1),)
        by_distance: of keys in the order of time.
        oldest: the slot of the oldest key.
        left: slots that there are.
        first, last: keys that exist, counted from the oldest; the query sees itself in any case.
    """
    for slot in range(left):
        j = slot - oldest if slot >= oldest else slot - oldest + left
        scores[slot] = scores[slot] + by_distance[j] if first <= j < last else HIDDEN
    scores[left] += by_distance[left]
    scores[left + 1 :] = HIDDEN
    softmax(scores)


@jit
def attend_frame(
    layer: int, task: int, group: Group, batch: Batch, state: State, distances: Halves, biases: Floats, context: Context
) -> None:
    """One head of one stream; `task` counts heads, then streams. See `attention.attend`."""
    small = context.small
    head, stream = task % state.k.shape[2], task // state.k.shape[2]
    row, t, left = batch.rows[stream], batch.t[stream], context.left
    k, v = state.k[row, layer, head], state.v[row, layer, head]
    width, slots, oldest = len(k), k.shape[1], t % left
    fetch(address(v), v.size // 32)
    qkv = group.qkv[stream : stream + 1]
    attended = qkv.shape[1] // 3
    new_k, new_v = qkv[0, attended + head * width :], qkv[0, 2 * attended + head * width :]
    content, position, scores, by_distance, result = small[0], small[1], small[2], small[3], small[4, 0]
    bias_queries(qkv, head * width, biases[layer, head], content, position)
    product(context.tile, 1, address(content), address(k), 2 * slots, width, address(scores), up(left))
    longest, line = address(distances[layer, head]) + 2 * (LONGEST - 1), 2 * distances.shape[3]
    product(context.tile, 1, address(position), longest, line, width, address(by_distance), up(left + 1))
    fetch(address(k) + 2 * k.size, k.size // 32)
    scores[0, left] = dot(content[0, :width], new_k)
    first, last = left - min(t, left), left + batch.end[stream] - t
    weigh_slots(scores[0, : up(left + 1)], by_distance[0], oldest, left, first, last)
    product(context.tile, 1, address(scores), address(v), 2 * width, left, address(result), width)
    own = scores[0, left]
    out = group.attended[stream, head * width : (head + 1) * width]
    for d in range(width):
        out[d] = result[d] + own * widened(bfloat16(new_v[d]))
    if batch.keep[stream]:
        for d in range(width):
            k[d, oldest] = bfloat16(new_k[d])
            v[oldest, d] = bfloat16(new_v[d])
