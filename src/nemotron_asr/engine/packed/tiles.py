"""The tiles of matrix products, compiled once and called by address.

numba optimises what a function calls once more for each of its callers, and theirs; the unrolled tiles are most of the
code, and would be most of the time that compiling takes.
"""

from nemotron_asr.engine.packed.compiling import address_of
from nemotron_asr.engine.packed.layout import MATRICES
from nemotron_asr.engine.packed.matrix import emit_int8_tile as emit_matrix_tile
from nemotron_asr.engine.packed.products import emit_float_tile, emit_int8_tile


def int8_tile(arguments: int) -> None:
    """One tile of x w, `height` rows times 32 columns.

    Args:
        arguments: address of twelve int64, themselves addresses and numbers:
            kind: STORE: out = value. ADD: out += value. SILU: out = silu(value), and top = max(top, |out|) lane by
                lane. GLU: out = value of the first 16 columns times the sigmoid of the last 16.
            height: one of `products.ROWS`; with matrix registers any of up to 32.
            x: (k4, height, 4) uint8, see `kernels`; with matrix registers one or two times (k4 / 16, 16, 64).
            w: (k4, 32, 4) int8.
            columns: (3, 32): int32 where sums start, float32 scales, float32 biases.
            scales: (height,) float32, of x.
            out: (height, 32) float32, or 16 columns for GLU.
            top: (height, 16) float32.
            ahead: what is to be brought into the cache meanwhile.
            k4: a quarter of the length of the sums, a multiple of 4; with matrix registers of 16.
            stride: bytes from row to row of out.
            pace: bytes brought into the cache at every fourth k; with matrix registers, whether the weights come from
                memory, and are brought before they are used.
    """
    emit_int8_tile(arguments)


def matrix_tile(arguments: int) -> None:
    """The same in matrix registers."""
    emit_matrix_tile(arguments)


def float_tile(arguments: int) -> None:
    """One tile of a m: out (height, 16 width) float32 = a (height, k) float32 times m (k, 16 width) bfloat16.

    Args:
        arguments: address of seven int64: height, a key of `products.WIDE`; width, its value or 1; the addresses
            of a, m and out; the bytes between rows of m, those of a and out being `products.PITCH`; and k.
    """
    emit_float_tile(arguments)


INT8_TILE, FLOAT_TILE = address_of(matrix_tile if MATRICES else int8_tile), address_of(float_tile)
