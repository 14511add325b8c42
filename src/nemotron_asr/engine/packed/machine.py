"""What this machine can do."""

import ctypes
import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

X86 = frozenset({"x86_64", "AMD64"})
NUMBA = (0, 63)

VECTORS = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")
MATRICES = ("amx-tile", "amx-int8", "amx-bf16")

SWITCH = "NEMOTRON_ASR_AMX"
"""The environment variable that keeps the matrix registers unused where it is 0."""

ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18


@cache
def has_vectors() -> bool:
    """Whether numba is installed, as new as need be, and the processor multiplies vectors of bytes."""
    if platform.machine() not in X86 or not hasattr(os, "sched_yield"):
        return False
    return _has_numba() and _has(*VECTORS)


@cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16 besides."""
    return has_vectors() and _has("avx512bf16")


@cache
def has_matrices() -> bool:
    """Whether the processor has matrix registers (AMX) besides, and this process may use them from now on."""
    return has_vectors() and os.environ.get(SWITCH) != "0" and _has(*MATRICES) and _permitted()


def multiplies_bytes() -> bool:
    """Whether torch multiplies in int8 faster than in float32 here: its products with unsigned rows are x86's."""
    return platform.machine() in X86


def _has_numba() -> bool:
    """Another program's numba may be older than the one that the extra `[cpu]` asks for."""
    with suppress(importlib.metadata.PackageNotFoundError):
        numbers = re.findall(r"\d+", importlib.metadata.version("numba"))
        return tuple(map(int, numbers[:2])) >= NUMBA
    return False


def _permitted() -> bool:
    """Ask the system for the matrix registers, which it keeps from processes that have not asked."""
    if platform.system() != "Linux":
        return False
    return bool(ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0)


def _has(*features: str) -> bool:
    """Whether the processor has features, by the names that LLVM has for them."""
    from llvmlite import binding

    found: Mapping[str, bool] = binding.get_host_cpu_features()
    return all(found.get(feature, False) for feature in features)
