"""Compiling with numba, and where the results are kept.

numba keeps a compiled function until the file changes that it is written in, though not those of the functions that it
calls. Here it looks into a folder of the user's cache that is named after all sources of the kernels, so that what it
finds there is never older than they are, and after the registers that they use. Where that folder cannot be written,
nothing is kept, and every start compiles.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENOSPC
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar, cast

from numba import cfunc, config, njit, types
from numba.misc.appdirs import AppDirs

from nemotron_asr.engine.packed.machine import has_matrices

SOURCES = sorted(Path(__file__).parent.glob("*.py"))
DIGEST = sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()[:16]
KIND = "matrices" if has_matrices() else "vectors"

ROOM = 64 << 20
"""Bytes of a disk that compiled code may take, with some to spare."""

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

logger = logging.getLogger(__name__)


@contextmanager
def _own_folder() -> Iterator[bool]:
    """Have numba keep what it compiles in our folder; whether it can."""
    before = config.CACHE_DIR
    folder = Path(before or AppDirs("nemotron-asr").user_cache_dir) / f"kernels-{DIGEST}-{KIND}"
    config.CACHE_DIR = str(folder)
    try:
        yield _writable(folder)
    finally:
        config.CACHE_DIR = before


@cache
def _writable(folder: Path) -> bool:
    try:
        new = _make(folder)
    except OSError as error:
        logger.warning("compiled code cannot be kept, so every start compiles: %s; set NUMBA_CACHE_DIR", error)
        return False
    if new:
        logger.warning("compiling for this processor, once: a minute or two")
    return True


def _make(folder: Path) -> bool:
    """Have a folder to write into, with room for what is compiled; whether nothing is in it yet."""
    folder.mkdir(parents=True, exist_ok=True)
    TemporaryFile(dir=folder).close()
    new = not any(folder.iterdir())
    if new and shutil.disk_usage(folder).free < ROOM:
        raise OSError(ENOSPC, os.strerror(ENOSPC), str(folder))
    return new


def jit(function: Kernel) -> Kernel:
    """Compile a function at its first call. It runs without the interpreter's lock."""
    with _own_folder() as kept:
        compiled = njit(nogil=True, fastmath=True, boundscheck=False, error_model="numpy", cache=kept)(function)
    return cast("Kernel", compiled)


def address_of(function: Callable[[int], None]) -> int:
    """Compile a function of one address now; where its code begins."""
    with _own_folder() as kept:
        compiled: int = cfunc(types.void(types.intp), cache=kept)(function).address
    return compiled
