"""Clients of a server, protocol by protocol, as thin as can be: what a load generator speaks."""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar, Literal
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from nemotron_asr.config import SAMPLE_RATE

Told = Literal["partial", "final", "finalized"]

NO_ROOM = (429, 503)
"""Statuses of HTTP with which a server lets nobody more in: by its key, by its capacity."""

NO_ROOM_CODES = ("unavailable", "too_many")
"""What such a server says in messages."""

LONGEST_REASON = 200
"""Characters of what a server says of that."""


class RefusedError(ConnectionError):
    """The server has no room for the stream."""


def broken(code: object, message: object) -> ConnectionError:
    """What a server's message about an error comes to."""
    return (RefusedError if code in NO_ROOM_CODES else ConnectionError)(message)


class Line(ABC):
    """An open stream to a server. One coroutine sends while another iterates over what is told."""

    can_finalize = True
    """Whether the server would answer to `finalize` now; if not, it is not asked."""

    @classmethod
    @abstractmethod
    def open(cls, server: str, latency_ms: int, key: str) -> AbstractAsyncContextManager["Line"]:
        """Connect to a server.

        Raises:
            RefusedError: it has no room; some protocols say so only when the stream is spoken into or listened to.
        """

    @abstractmethod
    async def send(self, packet: bytes) -> None:
        """Audio: 16-bit little-endian, mono, 16 kHz."""

    @abstractmethod
    async def finalize(self) -> None:
        """Ask for the words so far; "finalized" is the answer."""

    @abstractmethod
    async def close(self) -> None:
        """No more audio."""

    @abstractmethod
    def told(self) -> AsyncIterator[tuple[Told, int]]:
        """What the server says until it has no more to say, with the number of words of a final."""


class WebSocketLine(Line):
    """JSON over a WebSocket, with audio in binary messages."""

    path: ClassVar[str]
    finalizing: ClassVar[str]
    closing: ClassVar[str]

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @staticmethod
    @abstractmethod
    def query(latency_ms: int) -> dict[str, str]:
        """How the protocol asks for a stream."""

    @staticmethod
    @abstractmethod
    def headers(key: str) -> dict[str, str]:
        """How the protocol shows a key."""

    @classmethod
    @asynccontextmanager
    async def open(cls, server: str, latency_ms: int, key: str) -> AsyncIterator[Line]:
        """Connect to `http://HOST:PORT`."""
        address = f"{server.replace('http', 'ws', 1).rstrip('/')}{cls.path}?{urlencode(cls.query(latency_ms))}"
        headers = cls.headers(key) if key else {}
        try:
            async with connect(address, additional_headers=headers, compression=None, max_queue=None) as socket:
                line = cls(socket)
                await line.begin(latency_ms)
                yield line
        except InvalidStatus as error:
            if error.response.status_code not in NO_ROOM:
                raise
            reason = error.response.body.decode(errors="replace")[:LONGEST_REASON]
            raise RefusedError(f"HTTP {error.response.status_code}: {reason}") from None

    async def begin(self, latency_ms: int) -> None:
        """Say what is to be said before the audio; most protocols have it in the query."""

    async def send(self, packet: bytes) -> None:
        """See `Line`."""
        await self._socket.send(packet)

    async def finalize(self) -> None:
        """See `Line`."""
        await self._socket.send(self.finalizing)

    async def close(self) -> None:
        """See `Line`."""
        await self._socket.send(self.closing)


class RealtimeLine(WebSocketLine):
    """What OpenAI's realtime protocol and NIM's, which is made after it, have in common."""

    path = "/v1/realtime"

    @staticmethod
    def query(latency_ms: int) -> dict[str, str]:
        """See `WebSocketLine`."""
        del latency_ms  # it is in the session
        return {"intent": "transcription"}

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """See `WebSocketLine`."""
        return {"Authorization": f"Bearer {key}"}


class Native(WebSocketLine):
    """Our own shape."""

    path = "/v1/stream"
    finalizing, closing = '{"type": "finalize"}', '{"type": "close"}'

    @staticmethod
    def query(latency_ms: int) -> dict[str, str]:
        """See `WebSocketLine`."""
        return {"encoding": "s16le", "sample_rate": str(SAMPLE_RATE), "latency_ms": str(latency_ms)}

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """See `WebSocketLine`."""
        return {"Authorization": f"Bearer {key}"}

    async def told(self) -> AsyncIterator[tuple[Told, int]]:
        """See `Line`."""
        async for message in self._socket:
            event = json.loads(message)
            if event["type"] == "error":
                raise broken(event["kind"], event["message"])
            if event["type"] in {"partial", "final", "finalized"}:
                yield event["type"], len(event.get("words", ()))


class Deepgram(WebSocketLine):
    """Deepgram's live endpoint."""

    path = "/v1/listen"
    finalizing, closing = '{"type": "Finalize"}', '{"type": "CloseStream"}'

    @staticmethod
    def query(latency_ms: int) -> dict[str, str]:
        """See `WebSocketLine`; the latency is an option of ours."""
        return {
            "encoding": "linear16", "sample_rate": str(SAMPLE_RATE), "interim_results": "true", "language": "multi",
            "latency_ms": str(latency_ms),
        }  # fmt: skip

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """See `WebSocketLine`."""
        return {"Authorization": f"Token {key}"}

    async def told(self) -> AsyncIterator[tuple[Told, int]]:
        """See `Line`."""
        async for message in self._socket:
            event = json.loads(message)
            if event["type"] == "Results":
                words = len(event["channel"]["alternatives"][0]["words"])
                yield ("final" if event["is_final"] else "partial"), words
                if event.get("from_finalize"):
                    yield "finalized", 0
