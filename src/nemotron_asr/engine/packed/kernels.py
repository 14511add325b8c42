"""The arithmetic of rows: norms, quantisation, products with packed weights, feed-forwards, convolutions.

Rows are quantised to uint8 with zero point 128 and a scale of their own. In vectors they are multiplied in tiles of 14
rows and what is left; a tile's bytes lie as (k / 4, rows, 4), so that a product reads both its operands from front to
back. In matrix registers they are multiplied 32 at a time, the last ones with whatever lies behind them:

    rows of a block    14          14          8       1     (37 rows)
    a tile             k=0..3: row 0, row 1, ... row 13 | k=4..7: row 0, row 1, ... | ...

    with matrices      32, 5, of which 16 lie together
    sixteen rows       row 0: k=0..63, row 1: k=0..63, ... row 15 | row 0: k=64..127, ... | ...

The zero point is made good for by sums that start at -128 times the sum of a column's weights.
"""

from typing import Any

import numpy as np
from numba import types

from nemotron_asr.engine.packed import matrix
from nemotron_asr.engine.packed.compiling import jit
from nemotron_asr.engine.packed.intrinsics import (
    atomic_add,
    atomic_load,
    bits,
    call_int8_tile,
    from_bits,
    quantise_16,
    rint,
)
from nemotron_asr.engine.packed.layout import (
    CONV_NORM,
    DOWN_1,
    DOWN_2,
    EXPAND,
    MATRICES,
    NORM_ATTENTION,
    NORM_CONV,
    NORM_FF1,
    NORM_FF2,
    NORM_OUT,
    OUT,
    QKV,
    REDUCE,
    TALL,
    TILE_COLUMNS,
    UP_1,
    UP_2,
    Batch,
    Bytes,
    Floats,
    Longs,
    State,
    Thread,
    Weights,
    deep,
)
from nemotron_asr.engine.packed.products import GLU, SILU

Real = Any
"""A float32: numba keeps it apart from a float, mypy from both."""

ONE: Real = np.float32(1)
ZERO: Real = np.float32(0)
EPSILON = np.float32(1e-5)
TINY = np.float32(1e-20)
"""No row's largest value is taken to be smaller, so that silence has a scale."""

OF_COLUMNS = 3 * 4 * TILE_COLUMNS
"""Bytes of `Weights.columns` of a tile."""

SPINS = 50_000
"""How often a thread looks before it lets others run: about 50 microseconds. The processor's `pause` is not used, for a
virtual machine that pauses a lot is taken from its core."""

sched_yield = types.ExternalFunction("sched_yield", types.int32())


@jit
def address(array: Any) -> Any:
    """Where an array begins: signed, for numba makes floats of sums of signed and unsigned numbers."""
    begin: Any = np.int64(array.ctypes.data)
    return begin


@jit
def share(n: int, part: int, parts: int) -> tuple[int, int]:
    """The range of n things that is one part's."""
    return n * part // parts, n * (part + 1) // parts


@jit
def barrier(thread: Thread) -> None:
    """Wait for the whole team."""
    if thread.threads == 1:
        return
    thread.awaited[0] += thread.threads
    atomic_add(address(thread.arrivals), 1)
    spins = 0
    while atomic_load(address(thread.arrivals)) < thread.awaited[0]:
        spins += 1
        if spins > SPINS:
            sched_yield()


@jit
def sync(thread: Thread) -> None:
    """Wait for those that compute other columns of the same rows."""
    if thread.parts > 1:
        barrier(thread)


@jit
def exp(x: Real) -> Real:
    """e^x to 2e-7; 0 below e^-87."""
    t = min(x, np.float32(88)) * np.float32(1.44269504)
    n = rint(max(t, np.float32(-126)))
    f = t - n
    p = np.float32(1.3333558e-3)
    p = p * f + np.float32(9.6181291e-3)
    p = p * f + np.float32(5.5504109e-2)
    p = p * f + np.float32(2.4022651e-1)
    p = p * f + np.float32(6.9314718e-1)
    p = p * f + ONE
    value = p * from_bits(np.int32((np.int32(n) + 127) << 23))
    return value if x > np.float32(-87) else ZERO


