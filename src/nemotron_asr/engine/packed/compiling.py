"""Compiling with numba, and where the results are kept.

numba keeps a compiled function until the file changes that it is written in, though not those of the functions that it
calls. Here it looks into a folder of the user's cache that is named after all sources of the kernels, so that what it
finds there is never older than they are, and after the registers that they use.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import cfunc, config, njit, types
from numba.misc.appdirs import AppDirs

from nemotron_asr.engine.packed.machine import has_matrices

SOURCES = sorted(Path(__file__).parent.glob("*.py"))
DIGEST = sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()[:16]
KIND = "matrices" if has_matrices() else "vectors"

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


@contextmanager
def _own_folder() -> Iterator[None]:
    before = config.CACHE_DIR
    config.CACHE_DIR = str(Path(before or AppDirs("nemotron-asr").user_cache_dir) / f"kernels-{DIGEST}-{KIND}")
    try:
        yield
    finally:
        config.CACHE_DIR = before


def jit(function: Kernel) -> Kernel:
    """Compile a function at its first call. It runs without the interpreter's lock."""
    with _own_folder():
        compiled = njit(nogil=True, fastmath=True, boundscheck=False, error_model="numpy", cache=True)(function)
    return cast("Kernel", compiled)


def address_of(function: Callable[[int], None]) -> int:
    """Compile a function of one address now; where its code begins."""
    with _own_folder():
        compiled: int = cfunc(types.void(types.intp), cache=True)(function).address
    return compiled
