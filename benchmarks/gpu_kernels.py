"""Compiles, without a GPU, the kernels of a step of the released model's size: for Hopper, down to machine code.

    python -m benchmarks.gpu_kernels                 # all of them: a minute
    python -m benchmarks.gpu_kernels --chunks 1      # those of 80 ms

Prints what each needs: registers of a thread, bytes of stack (which are spilled registers), bytes of shared memory.
"""

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from nemotron_asr.engine.gpu import fused
from nemotron_asr.engine.gpu.layout import Batch, RingState

HOPPER = GPUTarget("cuda", 90, 32)

LAYERS, HEADS, WIDTH, LEFT, KERNEL, VOCABULARY, D_JOINT = 24, 8, 128, 56, 9, 13088, 640

SHARED = 227 * 1024
"""Bytes of shared memory that a program can have at most."""


class NoDriver:
    """Stands in for a GPU's driver: kernels are compiled for its target, and nothing is launched."""

    def get_current_target(self) -> GPUTarget:
        """What to compile for."""
        return HOPPER

    def get_current_device(self) -> int:
        """The only one."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """The only one."""
        return device


class Compiled:
    """Kernels that were compiled instead of launched."""

    def __init__(self) -> None:
        self.kernels: dict[str, Any] = {}
        triton.runtime.driver.set_active(NoDriver())
        run = JITFunction.run

        def compile_only(function: Any, *arguments: Any, **options: Any) -> None:
            kernel = run(function, *arguments, **{**options, "warmup": True})
            self.kernels[kernel.hash] = kernel

        JITFunction.run = compile_only

    def needs(self) -> Iterable[tuple[str, str]]:
        """Names, and what the machine code needs."""
        cuobjdump = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
        for kernel in self.kernels.values():
            with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
                Path(file.name).write_bytes(kernel.asm["cubin"])
                dump = subprocess.run(  # noqa: S603 - Triton's own tool
                    [cuobjdump, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
                ).stdout
            found = re.search(r"REG:(\d+) STACK:(\d+)", dump)
            registers, stack = found.groups() if found else ("?", "?")
            if kernel.metadata.shared > SHARED:
                raise MemoryError(f"{kernel.metadata.name} needs {kernel.metadata.shared} bytes of shared memory")
            needs = f"{registers} registers, {stack} stack, {kernel.metadata.shared} shared"
            yield kernel.metadata.name, f"{needs}, {kernel.metadata.num_warps} warps"


def launch(dtype: torch.dtype, chunk: int, chunks: int = 1, streams: int = 16) -> None:
    """Everything that a step of some streams launches."""
    d, frames = HEADS * WIDTH, chunks * chunk
    lines = streams * frames

    def some(*shape: int, of: torch.dtype = dtype) -> Tensor:
        return torch.zeros(shape, dtype=of)

    whole = torch.zeros(streams, dtype=torch.long)
    batch = Batch(whole, whole, whole, whole, frames, chunk)
    rings = some(2, LAYERS, HEADS, LEFT, WIDTH)
    state = RingState(whole, [], rings, rings, some(2, LAYERS, KERNEL - 1, d))
    x, norm = some(lines, d, of=torch.float32), (some(d), some(d))
    qkv, expanded = some(lines, 3 * d), some(lines, 2 * d)
    fused.add_norm(x, some(lines, d), *norm)
    fused.add_norm_norm(x, some(lines, d), norm, norm)
    fused.attend(qkv, some(HEADS, lines, LEFT + 2 * chunk - 1), state, 1, some(HEADS, WIDTH), batch)
    fused.convolve(expanded, state, 1, some(KERNEL + 1, d), norm, batch)
    fused.remember(qkv, expanded, state, 1, batch)
    for hidden in (16, 512):
        fused.most_likely(some(hidden, D_JOINT), some(VOCABULARY, D_JOINT), some(VOCABULARY))
    fused.quantize_rows(some(lines, d))
    fused.lstm(some(16, 4 * D_JOINT), some(16, D_JOINT))


def main(chunks: list[int], dtypes: list[str]) -> None:
    """Compile, and print."""
    compiled = Compiled()
    for dtype in dtypes:
        for chunk in chunks:
            for long in (1, 8):  # a recording's steps take no kernels of their own
                launch(cast("torch.dtype", getattr(torch, dtype)), chunk, long)
    for name, needs in sorted(compiled.needs()):
        print(f"{name:24} {needs}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 2, 4, 7, 14])
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    main(**vars(parser.parse_args()))
