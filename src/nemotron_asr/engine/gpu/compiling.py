"""The typed door to Triton, which has no types of its own and comes with torch's CUDA builds only.

The interpreter takes bfloat16 for whole numbers: kernels turn what they load to float32 before they compute with it.
"""

import inspect
from collections.abc import Callable
from typing import Any

import triton
import triton.language as tl

__all__ = ["INTERPRETED", "jit", "power_of_2", "product", "tl"]

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
"""Whether kernels run in Triton's interpreter, on the CPU: `TRITON_INTERPRET=1` when this is imported."""


COUNTS = ("layer", "lines", "frames", "kept")
"""Numbers that differ from launch to launch: no kernel is compiled anew for one of them."""


def jit(kernel: Callable[..., Any]) -> Any:
    """A kernel, launched as `kernel[grid](...)`."""
    counts = [name for name in COUNTS if name in inspect.signature(kernel).parameters]
    return triton.jit(kernel, do_not_specialize=counts)


def power_of_2(n: int) -> int:
    """The next power of two: the length of a kernel's ranges."""
    return 1 << (n - 1).bit_length()


@jit
def product(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    """The matrix product, summed in float32."""
    if INTERPRETED:
        result = tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    else:
        result = tl.dot(a, b, input_precision="ieee")
    return result
