"""Tiles of matrix products, held in registers.

AVX-512 has 32 vector registers: a tile of 14 rows and 32 columns keeps 28 of them as accumulators, so that a vector of
weights is used 14 times. Products of bfloat16 with bfloat16 are made as those of int8 are, two at a time.

    tile of int8 products, k four at a time            tile of float32 products

          32 columns of weights (int8)                        16 v columns of b (bfloat16)
        +----------------+----------------+                  +------------- ... ---+
        | 16 x 4 bytes   | 16 x 4 bytes   |                  | 16 lanes            |
        +----------------+----------------+                  +------------- ... ---+
    row | accumulator    | accumulator    |              row | accumulator         |
    ... | += 4 bytes of the row, repeated |              ... | += one element of a |
     14 |                |                |               14 |                     |
        +----------------+----------------+                  +------------- ... ---+
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types

from nemotron_asr.engine.packed.emitting import (
    BF16,
    F32,
    FLOATS,
    HALVES,
    I32,
    I64,
    INTS,
    LANES,
    POINTER,
    Builder,
    Sums,
    Value,
    Walk,
    accumulate,
    at,
    call,
    constant,
    emitted,
    fma,
    greater,
    if_equal,
    load,
    numbers,
    prefetch,
    sigmoid,
    spread,
)

ROWS = (14, 12, 10, 8, 7, 6, 4, 2, 1)
"""Heights of tiles of int8 products."""

WIDE = {14: 2, 7: 4, 4: 4, 2: 4, 1: 4}
"""Vectors of 16 columns in a wide tile of float32 products, by its rows, which are those of a chunk; a narrow one has a
single vector."""

PITCH = 17 * 64
"""Bytes between the rows of small matrices, 272 floats: an odd number of cache lines spreads columns over the cache."""

STORE, ADD, SILU, GLU = range(4)
"""What becomes of a tile of int8 products."""


def _dot_bytes(b: Builder, sums: Value, x: Value, w: Value) -> Value:
    """Every lane's sum and the products of its four unsigned x and signed w."""
    return call(b, "llvm.x86.avx512.vpdpbusd.512", INTS, (sums, x, w))


def _dot_halves(b: Builder, sums: Value, x: Value, w: Value) -> Value:
    """Every lane's sum and the products of its two bfloat16 x and w."""
    pairs = [b.bitcast(each, ir.VectorType(BF16, 2 * LANES)) for each in (x, w)]
    return call(b, "llvm.x86.avx512bf16.dpbf16ps.512", FLOATS, (sums, *pairs))


def _dot_sums(b: Builder, walks: Sequence[Walk], count: Value, start: Sums, dot: Callable[..., Value]) -> Sums:
    """(rows, 32) sums over k of x times w, both packed into words of 4 bytes, of which a row has `count`.

    The walks are over x, w and, if there is a third, what is wanted next; they advance at every word.
    """
    rows = len(start)
    unroll = 2 if rows > 4 else 4

    def body(pointers: Sequence[Value], sums: Sums) -> Sums:
        xp, wp, *wanted = pointers
        for u in range(unroll):
            for ahead in wanted:
                for half in range(2):
                    prefetch(b, at(b, ahead, b.add(b.mul(walks[2][1], I64(u)), I64(64 * half))))
            weights = [load(b, wp, 128 * u + 64 * c, INTS) for c in range(2)]
            new = []
            for r in range(rows):
                word = spread(b, load(b, xp, 4 * (rows * u + r), I32), INTS)
                new.append([dot(b, sums[r][c], word, weights[c]) for c in range(2)])
            sums = new
        return sums

    strides = [(first, b.mul(stride, I64(unroll))) for first, stride in walks]
    return accumulate(b, b.sdiv(count, I64(unroll)), strides, start, body)


def _starts(b: Builder, offsets: Value, rows: int, kind: Any) -> Sums:
    """The same 32 values for every row of a tile."""
    return [[load(b, offsets, 64 * c, kind) for c in range(2)] for _ in range(rows)]


Finish = Callable[[Value, Value, list[Value]], None]
"""What is done with the values of a row of a tile: takes where it goes, its largest so far, and two vectors."""


Scaling = Callable[[Sequence[Value], Value], list[Value]]


def scaling(b: Builder, columns: Value) -> Scaling:
    """What brings the sums of a row, whose scale is at an address, to their values.

    A value is its sum * the row's scale * the column's scale + bias.
    """
    scale, bias = ([load(b, columns, 128 * i + 64 * c, FLOATS) for c in range(2)] for i in (1, 2))

    def scaled(sums: Sequence[Value], own: Value) -> list[Value]:
        factor = spread(b, load(b, own, 0, F32), FLOATS)
        return [fma(b, b.fmul(b.sitofp(sums[c], FLOATS), factor), scale[c], bias[c]) for c in range(2)]

    return scaled


