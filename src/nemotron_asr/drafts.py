"""Files that are there whole or not at all."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def drafted(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Say where to write a file, which gets its name when it is finished; what fails or is interrupted leaves nothing.

    Args:
        path: the file. One that is there already stays until then.
        shared: other processes, of other machines too, may be writing it at the same time. Unless they may, the draft
            that a kill has left is overwritten by the next.
    """
    draft = path.with_name(f".{platform.node()}-{os.getpid()}.part" if shared else f".{path.name}.part")
    try:
        yield draft
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
