"""What this machine can do."""

import ctypes
import importlib.util
import os
import platform
from collections.abc import Mapping
from functools import cache

VECTORS = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")
MATRICES = ("amx-tile", "amx-int8", "amx-bf16")

SWITCH = "NEMOTRON_ASR_AMX"
"""The environment variable that keeps the matrix registers unused where it is 0."""

ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18


@cache
def has_vectors() -> bool:
    """Whether numba is installed and the processor multiplies vectors of bytes."""
    if platform.machine() not in {"x86_64", "AMD64"} or not hasattr(os, "sched_yield"):
        return False
    return importlib.util.find_spec("numba") is not None and _has(*VECTORS)


@cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16 besides."""
    return has_vectors() and _has("avx512bf16")


@cache
def has_matrices() -> bool:
    """Whether the processor has matrix registers (AMX) besides, and this process may use them from now on."""
    return has_vectors() and os.environ.get(SWITCH) != "0" and _has(*MATRICES) and _permitted()


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
