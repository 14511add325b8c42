"""How weights, state and scratch memory are laid out: named tuples of arrays, which numba can take."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemotron_asr.engine.packed.compiling import jit
from nemotron_asr.engine.packed.machine import has_matrices

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Halves = NDArray[np.uint16]
"""bfloat16, which NumPy does not know: the upper half of a float32."""

MATRICES = has_matrices()
"""Whether products are made in matrix registers; what they read is laid out otherwise. See `kernels`."""

TILE_COLUMNS = 32
TALL, DEEP = (32, 64) if MATRICES else (14, 16)
"""Rows of a tile of int8 products, and the numbers of a row by whole multiples of which it reads."""

BLOCK = 4 * TALL
"""Rows that go through a feed-forward at once, so that what is inside it stays in a core's cache."""


@jit
def deep(inputs: int) -> int:
    """The length of rows of so many numbers where a product reads them."""
    return (inputs + DEEP - 1) // DEEP * DEEP


LONGEST = 14
"""Frames of the longest of `config.LATENCIES`; a number, for compiled code is kept while this folder stays as it is."""

UP_1, DOWN_1, QKV, OUT, EXPAND, REDUCE, UP_2, DOWN_2 = range(8)
"""The matrices of a block, in the order in which they are used."""

NORM_FF1, NORM_ATTENTION, NORM_CONV, CONV_NORM, NORM_FF2, NORM_OUT = range(6)


class Weights(NamedTuple):
    """The weights of all blocks.

    A matrix (columns, k) is cut into tiles of 32 columns, whose bytes lie in the order in which a product reads them:
    (deep(k) / 4, 32, 4), or (deep(k) / 64, 2, 16, 16, 4) for matrix registers. The columns of EXPAND are taken 16
    values and 16 gates at a time.
    """

    matrices: NDArray[np.int8]  # (layers, bytes of all matrices)
    places: Longs  # (matrices, 5): first byte, first tile, tiles, k, what becomes of the product
    columns: Floats  # (layers, tiles, 3, 32): where int32 sums start (as bits), scales, biases
    norms: Floats  # (layers, norms, 2, d_model): weight and bias
    taps: Floats  # (layers, kernel + 1, row): the depthwise convolution, oldest tap first, and its bias
    biases: Floats  # (layers, heads, 2, d_head): attention's content and position bias


class Stem(NamedTuple):
    """The weights of the subsampling, but for its linear."""

    first: Floats  # (10, channels): nine taps, row by row, and the bias
    taps: Floats  # (2, 10, channels): of the depthwise convolutions
    points: Halves  # (2, tiles, 32 channels): of the pointwise ones, two by two as a product reads them, see `Weights`
    biases: Floats  # (2, channels)


class Stages(NamedTuple):
    """What the stages of the subsampling read while one frame is made; a thread's own.

    Of every input, the frames of one after the other, the first of which belongs to the past; where there is a channel
    axis, a last bin of zeros stands for those that do not exist.
    """

    mel: Floats  # (1 + 8, bins)
    first: Floats  # ((1 + 4) bins + 1, channels)
    second: Floats  # ((1 + 2) bins + 1, channels)
    y: Floats  # (channels,) of one bin
    halves: Halves  # (2 bins to whole tiles, channels) inputs of a product
    tile: int  # the address of `convolutions.half_tile`


class State(NamedTuple):
    """The streams' past, rings in which the frame of time t lies in slot t modulo their length."""

    k: Halves  # (rows, layers, heads, d_head, slots): the first `left` slots of a line hold keys
    v: Halves  # (rows, layers, heads, left, d_head)
    conv: Floats  # (rows, layers, kernel - 1, row): inputs of the convolutions


class Batch(NamedTuple):
    """The streams of a step."""

    rows: Longs  # (B,) where their state lives
    t: Longs  # (B,) their clocks
    end: Longs  # (B,) encoder frames that exist
    keep: NDArray[np.bool_]  # (B,) whether their state moves on
    frames: int  # of each stream
    chunk: int


