"""Bytes on their way into a file: for what can be heard only when all of it has come."""

import math
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from nemotron_asr.server.problems import Kind, Problem


class Spool:
    """A file that grows.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: str, file: anyio.AsyncFile[bytes], most: float) -> None:
        self.path = path
        self._file, self._most, self._size = file, most, 0

    async def write(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            Problem: they are too many, or the disk is full.
        """
        self._size += len(data)
        if self._size > self._most:
            raise Problem(Kind.TOO_LARGE, f"the recording has more than {self._most} bytes, which is the limit")
        with keeping():
            await self._file.write(data)

    async def close(self) -> None:
        """No more bytes: the file is whole.

        Raises:
            Problem: the disk is full.
        """
        with keeping():
            await self._file.aclose()


@asynccontextmanager
async def spooled(most: float = math.inf) -> AsyncIterator[Spool]:
    """A file that takes so many bytes and is there as long as the context lasts.

    Raises:
        Problem: there is no place for it.
    """
    with keeping():
        descriptor, path = tempfile.mkstemp(prefix="nemotron-asr-")
    try:
        async with await anyio.open_file(descriptor, "wb") as file:
            yield Spool(path, file, most)
    finally:
        await anyio.Path(path).unlink()


@contextmanager
def keeping() -> Iterator[None]:
    """What a disk refuses is a problem that may pass."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Problem(Kind.UNAVAILABLE, f"the recording cannot be kept while it is heard: {reason}") from error