def finishes(b: Builder) -> dict[int, Finish]:
    """What is done with a row of a tile, by kind."""

    def store(out: Value, _: Value, values: list[Value]) -> None:
        for c, value in enumerate(values):
            b.store(value, at(b, out, 64 * c), align=1)

    def add(out: Value, top: Value, values: list[Value]) -> None:
        old = [load(b, out, 64 * c, FLOATS) for c in range(2)]
        store(out, top, [b.fadd(value, x) for value, x in zip(values, old, strict=True)])

    def silu(out: Value, top: Value, values: list[Value]) -> None:
        results = [b.fmul(value, sigmoid(b, value)) for value in values]
        store(out, top, results)
        highest = load(b, top, 0, FLOATS)
        for result in results:
            highest = greater(b, highest, call(b, "llvm.fabs.v16f32", FLOATS, (result,)))
        b.store(highest, top, align=1)

    def glu(out: Value, top: Value, values: list[Value]) -> None:
        store(out, top, [b.fmul(values[0], sigmoid(b, values[1]))])

    return {STORE: store, ADD: add, SILU: silu, GLU: glu}


@emitted(types.void(types.intp))
def emit_int8_tile(b: Builder, arguments: Value) -> None:
    """One tile of x w, finished while it is in registers; the arguments are those of `tiles.int8_tile`."""
    kind, height, *addresses, k4, stride, pace = numbers(b, arguments, 12)
    x, w, columns, scales, out, top, ahead = (b.inttoptr(address, POINTER) for address in addresses)
    for rows in ROWS:
        with if_equal(b, height, rows):
            walks = [(x, I64(4 * rows)), (w, I64(128)), (ahead, pace)]
            sums = _dot_sums(b, walks, k4, _starts(b, columns, rows, INTS), _dot_bytes)
            for what, finish in finishes(b).items():
                with if_equal(b, kind, what):
                    scaled = scaling(b, columns)
                    for r, row in enumerate(sums):
                        values = scaled(row, at(b, scales, 4 * r))
                        finish(at(b, out, b.mul(stride, I64(r))), at(b, top, 64 * r), values)


def rectify(b: Builder, values: Sequence[Value], out: Value) -> None:
    """Store what of a row's values is above zero."""
    for c, value in enumerate(values):
        b.store(greater(b, value, constant(0)), at(b, out, 64 * c), align=1)


@emitted(types.void(types.intp))
def emit_half_tile(b: Builder, arguments: Value) -> None:
    """One tile of relu(x w); the arguments are those of `convolutions.half_tile`."""
    height, *addresses, k2, stride = numbers(b, arguments, 7)
    x, w, biases, out = (b.inttoptr(address, POINTER) for address in addresses)
    for rows in ROWS:
        with if_equal(b, height, rows):
            sums = _dot_sums(b, [(x, I64(4 * rows)), (w, I64(128))], k2, _starts(b, biases, rows, FLOATS), _dot_halves)
            for r, row in enumerate(sums):
                rectify(b, row, at(b, out, b.mul(stride, I64(r))))


def _float_sums(b: Builder, a: Value, m: Value, stride: Value, k: Value, rows: int, vectors: int) -> Sums:
    """(rows, 16 vectors) sums over k of a (rows, k) float32 times m (k, 16 vectors) bfloat16."""
    high = ir.Constant(INTS, [16] * LANES)

    def body(pointers: Sequence[Value], sums: Sums) -> Sums:
        ap, mp = pointers
        wide = [b.shl(b.zext(load(b, mp, 32 * c, HALVES), INTS), high) for c in range(vectors)]
        values = [b.bitcast(x, FLOATS) for x in wide]
        elements = [spread(b, load(b, ap, PITCH * r, F32), FLOATS) for r in range(rows)]
        return [[fma(b, elements[r], values[c], sums[r][c]) for c in range(vectors)] for r in range(rows)]

    start = [[ir.Constant(FLOATS, None)] * vectors for _ in range(rows)]
    return accumulate(b, k, [(a, I64(4)), (m, stride)], start, body)


@emitted(types.void(types.intp))
def emit_float_tile(b: Builder, arguments: Value) -> None:
    """One tile of a m; the arguments are those of `tiles.float_tile`."""
    height, width, *addresses, stride, k = numbers(b, arguments, 7)
    a, m, out = (b.inttoptr(address, POINTER) for address in addresses)
    for rows, wide in WIDE.items():
        for vectors in (wide, 1):
            with if_equal(b, height, rows), if_equal(b, width, vectors):
                for r, row in enumerate(_float_sums(b, a, m, stride, k, rows, vectors)):
                    for c, value in enumerate(row):
                        b.store(value, at(b, out, PITCH * r + 64 * c), align=1)
