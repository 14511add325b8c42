"""A client of Wyoming, as thin as can be: a microphone that is never switched off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

from nemotron_asr.benchmark.lines import Line, Told, broken
from nemotron_asr.config import SAMPLE_RATE

_FORMAT = SAMPLE_RATE, 2, 1  # rate, bytes of a sample, channels


class Wyoming(Line):
    """An open connection. The server ends a command where its speaker does; who speaks on begins another."""

    can_finalize = False

    def __init__(self, client: AsyncTcpClient) -> None:
        self._client = client
        self._over, self._closed = True, False

    @classmethod
    @asynccontextmanager
    async def open(cls, server: str, latency_ms: int, key: str) -> AsyncIterator[Line]:
        """Connect to `HOST:PORT`; the protocol has neither latency nor key, and the server's own latency holds."""
        del latency_ms, key
        address = urlsplit(f"//{server}")
        async with AsyncTcpClient(address.hostname or "", address.port or 0) as client:
            yield cls(client)

    async def send(self, packet: bytes) -> None:
        """See `Line`."""
        await self._begin()
        await self._client.write_event(AudioChunk(*_FORMAT, packet).event())

    async def finalize(self) -> None:
        """See `Line`; the protocol knows no such request."""

    async def close(self) -> None:
        """See `Line`."""
        await self._begin()  # so that there is an answer to wait for
        self._closed = True
        await self._client.write_event(AudioStop().event())

    async def told(self) -> AsyncIterator[tuple[Told, int]]:
        """See `Line`."""
        while (event := await self._client.read_event()) is not None:
            match event.type:
                case "error":
                    raise broken(event.data.get("code"), event.data["text"])
                case "transcript-chunk":
                    yield "partial", 0
                case "transcript":
                    yield "final", len(event.data["text"].split())
                case "transcript-stop" if self._closed:
                    return
                case "transcript-stop":
                    self._over = True

    async def _begin(self) -> None:
        if self._over:
            self._over = False
            await self._client.write_event(Transcribe().event())
            await self._client.write_event(AudioStart(*_FORMAT).event())
