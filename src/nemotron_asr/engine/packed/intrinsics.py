"""What numba has no word for: vectors of 16 lanes, tiles of matrix products held in registers, atomics.

Every intrinsic takes addresses as integers and emits LLVM IR where it is called. AVX-512 has 32 vector registers: a
tile of 14 rows and 32 columns keeps 28 of them as accumulators, so that a vector of weights is used 14 times.

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
from functools import wraps
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I64, I32, I16, I8, F32 = ir.IntType(64), ir.IntType(32), ir.IntType(16), ir.IntType(8), ir.FloatType()
BF16 = type("BFloat16", (ir.Type,), {"__str__": lambda _: "bfloat"})()
"""A type that llvmlite has no name for."""

LANES = 16
LONG = types.int64
INTS, FLOATS = ir.VectorType(I32, LANES), ir.VectorType(F32, LANES)
BYTES, HALVES = ir.VectorType(I8, 4 * LANES), ir.VectorType(I16, LANES)
POINTER = ir.PointerType()

ROWS = (14, 12, 10, 8, 7, 6, 4, 2, 1)
"""Heights of tiles of int8 products."""

WIDE = {14: 2, 7: 4, 4: 4, 2: 4, 1: 4}
"""Vectors of 16 columns in a wide tile of float32 products, by its rows, which are those of a chunk; a narrow one has a
single vector."""

PITCH = 17 * 64
"""Bytes between the rows of small matrices, 272 floats: an odd number of cache lines spreads columns over the cache."""

STORE, ADD, SILU, GLU = range(4)
"""What becomes of a tile of int8 products."""

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


def _at(b: Builder, pointer: Value, offset: Value | int) -> Value:
    """A pointer some bytes further."""
    return b.gep(pointer, [I64(offset) if isinstance(offset, int) else offset], source_etype=I8)


def _load(b: Builder, pointer: Value, offset: Value | int, kind: Any) -> Value:
    return b.load(_at(b, pointer, offset), typ=kind, align=1)


def _numbers(b: Builder, address: Value, count: int) -> list[Value]:
    """So many int64 at an address."""
    return [_load(b, b.inttoptr(address, POINTER), 8 * i, I64) for i in range(count)]


def _spread(b: Builder, scalar: Value, kind: Any) -> Value:
    """A scalar in every lane."""
    one = b.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
    return b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(INTS, None))


def _number(x: float) -> Value:
    return ir.Constant(FLOATS, [x] * LANES)


def _call(b: Builder, name: str, result: Any, arguments: Sequence[Value], kinds: Sequence[Any] = ()) -> Value:
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return b.call(b.module.declare_intrinsic(name, kinds, kind), arguments)


def _fma(b: Builder, x: Value, y: Value, z: Value) -> Value:
    return _call(b, "llvm.fma.v16f32", FLOATS, (x, y, z))


def _round(b: Builder, x: Value) -> Value:
    return _call(b, "llvm.rint.v16f32", FLOATS, (x,))


def _max(b: Builder, x: Value, y: Value) -> Value:
    return b.select(b.fcmp_ordered(">", x, y), x, y)


def _exp(b: Builder, x: Value) -> Value:
    """e^x to 2e-7: 2^n by the exponent's bits, 2^f for |f| <= 1/2 by a polynomial."""
    x = _max(b, x, _number(-87.0))
    x = b.select(b.fcmp_ordered("<", x, _number(88.0)), x, _number(88.0))
    t = b.fmul(x, _number(1.4426950408889634))
    n = _round(b, t)
    f = b.fsub(t, n)
    p = _number(1.3333558146e-3)
    for coefficient in (9.6181291076e-3, 5.5504108664e-2, 2.4022650696e-1, 6.9314718056e-1, 1.0):
        p = _fma(b, p, f, _number(coefficient))
    exponent = b.shl(b.fptosi(n, INTS), ir.Constant(INTS, [23] * LANES))
    return b.bitcast(b.add(b.bitcast(p, INTS), exponent), FLOATS)


def _sigmoid(b: Builder, x: Value) -> Value:
    return b.fdiv(_number(1.0), b.fadd(_number(1.0), _exp(b, b.fneg(x))))


def _if_equal(b: Builder, x: Value, y: int) -> Any:
    return b.if_then(b.icmp_signed("==", x, x.type(y)))


Sums = list[list[Value]]
Walk = tuple[Value, Value]
"""Where a pointer starts and the bytes by which it advances."""


