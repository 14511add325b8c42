"""Giving memory back to the system, where that is Linux."""

import ctypes
import re
import sys
from pathlib import Path

MAPPINGS = Path("/proc/self/smaps")
READ_ONLY_FILE = re.compile(r"(\w+)-(\w+) r-[x-]p \w+ \S+ [1-9]")
"""A mapping of a file into which nobody writes; where nobody has written either, "Anonymous: 0 kB" follows."""

DONT_NEED = 4


def trim() -> None:
    """Have the C library give freed memory back, where it can (glibc): it is in pieces."""
    if sys.platform != "linux":
        return
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


def release_libraries() -> None:
    """Take the code of libraries out of this process's memory; what is used again comes back from the system's cache.

    Most of it was needed once, to start: 0.18 GB of torch, LLVM and others.
    """
    if not MAPPINGS.exists():
        return
    advise, mapping = ctypes.CDLL(None).madvise, None
    with MAPPINGS.open() as lines:
        for line in lines:
            if line[0] in "0123456789abcdef":
                mapping = READ_ONLY_FILE.match(line)
            elif mapping and line.split() == ["Anonymous:", "0", "kB"]:
                first, last = (int(address, 16) for address in mapping.groups())
                advise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), DONT_NEED)
