"""Foreign media, decoded in processes that can be killed; some wait ready, for starting one takes as long as a word."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np

from nemotron_asr.audio import Samples
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.server.decoder import HEADER, PIECE, SPOILT
from nemotron_asr.server.problems import Kind, Problem, invalid


class Decoding:
    """One piece of media on its way through a process: write it or name its path, iterate over its samples."""

    def __init__(self, process: Process, seconds: int) -> None:
        self._process, self._seconds = process, seconds
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("a decoding process has three pipes")
        self._in, self._out, self._err = process.stdin, process.stdout, process.stderr
        self._written = self._taken = 0  # bytes of the media
        self._moved, self._over = asyncio.Event(), False

    def begin(self, path: str | None = None, channel: int | None = None, *, on_time: bool = True) -> None:
        """Say what comes.

        Args:
            path: of the file; None if its bytes will be written.
            channel: the one to hear; None averages all.
            on_time: with silence where the container's clock says that nothing was recorded.
        """
        self._ask(path=path, channel=channel, on_time=on_time)

    async def count_channels(self, path: str) -> int:
        """Only look how many channels a file has.

        Raises:
            Problem: it is not usable.
        """
        self._ask(path=path, count=True)
        said = await self._out.read()
        if await self._process.wait():
            raise invalid(await self._reason())
        return int(said)

    def _ask(self, **request: str | int | None) -> None:
        self._in.write(json.dumps(request).encode() + b"\n")

    async def write(self, data: bytes) -> None:
        """Hand over bytes; waits while the process is busy with those before."""
        self._written += len(data)
        with suppress(ConnectionError):  # it has ended: reading says why
            self._in.write(data)
            await self._in.drain()

    async def taken(self) -> None:
        """Wait until all that was written has been heard, as far as that is possible without more, and told."""
        while self._taken < self._written and not self._over:
            self._moved.clear()
            await self._moved.wait()

    def end(self) -> None:
        """No more bytes."""
        self._in.close()

    async def __aiter__(self) -> AsyncIterator[Samples]:
        """Mono samples at 16 kHz.

        Raises:
            Problem: the media are not usable, or longer than allowed.
        """
        seconds = 0.0
        try:
            async for samples in self._pieces():
                seconds += len(samples) / SAMPLE_RATE
                if seconds > self._seconds:
                    raise Problem(Kind.TOO_LARGE, f"the audio lasts longer than {self._seconds} s, which is the limit")
                yield samples
        finally:
            self._over = True
            self._moved.set()
        if await self._process.wait():
            raise invalid(await self._reason())

    async def _pieces(self) -> AsyncIterator[Samples]:
        with suppress(asyncio.IncompleteReadError):  # it has ended
            while True:
                taken, size = HEADER.unpack(await self._out.readexactly(HEADER.size))
                if size:
                    yield np.frombuffer(await self._out.readexactly(min(size, PIECE)), np.float32)
                else:
                    self._taken = taken
                    self._moved.set()

    async def _reason(self) -> str:
        said = (await self._err.read(1000)).decode(errors="replace").strip()
        if self._process.returncode == SPOILT and said:
            return said.splitlines()[-1]
        return "decoding took too much time or memory"

    async def kill(self) -> None:
        """End the process, whatever it is doing."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._in.close()
        with suppress(ConnectionError):
            await self._in.wait_closed()
        for pipe in (self._out, self._err):
            while await pipe.read(PIECE):  # what it had still to say, so that its pipes close
                pass
        await self._process.wait()


class Decoders:
    """Starts processes, at most so many at once.

    Args:
        most: processes that decode recordings at once; further ones wait.
        live: processes that decode live streams at once; further ones are refused.
        seconds: of audio that a piece of media may last.
        megabytes: of memory that a process may take.
        spare: processes that wait ready.
    """

    def __init__(self, most: int, live: int, seconds: int, megabytes: int, spare: int = 1) -> None:
        self._seconds, self._megabytes, self._spare = seconds, megabytes, spare
        self._room, self._live, self._most_live = asyncio.Semaphore(most), 0, live
        self._waiting: list[asyncio.Task[Process]] = []
        self._closed = False

    def prepare(self) -> None:
        """Have processes ready."""
        while len(self._waiting) < self._spare and not self._closed:
            self._waiting.append(asyncio.create_task(self._start()))

    @asynccontextmanager
    async def decoding(self) -> AsyncIterator[Decoding]:
        """A process for a recording; it ends with the context."""
        async with self._room, self._process() as decoding:
            yield decoding

    @asynccontextmanager
    async def decoding_live(self) -> AsyncIterator[Decoding]:
        """A process for a live stream; it ends with the context.

        Raises:
            Problem: there are as many as may be.
        """
        if self._live >= self._most_live:
            raise Problem(Kind.UNAVAILABLE, f"{self._live} live streams are being decoded, which is the limit")
        self._live += 1
        try:
            async with self._process() as decoding:
                yield decoding
        finally:
            self._live -= 1

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[Decoding]:
        started = self._waiting.pop(0) if self._waiting else asyncio.create_task(self._start())
        self.prepare()
        decoding = Decoding(await started, self._seconds)
        try:
            yield decoding
        finally:
            await decoding.kill()

    async def close(self) -> None:
        """End the processes that wait."""
        self._closed = True
        for started in self._waiting:
            await Decoding(await started, self._seconds).kill()
        self._waiting.clear()

    async def _start(self) -> Process:
        computing = 30 + self._seconds // 10
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "nemotron_asr.server.decoder", str(self._megabytes), str(computing),
            stdin=PIPE, stdout=PIPE, stderr=PIPE, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
