"""Tiles of matrix products in the matrix registers of AMX: eight times as many products a second as in vectors.

A register holds 16 rows of 64 bytes, of x or of weights, or 16 x 16 sums. Two of x times two of weights
are four of sums:

                      w: 16 columns | 16 columns
                        +-----------+-----------+
    x: 16 rows, 64 of k |     0     |     1     |
                        +-----------+-----------+
       16 rows, 64 of k |     2     |     3     |
                        +-----------+-----------+

The sums go through memory, from which vectors bring them to scale. Those of int8 products are the same to the last bit.
"""

from functools import partial

from llvmlite import ir
from numba import types

from nemotron_asr.engine.packed.emitting import (
    FLOATS,
    I8,
    I64,
    INTS,
    POINTER,
    Builder,
    Value,
    at,
    call,
    emitted,
    if_equal,
    load,
    numbers,
    prefetch,
    repeat,
)
from nemotron_asr.engine.packed.products import Finish, Scaling, finishes, rectify, scaling

ROWS = 32
"""Of a tile; one of up to 16 rows takes half of the registers."""

HALF = ROWS // 2
DEEP = 64
"""Bytes of a row of a register."""

REGISTER = HALF * DEEP
"""Bytes of a register."""

COLUMNS = 3 * 4 * ROWS
"""Bytes of where the sums of a tile's columns start, their scales and their biases; the next tile's follow."""

CACHE_LINE = 64
LINES = REGISTER // CACHE_LINE

SUMS, LEFT, RIGHT = (0, 1, 2, 3), (4, 5), (6, 7)
"""The registers of the sums, of x and of weights."""


def _configuration() -> list[int]:
    """What a processor is told of its registers: palette 1, so many bytes a row (16 bits each), so many rows."""
    return [1, *[0] * 15, *[DEEP, 0] * 8, *[0] * 16, *[HALF] * 8, *[0] * 8]


def _void(b: Builder, name: str, *arguments: Value) -> None:
    call(b, f"llvm.x86.{name}", ir.VoidType(), arguments)


@emitted(types.void())
def prepare(b: Builder) -> None:
    """Set the registers up, in the thread that calls it."""
    data = _configuration()
    kind = ir.ArrayType(I8, len(data))
    place = ir.GlobalVariable(b.module, kind, b.module.get_unique_name("configuration"))
    place.linkage, place.global_constant, place.initializer = "internal", True, ir.Constant(kind, data)
    _void(b, "ldtilecfg", b.bitcast(place, POINTER))


@emitted(types.void())
def forget(b: Builder) -> None:
    """Forget the registers, so that nobody has to save them."""
    _void(b, "tilerelease")


def _load(b: Builder, register: int, place: Value) -> None:
    _void(b, "tileloadd64", I8(register), place, I64(DEEP))


def _multiply(b: Builder, dot: str, halves: int, fetching: bool, x: Value, w: Value, k: Value) -> None:
    """The sums of so many halves of a tile, over k registers; the second half of x lies behind the first.

    Weights that come from memory are asked for one register ahead: that is what the processor's own fetching ahead
    makes the most of, 20 GB/s of a core instead of 15.
    """
    for register in SUMS[: 2 * halves]:
        _void(b, "tilezero", I8(register))

    def body(pointers: list[Value]) -> None:
        *rows, weights = pointers
        for half, row in enumerate(rows):
            _load(b, LEFT[half], row)
        for c, register in enumerate(RIGHT):
            for line in range(LINES * fetching):
                prefetch(b, at(b, weights, REGISTER * (c + 1) + CACHE_LINE * line))
            _load(b, register, at(b, weights, REGISTER * c))
            for half in range(halves):
                _void(b, dot, I8(SUMS[2 * half + c]), I8(LEFT[half]), I8(register))

    firsts = [at(b, x, b.mul(k, I64(REGISTER * half))) for half in range(halves)]
    repeat(b, k, [*((first, I64(REGISTER)) for first in firsts), (w, I64(2 * REGISTER))], body)


def _memory(b: Builder) -> Value:
    """Memory for the sums of a tile."""
    with b.goto_entry_block():
        place = b.alloca(ir.ArrayType(INTS, 2 * ROWS))
        place.align = DEEP
    return b.bitcast(place, POINTER)


def _keep(b: Builder, halves: int, memory: Value) -> None:
    """Write the sums to memory, (16 halves, 32) int32."""
    for i, register in enumerate(SUMS[: 2 * halves]):
        place = at(b, memory, i // 2 * 2 * REGISTER + i % 2 * DEEP)
        _void(b, "tilestored64", I8(register), place, I64(2 * DEEP))


@emitted(types.void(types.intp))
def emit_int8_tile(b: Builder, arguments: Value) -> None:
    """One tile of x w of up to 32 rows, after `prepare`; the arguments are those of `tiles.int8_tile`."""
    kind, height, *addresses, k4, stride, pace = numbers(b, arguments, 12)
    x, w, columns, scales, out, top, _ = (b.inttoptr(address, POINTER) for address in addresses)
    for line in range(COLUMNS // CACHE_LINE):
        prefetch(b, at(b, columns, COLUMNS + CACHE_LINE * line))
    memory, k = _memory(b), b.sdiv(k4, I64(DEEP // 4))
    tall, fetching = b.icmp_signed(">", height, I64(HALF)), b.icmp_signed(">", pace, I64(0))
    for halves, high in ((2, tall), (1, b.not_(tall))):
        for ahead, wanted in ((True, fetching), (False, b.not_(fetching))):
            with b.if_then(b.and_(high, wanted)):
                _multiply(b, "tdpbusd", halves, ahead, x, w, k)
                _keep(b, halves, memory)
    starts = [load(b, columns, 64 * c, INTS) for c in range(2)]
    walks = [(memory, I64(2 * DEEP)), (scales, I64(4)), (out, stride), (top, I64(64))]

    def complete(pointers: list[Value], finish: Finish, scaled: Scaling) -> None:
        sums, own, to, highest = pointers
        values = [b.add(load(b, sums, 64 * c, INTS), starts[c]) for c in range(2)]
        finish(to, highest, scaled(values, own))

    for what, finish in finishes(b).items():
        with if_equal(b, kind, what):
            repeat(b, height, walks, partial(complete, finish=finish, scaled=scaling(b, columns)))


@emitted(types.void(types.intp))
def emit_half_tile(b: Builder, arguments: Value) -> None:
    """One tile of relu(x w) of up to 32 rows; the arguments are those of `convolutions.half_tile`."""
    height, *addresses, k2, stride = numbers(b, arguments, 7)
    x, w, biases, out = (b.inttoptr(address, POINTER) for address in addresses)
    memory, tall = _memory(b), b.icmp_signed(">", height, I64(HALF))
    for halves, high in ((2, tall), (1, b.not_(tall))):
        with b.if_then(high):
            _multiply(b, "tdpbf16ps", halves, False, x, w, b.sdiv(k2, I64(DEEP // 4)))
            _keep(b, halves, memory)
    starts = [load(b, biases, 64 * c, FLOATS) for c in range(2)]

    def row(pointers: list[Value]) -> None:
        sums, to = pointers
        rectify(b, [b.fadd(load(b, sums, 64 * c, FLOATS), starts[c]) for c in range(2)], to)

    repeat(b, height, [(memory, I64(2 * DEEP)), (out, stride)], row)