@jit
def bfloat16(x: Real) -> Any:
    """Rounded to the nearest; the upper half of the bits."""
    b = bits(x)
    return np.uint16((b + np.uint32(0x7FFF) + ((b >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@jit
def height(rows: int) -> int:
    """The tallest tile within so many rows: with matrix registers of any height, otherwise one of `ROWS`."""
    if MATRICES:
        return min(TALL, rows)
    return rows if rows < 2 or rows == 7 else min(14, rows // 2 * 2)


@jit
def tile_of(m: int, rows: int) -> tuple[int, int]:
    """First row and height of the tile with row m, in a block of so many rows."""
    start = m // 14 * 14
    tall = height(rows - start)
    return (start, tall) if m < start + tall else (start + tall, 1)


@jit
def place_of(m: int, rows: int, j: int, length: int) -> tuple[int, int]:
    """Where byte j of row m goes, of a block of `rows` of so many bytes, and how far apart its words of four lie."""
    if MATRICES:
        return m // 16 * 16 * length + j // 64 * 1024 + m % 16 * 64 + j % 64, 4
    start, tall = tile_of(m, rows)
    return start * length + 4 * (m - start) + j * tall, 4 * tall


@jit
def quantise(y: Floats, top: Real, m: int, rows: int, out: Bytes, scales: Floats) -> None:
    """Row m of a block of `rows`: y times 127 / top. What it is filled up with meets weights of zero."""
    quantise_tiles(address(y), len(y), 128, top, m, rows, out, scales)


@jit
def quantise_tiles(y: int, n: int, apart: int, top: Real, m: int, rows: int, out: Bytes, scales: Floats) -> None:
    """The same of n numbers from an address on, the next 32 of which lie so many bytes further."""
    top = max(top, TINY)
    scales[m] = top / np.float32(127)
    factor, target, length = np.float32(127) / top, address(out), deep(n)
    for j in range(0, n, 16):
        place, stride = place_of(m, rows, j, length)
        quantise_16(y + j // 32 * apart + j % 32 * 4, factor, target + place, stride)


@jit
def largest(y: Floats) -> Real:
    """The largest |y|: by its bits, since the compiler makes vectors of the search among whole numbers alone."""
    top = np.int32(0)
    whole = y.view(np.int32)
    for j in range(len(whole)):
        top = max(top, whole[j] & np.int32(0x7FFFFFFF))
    return from_bits(top)


@jit
def highest(y: Floats) -> Real:
    """The largest y; the bits of those below zero, but for the sign, are turned round for that."""
    top = np.int32(-0x7FFFFFFF)
    whole = y.view(np.int32)
    for j in range(len(whole)):
        top = max(top, whole[j] ^ ((whole[j] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
    return from_bits(top ^ ((top >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@jit
def layer_norm(x: Floats, norm: Floats, y: Floats) -> None:
    """One row; what it is filled up with stays as it is."""
    n = norm.shape[1]
    mean = ZERO
    for j in range(n):
        mean += x[j]
    mean /= np.float32(n)
    square = ZERO
    for j in range(n):
        square += (x[j] - mean) * (x[j] - mean)
    factor = ONE / np.sqrt(square / np.float32(n) + EPSILON)
    for j in range(n):
        y[j] = (x[j] - mean) * factor * norm[0, j] + norm[1, j]


@jit
def multiply(place: Longs, layer: int, x: Bytes, out: Floats, weights: Weights, thread: Thread) -> None:
    """A thread's part of the columns of x w, for all rows of a block; `place` is in `Weights.places`."""
    byte, tile, tiles, inputs, kind = place
    k, rows, work = deep(inputs), len(out), thread.work
    w, columns = address(weights.matrices[layer]) + byte, address(weights.columns[layer, tile])
    # Plain addresses from here on: to count the users of arrays would keep processors from working ahead.
    top, scales, to, whole = address(work.top[thread.part]), address(work.scales), address(out), address(x)
    stride, apart = out.strides[0], 64 if kind == GLU else 128
    if kind == SILU:  # tile behind tile
        stride, apart = 128, 128 * rows
    first, last = share(tiles, thread.part, thread.parts)
    pace = 128 // ((rows + TALL - 1) // TALL)
    if MATRICES:
        matrix.prepare()
    for n in range(first, last):
        ahead = w + (n + 1) * k * 32
        m = 0
        while m < rows:
            tall = height(rows - m)
            arguments = (
                kind, tall, whole + m * k, w + n * k * 32, columns + n * OF_COLUMNS, scales + 4 * m,
                to + m * stride + n * apart, top + 64 * m, ahead, k // 4, stride, 0 if MATRICES and m > 0 else pace,
            )  # fmt: skip
            call_int8_tile(work.tile, arguments)
            ahead += k // 4 * pace
            m += tall
    if MATRICES:
        matrix.forget()


@jit
def normalise(x: Floats, norm: Floats, thread: Thread) -> None:
    """Norm and quantise the rows of a block."""
    rows = len(x)
    first, last = share(rows, thread.part, thread.parts)
    for m in range(first, last):
        layer_norm(x[m], norm, thread.y)
        quantise(thread.y, largest(thread.y), m, rows, thread.work.x, thread.work.scales)


@jit
def quantise_hidden(rows: int, thread: Thread) -> None:
    """Quantise what is inside a feed-forward; its largest values were found when it was made."""
    work = thread.work
    first, last = share(rows, thread.part, thread.parts)
    for m in range(first, last):
        top = ZERO
        for p in range(thread.parts):
            top = max(top, largest(work.top[p, m]))
            work.top[p, m, :] = ZERO
        quantise_tiles(address(work.h) + 128 * m, work.h.shape[1], 128 * rows, top, m, rows, work.hq, work.scales)


@jit
def feed_forward(layer: int, norm: Floats, up: Longs, down: Longs, x: Floats, weights: Weights, thread: Thread) -> None:
    """Add down(silu(up(norm(x)))) / 2 to a block of rows; `up` and `down` are in `Weights.places`."""
    h = thread.work.h[: len(x)]
    normalise(x, norm, thread)
    sync(thread)
    multiply(up, layer, thread.work.x, h, weights, thread)
    sync(thread)
    quantise_hidden(len(x), thread)
    sync(thread)
    multiply(down, layer, thread.work.hq, x, weights, thread)
    sync(thread)


@jit
def before_attention(layer: int, x: Floats, qkv: Floats, weights: Weights, thread: Thread) -> None:
    """The first half feed-forward, then queries, keys and values, for a block of rows."""
    norms = weights.norms[layer]
    feed_forward(layer, norms[NORM_FF1], weights.places[UP_1], weights.places[DOWN_1], x, weights, thread)
    normalise(x, norms[NORM_ATTENTION], thread)
    sync(thread)
    multiply(weights.places[QKV], layer, thread.work.x, qkv, weights, thread)
    sync(thread)


@jit
def after_attention(layer: int, x: Floats, attended: Floats, gated: Floats, weights: Weights, thread: Thread) -> None:
    """X += out(attended), then the gated inputs of the convolution, for a block of rows."""
    rows = len(x)
    first, last = share(rows, thread.part, thread.parts)
    for m in range(first, last):
        quantise(attended[m], largest(attended[m]), m, rows, thread.work.x, thread.work.scales)
    sync(thread)
    multiply(weights.places[OUT], layer, thread.work.x, x, weights, thread)
    sync(thread)
    normalise(x, weights.norms[layer, NORM_CONV], thread)
    sync(thread)
    multiply(weights.places[EXPAND], layer, thread.work.x, gated, weights, thread)
    sync(thread)


@jit
def convolve(gated: Floats, past: Floats, t: int, i: int, taps: Floats, norm: Floats, y: Floats) -> None:
    """Frame i of a stream: silu(norm(depthwise convolution)) of its inputs, those before frame 0 being in `past`."""
    kernel = len(taps) - 1
    y[:] = taps[kernel]
    for tap in range(kernel):
        f = i - kernel + 1 + tap
        source = gated[f] if f >= 0 else past[(t + f) % (kernel - 1)]
        for j in range(len(y)):
            y[j] += source[j] * taps[tap, j]
    layer_norm(y, norm, y)
    for j in range(len(y)):
        y[j] = y[j] / (ONE + exp(-y[j]))


@jit
def after_convolution(
    layer: int, x: Floats, offset: int, gated: Floats, batch: Batch, state: State, weights: Weights, thread: Thread
) -> None:
    """X += reduce(convolution), the second half feed-forward and the last norm.

    `x` is a block of the group's rows, those from `offset` on; `gated` and `batch` are the whole group's.
    """
    rows, frames, y, norms = len(x), batch.frames, thread.y, weights.norms[layer]
    first, last = share(rows, thread.part, thread.parts)
    for m in range(first, last):
        stream, i = (offset + m) // frames, (offset + m) % frames
        inputs = gated[stream * frames : (stream + 1) * frames]
        past = state.conv[batch.rows[stream], layer]
        convolve(inputs, past, batch.t[stream], i, weights.taps[layer], norms[CONV_NORM], y)
        quantise(y, largest(y), m, rows, thread.work.x, thread.work.scales)
    sync(thread)
    multiply(weights.places[REDUCE], layer, thread.work.x, x, weights, thread)
    sync(thread)
    feed_forward(layer, norms[NORM_FF2], weights.places[UP_2], weights.places[DOWN_2], x, weights, thread)
    for m in range(first, last):
        layer_norm(x[m], norms[NORM_OUT], x[m])


@jit
def remember_inputs(layer: int, gated: Floats, batch: Batch, state: State, stream: int) -> None:
    """Keep a stream's last inputs of the convolution."""
    length, frames, t = state.conv.shape[2], batch.frames, batch.t[stream]
    if batch.keep[stream]:
        for i in range(max(0, frames - length), frames):
            state.conv[batch.rows[stream], layer, (t + i) % length] = gated[stream * frames + i]