class Scratch(NamedTuple):
    """Memory of one block of rows; a team that shares columns shares it."""

    x: Bytes  # (rows deep,) quantised, of the deepest that is, see `kernels`
    h: Floats  # (rows, d_ff) inside a feed-forward: of all rows 32 columns, then the next
    hq: Bytes  # (rows d_ff,) the same, quantised
    scales: Floats  # (rows,) of what is quantised
    top: Floats  # (threads, rows, 16): the largest |h|, lane by lane
    tile: int  # the address of `tiles.int8_tile`


class Group(NamedTuple):
    """What the streams of a group exchange within a layer; shared by the team."""

    qkv: Floats  # (rows, 3 heads d_head)
    attended: Floats  # (rows, heads d_head)
    gated: Floats  # (rows, row) inputs of the convolution


class Context(NamedTuple):
    """Keys and values of one head of one stream in the order of time, and small matrices; a thread's own."""

    k: Halves  # (d_head, margin + ...), so that keys are columns
    v: Halves  # (left + frames, d_head)
    margin: int  # columns before the oldest key
    left: int  # keys of the past
    small: Floats  # (5, 14, PITCH / 4)
    tile: int  # the address of `tiles.float_tile`


class Thread(NamedTuple):
    """One thread of a team that computes a step together, and what it works with.

    A team shares either the rows of a step, when `parts` is 1 and each thread does all columns of its rows, or the
    columns, when there are too few rows and thread `part` does its part of the columns of all of them.
    """

    part: int
    parts: int
    thread: int
    threads: int
    arrivals: Longs  # [0], shared: how often a thread has come to a barrier
    awaited: Longs  # [0], own: how many arrivals open the next
    work: Scratch
    context: Context
    y: Floats  # (row,) one row


class Predictor(NamedTuple):
    """What the predictor of one stream or more remembers, axis 0 the streams."""

    out: Floats  # (B, d_joint) its last prediction, projected for the joint
    h: Floats  # (B, layers, d_pred)
    c: Floats  # (B, layers, d_pred)


class Transducer(NamedTuple):
    """Predictor and joint; `weights` has one layer, with the gates of every LSTM layer, the projection and the head."""

    weights: Weights
    embed: Floats  # (vocab_size + 1, d_pred)
    fresh: Predictor  # of a stream that has said nothing
    final: NDArray[np.bool_]  # (vocab_size + 1,) tokens behind which the predictor starts anew
    limit: int  # tokens of one frame


class Preference(NamedTuple):
    """What the streams of a step prefer and rule out; see `decoding.bias.Bias`."""

    first: Longs  # (nodes + 1,) where the arcs of each node begin
    token: Longs  # (arcs,)
    target: Longs  # (arcs,) counted from the root of a tree
    gain: Floats  # (arcs,)
    gaining: Longs  # (nodes,) how many arcs of each node gain something, which are its first
    root: Longs  # (B,) the node in which each stream's tree begins
    place: Longs  # (B, 2): where it is in its tree, in the second column; moves on
    banned: Longs  # (B, most) tokens that may not be said; blank fills up


class Search(NamedTuple):
    """Memory of a search, that of the thread that runs it; its team reads `order` and writes products."""

    time: Longs  # (B,) the frame at which each stream stands
    symbols: Longs  # (B,) what it has said there
    cells: Longs  # (BLOCK, 2): stream and frame
    speaking: Longs  # (BLOCK, 2): stream and token
    x: Floats  # (BLOCK, 2 d_pred or d_joint)
    y: Floats  # (BLOCK, 4 d_pred or d_joint)
    logits: Floats  # (BLOCK, vocab_size + 1 to a multiple of 32)
    own: Floats  # (vocab_size + 1,) logits that were ruled out for a moment
    order: Longs  # (2,) the matrix that is to be multiplied with, and how many rows


class Said(NamedTuple):
    """The tokens of a step."""

    counts: Longs  # (B,)
    tokens: Longs  # (B, most, 2): token and frame
    sure: Floats  # (B, most, 2): log-probability and certainty