def _accumulate(b: Builder, count: Value, walks: Sequence[Walk], start: Sums, body: Callable[..., Sums]) -> Sums:
    """A loop over k: `body(pointers, sums)` gives the new sums; one pointer for each walk."""
    entry, loop, done = b.block, b.append_basic_block("k"), b.append_basic_block("k.done")
    b.branch(loop)
    b.position_at_end(loop)
    k = b.phi(I64)
    pointers = [b.phi(POINTER) for _ in walks]
    sums = [[b.phi(x.type) for x in row] for row in start]
    new = body(pointers, sums)
    next_k = b.sub(k, I64(1))
    k.add_incoming(count, entry)
    k.add_incoming(next_k, loop)
    for pointer, (first, stride) in zip(pointers, walks, strict=True):
        pointer.add_incoming(first, entry)
        pointer.add_incoming(_at(b, pointer, stride), loop)
    for phis, firsts, news in zip(sums, start, new, strict=True):
        for phi, first, last in zip(phis, firsts, news, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(last, loop)
    b.cbranch(b.icmp_signed(">", next_k, I64(0)), loop, done)
    b.position_at_end(done)
    return new


def _prefetch(b: Builder, address: Value) -> None:
    """Have a cache line brought to the second-level cache, to be read."""
    _call(b, "llvm.prefetch", ir.VoidType(), (address, I32(0), I32(2), I32(1)), (POINTER,))


def _dot_bytes(b: Builder, sums: Value, x: Value, w: Value) -> Value:
    """Every lane's sum and the products of its four unsigned x and signed w."""
    return _call(b, "llvm.x86.avx512.vpdpbusd.512", INTS, (sums, x, w))


def _dot_halves(b: Builder, sums: Value, x: Value, w: Value) -> Value:
    """Every lane's sum and the products of its two bfloat16 x and w."""
    pairs = [b.bitcast(each, ir.VectorType(BF16, 2 * LANES)) for each in (x, w)]
    return _call(b, "llvm.x86.avx512bf16.dpbf16ps.512", FLOATS, (sums, *pairs))


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
                    _prefetch(b, _at(b, ahead, b.add(b.mul(walks[2][1], I64(u)), I64(64 * half))))
            weights = [_load(b, wp, 128 * u + 64 * c, INTS) for c in range(2)]
            new = []
            for r in range(rows):
                word = _spread(b, _load(b, xp, 4 * (rows * u + r), I32), INTS)
                new.append([dot(b, sums[r][c], word, weights[c]) for c in range(2)])
            sums = new
        return sums

    strides = [(first, b.mul(stride, I64(unroll))) for first, stride in walks]
    return _accumulate(b, b.sdiv(count, I64(unroll)), strides, start, body)


def _starts(b: Builder, offsets: Value, rows: int, kind: Any) -> Sums:
    """The same 32 values for every row of a tile."""
    return [[_load(b, offsets, 64 * c, kind) for c in range(2)] for _ in range(rows)]


Finish = Callable[[int, list[Value]], None]


def _finish(b: Builder, sums: Sums, columns: Value, scales: Value, finish: Finish) -> None:
    """Bring sums to scale and hand each row over: value = sum * row's scale * column's scale + bias."""
    scale, bias = ([_load(b, columns, 128 * i + 64 * c, FLOATS) for c in range(2)] for i in (1, 2))
    for r, row in enumerate(sums):
        own = _spread(b, _load(b, scales, 4 * r, F32), FLOATS)
        finish(r, [_fma(b, b.fmul(b.sitofp(row[c], FLOATS), own), scale[c], bias[c]) for c in range(2)])


def _finishes(b: Builder, out: Value, stride: Value, top: Value) -> dict[int, Finish]:
    """What is done with row r of a tile, by kind."""

    def at(r: int) -> Value:
        return _at(b, out, b.mul(stride, I64(r)))

    def store(r: int, values: list[Value]) -> None:
        for c, value in enumerate(values):
            b.store(value, _at(b, at(r), 64 * c), align=1)

    def add(r: int, values: list[Value]) -> None:
        old = [_load(b, at(r), 64 * c, FLOATS) for c in range(2)]
        store(r, [b.fadd(value, x) for value, x in zip(values, old, strict=True)])

    def silu(r: int, values: list[Value]) -> None:
        results = [b.fmul(value, _sigmoid(b, value)) for value in values]
        store(r, results)
        highest = _load(b, top, 64 * r, FLOATS)
        for result in results:
            highest = _max(b, highest, _call(b, "llvm.fabs.v16f32", FLOATS, (result,)))
        b.store(highest, _at(b, top, 64 * r), align=1)

    def glu(r: int, values: list[Value]) -> None:
        store(r, [b.fmul(values[0], _sigmoid(b, values[1]))])

    return {STORE: store, ADD: add, SILU: silu, GLU: glu}


@emitted(types.void(types.intp))
def emit_int8_tile(b: Builder, arguments: Value) -> None:
    """One tile of x w, finished while it is in registers; the arguments are those of `tiles.int8_tile`."""
    kind, height, *addresses, k4, stride, pace = _numbers(b, arguments, 12)
    x, w, columns, scales, out, top, ahead = (b.inttoptr(address, POINTER) for address in addresses)
    for rows in ROWS:
        with _if_equal(b, height, rows):
            walks = [(x, I64(4 * rows)), (w, I64(128)), (ahead, pace)]
            sums = _dot_sums(b, walks, k4, _starts(b, columns, rows, INTS), _dot_bytes)
            for number, finish in _finishes(b, out, stride, top).items():
                with _if_equal(b, kind, number):
                    _finish(b, sums, columns, scales, finish)


@emitted(types.void(types.intp))
def emit_half_tile(b: Builder, arguments: Value) -> None:
    """One tile of relu(x w); the arguments are those of `convolutions.half_tile`."""
    height, *addresses, k2, stride = _numbers(b, arguments, 7)
    x, w, biases, out = (b.inttoptr(address, POINTER) for address in addresses)
    for rows in ROWS:
        with _if_equal(b, height, rows):
            sums = _dot_sums(b, [(x, I64(4 * rows)), (w, I64(128))], k2, _starts(b, biases, rows, FLOATS), _dot_halves)
            for r, row in enumerate(sums):
                for c, value in enumerate(row):
                    b.store(_max(b, value, _number(0)), _at(b, out, b.add(b.mul(stride, I64(r)), I64(64 * c))), align=1)


def _float_sums(b: Builder, a: Value, m: Value, stride: Value, k: Value, rows: int, vectors: int) -> Sums:
    """(rows, 16 vectors) sums over k of a (rows, k) float32 times m (k, 16 vectors) bfloat16."""
    high = ir.Constant(INTS, [16] * LANES)

    def body(pointers: Sequence[Value], sums: Sums) -> Sums:
        ap, mp = pointers
        wide = [b.shl(b.zext(_load(b, mp, 32 * c, HALVES), INTS), high) for c in range(vectors)]
        values = [b.bitcast(x, FLOATS) for x in wide]
        elements = [_spread(b, _load(b, ap, PITCH * r, F32), FLOATS) for r in range(rows)]
        return [[_fma(b, elements[r], values[c], sums[r][c]) for c in range(vectors)] for r in range(rows)]

    start = [[ir.Constant(FLOATS, None)] * vectors for _ in range(rows)]
    return _accumulate(b, k, [(a, I64(4)), (m, stride)], start, body)


@emitted(types.void(types.intp))
def emit_float_tile(b: Builder, arguments: Value) -> None:
    """One tile of a m; the arguments are those of `tiles.float_tile`."""
    height, width, *addresses, stride, k = _numbers(b, arguments, 7)
    a, m, out = (b.inttoptr(address, POINTER) for address in addresses)
    for rows, wide in WIDE.items():
        for vectors in (wide, 1):
            with _if_equal(b, height, rows), _if_equal(b, width, vectors):
                for r, row in enumerate(_float_sums(b, a, m, stride, k, rows, vectors)):
                    for c, value in enumerate(row):
                        b.store(value, _at(b, out, PITCH * r + 64 * c), align=1)


@emitted(types.void(types.intp, types.float32, types.intp, LONG))
def quantise_16(b: Builder, y: Value, factor: Value, out: Value, stride: Value) -> None:
    """Round 16 floats times `factor`, add 128, and write the bytes in fours, `stride` bytes apart."""
    values = _load(b, b.inttoptr(y, POINTER), 0, FLOATS)
    whole = b.fptosi(_round(b, b.fmul(values, _spread(b, factor, FLOATS))), INTS)
    shifted = b.trunc(b.add(whole, ir.Constant(INTS, [128] * LANES)), ir.VectorType(I8, LANES))
    fours = b.bitcast(shifted, ir.VectorType(I32, 4))
    out = b.inttoptr(out, POINTER)
    for i in range(4):
        b.store(b.extract_element(fours, I32(i)), _at(b, out, b.mul(stride, I64(i))), align=1)


@emitted(types.void(types.intp, types.intp, LONG))
def halve_16(b: Builder, y: Value, out: Value, stride: Value) -> None:
    """Write 16 floats as bfloat16 in twos, `stride` bytes apart."""
    halves = b.fptrunc(_load(b, b.inttoptr(y, POINTER), 0, FLOATS), ir.VectorType(BF16, LANES))
    twos, out = b.bitcast(halves, ir.VectorType(I32, LANES // 2)), b.inttoptr(out, POINTER)
    for i in range(LANES // 2):
        b.store(b.extract_element(twos, I32(i)), _at(b, out, b.mul(stride, I64(i))), align=1)


@emitted(types.void(types.intp, types.intp))
def copy_64(b: Builder, source: Value, target: Value) -> None:
    """Copy 64 bytes."""
    b.store(_load(b, b.inttoptr(source, POINTER), 0, INTS), b.inttoptr(target, POINTER), align=1)


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
    return _call(b, "llvm.rint.f32", F32, (x,))


@emitted(types.int64(types.intp, types.int64))
def atomic_add(b: Builder, address: Value, value: Value) -> Value:
    """Add to an int64 that threads share; gives what was there before."""
    return b.atomic_rmw("add", b.inttoptr(address, POINTER), value, "seq_cst")


@emitted(types.int64(types.intp))
def atomic_load(b: Builder, address: Value) -> Value:
    """Read an int64 that threads share."""
    return b.load_atomic(b.inttoptr(address, POINTER), "acquire", 8, typ=I64)
