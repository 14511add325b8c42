"""Words in which intrinsics are written: each emits LLVM IR, over vectors of 16 lanes, where it is called."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

I64, I32, I16, I8, F32 = ir.IntType(64), ir.IntType(32), ir.IntType(16), ir.IntType(8), ir.FloatType()
BF16 = type("BFloat16", (ir.Type,), {"__str__": lambda _: "bfloat"})()
"""A type that llvmlite has no name for."""

LANES = 16
LONG = types.int64
INTS, FLOATS = ir.VectorType(I32, LANES), ir.VectorType(F32, LANES)
HALVES = ir.VectorType(I16, LANES)
POINTER = ir.PointerType()

CURRENT_ROUNDING = 4
"""What LLVM calls the rounding that is set."""

Builder = Any
Value = Any


def emitted(signature: Any) -> Callable[[Callable[..., Value | None]], Callable[..., Any]]:
    """An intrinsic of this signature, made of a function that takes an IR builder and the arguments' values."""

    def made(emit: Callable[..., Value | None]) -> Callable[..., Any]:
        def generate(context: Any, b: Builder, _: Any, arguments: Sequence[Value]) -> Value:
            value = emit(b, *arguments)
            return context.get_dummy_value() if value is None else value

        def typed(_: Any, *_arguments: Any) -> tuple[Any, Callable[..., Value]]:
            return signature, generate

        return cast("Callable[..., Any]", intrinsic(wraps(emit)(typed)))

    return made


def at(b: Builder, pointer: Value, offset: Value | int) -> Value:
    """A pointer some bytes further."""
    return b.gep(pointer, [I64(offset) if isinstance(offset, int) else offset], source_etype=I8)


def load(b: Builder, pointer: Value, offset: Value | int, kind: Any) -> Value:
    """What lies some bytes behind a pointer."""
    return b.load(at(b, pointer, offset), typ=kind, align=1)


def numbers(b: Builder, address: Value, count: int) -> list[Value]:
    """So many int64 at an address."""
    return [load(b, b.inttoptr(address, POINTER), 8 * i, I64) for i in range(count)]


def spread(b: Builder, scalar: Value, kind: Any) -> Value:
    """A scalar in every lane."""
    one = b.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
    return b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(INTS, None))


def constant(x: float) -> Value:
    """A number in every lane."""
    return ir.Constant(FLOATS, [x] * LANES)


def call(b: Builder, name: str, result: Any, arguments: Sequence[Value], kinds: Sequence[Any] = ()) -> Value:
    """A call of one of LLVM's own intrinsics."""
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return b.call(b.module.declare_intrinsic(name, kinds, kind), arguments)


def fma(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """X y + z."""
    return call(b, "llvm.fma.v16f32", FLOATS, (x, y, z))


def nearest(b: Builder, x: Value) -> Value:
    """The nearest whole numbers."""
    return call(b, "llvm.rint.v16f32", FLOATS, (x,))


def greater(b: Builder, x: Value, y: Value) -> Value:
    """The greater of each lane."""
    return b.select(b.fcmp_ordered(">", x, y), x, y)


def exp(b: Builder, x: Value) -> Value:
    """e^x to 2e-7, at most 2^126: 2^n by the exponent's bits, 2^f for |f| <= 1/2 by a polynomial."""
    t = b.fmul(x, constant(1.4426950408889634))
    t = b.select(b.fcmp_ordered("<", t, constant(126.0)), t, constant(126.0))
    n = nearest(b, t)
    f = b.fsub(t, n)
    p = constant(1.3333558146e-3)
    for coefficient in (9.6181291076e-3, 5.5504108664e-2, 2.4022650696e-1, 6.9314718056e-1, 1.0):
        p = fma(b, p, f, constant(coefficient))
    return call(b, "llvm.x86.avx512.mask.scalef.ps.512", FLOATS, (p, n, p, I16(-1), I32(CURRENT_ROUNDING)))


def reciprocal(b: Builder, x: Value) -> Value:
    """1 / x to 2e-7: an estimate of 14 bits and a step of Newton's, a third of the time of a division."""
    estimate = call(b, "llvm.x86.avx512.rcp14.ps.512", FLOATS, (x, constant(0.0), I16(-1)))
    return b.fmul(estimate, b.fsub(constant(2.0), b.fmul(x, estimate)))


def sigmoid(b: Builder, x: Value) -> Value:
    """1 / (1 + e^-x)."""
    return reciprocal(b, b.fadd(constant(1.0), exp(b, b.fneg(x))))


def if_equal(b: Builder, x: Value, y: int) -> Any:
    """What is emitted within runs where x is y."""
    return b.if_then(b.icmp_signed("==", x, x.type(y)))


Sums = list[list[Value]]
Walk = tuple[Value, Value]
"""Where a pointer starts and the bytes by which it advances."""


def accumulate(b: Builder, count: Value, walks: Sequence[Walk], start: Sums, body: Callable[..., Sums]) -> Sums:
    """A loop over k: `body(pointers, sums)` gives the new sums; one pointer for each walk."""
    entry, loop, done = b.block, b.append_basic_block("k"), b.append_basic_block("k.done")
    b.branch(loop)
    b.position_at_end(loop)
    k = b.phi(I64)
    pointers = [b.phi(POINTER) for _ in walks]
    sums = [[b.phi(x.type) for x in row] for row in start]
    new = body(pointers, sums)
    end, next_k = b.block, b.sub(k, I64(1))
    k.add_incoming(count, entry)
    k.add_incoming(next_k, end)
    for pointer, (first, stride) in zip(pointers, walks, strict=True):
        pointer.add_incoming(first, entry)
        pointer.add_incoming(at(b, pointer, stride), end)
    for phis, firsts, news in zip(sums, start, new, strict=True):
        for phi, first, last in zip(phis, firsts, news, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(last, end)
    b.cbranch(b.icmp_signed(">", next_k, I64(0)), loop, done)
    b.position_at_end(done)
    return new


def repeat(b: Builder, count: Value, walks: Sequence[Walk], body: Callable[..., None]) -> None:
    """A loop: `body(pointers)`, one pointer for each walk."""

    def each(pointers: Sequence[Value], _: Sums) -> Sums:
        body(pointers)
        return []

    accumulate(b, count, walks, [], each)


def prefetch(b: Builder, address: Value) -> None:
    """Have a cache line brought to the second-level cache, to be read."""
    call(b, "llvm.prefetch", ir.VoidType(), (address, I32(0), I32(2), I32(1)), (POINTER,))
