"""How long the server waits for what clients send: as long as they may take, and not beyond its own end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nemotron_asr.server.problems import Kind, Problem


def stopping() -> Problem:
    """Why somebody is not let in, or not heard to the end."""
    return Problem(Kind.UNAVAILABLE, "the server is about to stop")


class Waits:
    """All that are going on.

    Attributes:
        over: the server ends, and nobody waits any more.
    """

    def __init__(self) -> None:
        self.over = False
        self._open = set[asyncio.Timeout]()

    @asynccontextmanager
    async def within(self, seconds: float | None = None) -> AsyncIterator[None]:
        """Wait in here, so long at most.

        Raises:
            TimeoutError: it took longer.
            Problem: the server ends.
        """
        if self.over:
            raise stopping()
        try:
            async with asyncio.timeout(seconds) as wait:
                self._open.add(wait)
                try:
                    yield
                finally:
                    self._open.discard(wait)
        except TimeoutError:
            if self.over:
                raise stopping() from None
            raise

    def end(self) -> None:
        """The server ends."""
        self.over = True
        for wait in self._open:
            if not wait.expired():
                wait.reschedule(0)
