"""What numba has no word for: rounding in vectors, calls by address, atomics. Addresses are whole numbers."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from nemotron_asr.engine.packed.emitting import (
    BF16,
    F32,
    FLOATS,
    I8,
    I32,
    I64,
    INTS,
    LANES,
    LONG,
    POINTER,
    Builder,
    Value,
    at,
    call,
    emitted,
    load,
    nearest,
    prefetch,
    repeat,
    spread,
)


@emitted(types.void(types.intp, types.float32, types.intp, LONG))
def quantise_16(b: Builder, y: Value, factor: Value, out: Value, stride: Value) -> None:
    """Round 16 floats times `factor`, add 128, and write the bytes in fours, `stride` bytes apart."""
    values = load(b, b.inttoptr(y, POINTER), 0, FLOATS)
    whole = b.fptosi(nearest(b, b.fmul(values, spread(b, factor, FLOATS))), INTS)
    shifted = b.trunc(b.add(whole, ir.Constant(INTS, [128] * LANES)), ir.VectorType(I8, LANES))
    fours = b.bitcast(shifted, ir.VectorType(I32, 4))
    out = b.inttoptr(out, POINTER)
    for i in range(4):
        b.store(b.extract_element(fours, I32(i)), at(b, out, b.mul(stride, I64(i))), align=1)


@emitted(types.void(types.intp, types.intp, LONG))
def halve_16(b: Builder, y: Value, out: Value, stride: Value) -> None:
    """Write 16 floats as bfloat16 in twos, `stride` bytes apart."""
    halves = b.fptrunc(load(b, b.inttoptr(y, POINTER), 0, FLOATS), ir.VectorType(BF16, LANES))
    twos, out = b.bitcast(halves, ir.VectorType(I32, LANES // 2)), b.inttoptr(out, POINTER)
    for i in range(LANES // 2):
        b.store(b.extract_element(twos, I32(i)), at(b, out, b.mul(stride, I64(i))), align=1)


@emitted(types.void(types.intp, types.intp))
def copy_64(b: Builder, source: Value, target: Value) -> None:
    """Copy 64 bytes."""
    b.store(load(b, b.inttoptr(source, POINTER), 0, INTS), b.inttoptr(target, POINTER), align=1)


@emitted(types.void(types.intp, LONG))
def fetch(b: Builder, address: Value, lines: Value) -> None:
    """Have so many cache lines, at least one, brought to the second-level cache."""
    repeat(b, lines, [(b.inttoptr(address, POINTER), I64(64))], lambda line: prefetch(b, line[0]))


def _caller(count: int) -> Callable[..., Any]:
    def call(b: Builder, address: Value, arguments: Value) -> None:
        memory = cgutils.alloca_once(b, ir.ArrayType(I64, count))
        for i, argument in enumerate(cgutils.unpack_tuple(b, arguments)):
            b.store(argument, b.gep(memory, [I32(0), I32(i)]))
        kind = ir.FunctionType(ir.VoidType(), [I64])
        b.call(b.inttoptr(address, kind.as_pointer()), [b.ptrtoint(memory, I64)])

    return emitted(types.void(types.intp, types.UniTuple(LONG, count)))(call)


call_int8_tile, call_float_tile = _caller(12), _caller(7)
call_half_tile = call_float_tile
"""Call a function by its address, with the address of the numbers in a tuple."""


@emitted(types.uint32(types.float32))
def bits(b: Builder, x: Value) -> Value:
    """The bits of a float32."""
    return b.bitcast(x, I32)


@emitted(types.float32(types.int32))
def from_bits(b: Builder, x: Value) -> Value:
    """The float32 with these bits."""
    return b.bitcast(x, F32)


@emitted(types.float32(types.float32))
def rint(b: Builder, x: Value) -> Value:
    """The nearest whole number, the even one of two."""
    return call(b, "llvm.rint.f32", F32, (x,))


@emitted(types.int64(types.intp, types.int64))
def atomic_add(b: Builder, address: Value, value: Value) -> Value:
    """Add to an int64 that threads share; gives what was there before."""
    return b.atomic_rmw("add", b.inttoptr(address, POINTER), value, "seq_cst")


@emitted(types.int64(types.intp))
def atomic_load(b: Builder, address: Value) -> Value:
    """Read an int64 that threads share."""
    return b.load_atomic(b.inttoptr(address, POINTER), "acquire", 8, typ=I64)
