"""Connections whose patience with the other side has an end."""

import asyncio
from contextlib import suppress
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets import http11

http11.MAX_LINE_LENGTH = max(http11.MAX_LINE_LENGTH, 1 << 16)
"""As long as all headers of an HTTP request may be: many likely words make a long address."""

HEADERS = 20.0
"""Seconds within which a request's headers must have come."""

PING = 20.0
"""Seconds between two looks whether the other side of a WebSocket is still there."""

UNREAD = 60.0
"""Seconds after which a client that does not read what it is told is cut off."""

PARTING, PARTING_BYTES = 5.0, 64 << 20
"""Seconds, and bytes, for which a client that was told the last may go on before it is cut off."""


def close(writer: asyncio.StreamWriter, patience: float) -> None:
    """Close; who has not read the last of what it was told is cut off after `patience` seconds."""
    writer.close()
    if writer.transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(patience, writer.transport.abort)


async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say no more, and wait for the client's end: a close upon unread input would take away what it was told last."""
    left = PARTING_BYTES
    with suppress(ConnectionError, TimeoutError):
        if writer.can_write_eof():
            writer.write_eof()
        async with asyncio.timeout(PARTING):
            while left > 0 and (data := await reader.read(1 << 16)):
                left -= len(data)


class Impatient(asyncio.Protocol):
    """Aborts a connection whose client stops reading: writing to it would wait for ever, and so would closing it."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """What is not taken counts from its first bytes on, for a close waits for the last of them.

        Those of TLS's handshake may be waiting already: then writing is paused at once.
        """
        super().connection_made(transport)
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=1)  # with 0, TLS would always be paused

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._patience = self.loop.call_later(UNREAD, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._stop()

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more will come."""
        super().connection_lost(error)
        self._stop()

    def _stop(self) -> None:
        if self._patience is not None:
            self._patience.cancel()


class Http(Impatient, H11Protocol):
    """Waits for a request's headers only so long, however slowly they come."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Somebody has come."""
        super().connection_made(transport)
        self._expect_headers()

    def on_response_complete(self) -> None:
        """The next request may come."""
        super().on_response_complete()
        self._timer.cancel()
        self._expect_headers()

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more will come."""
        super().connection_lost(error)
        self._timer.cancel()

    def _expect_headers(self) -> None:
        self._timer = self.loop.call_later(HEADERS, self._look, self.cycle)

    def _look(self, before: object) -> None:
        """Close unless a request has come; a WebSocket has a protocol of its own."""
        if self.cycle is before and self.transport.get_protocol() is self and not self.transport.is_closing():
            self.transport.close()


class WebSockets(Impatient, WebSocketsSansIOProtocol):
    """Keeps no pongs for who does not read, but the last ones; expects none that it could not have read."""

    _pongs: tuple[bytes, ...] = ()

    def data_received(self, data: bytes) -> None:
        """Say what is wrong with a handshake that cannot be read, which uvicorn does not."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_ping(self) -> None:
        """Answer, now or when there is room."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self._pongs = tuple(self.conn.data_to_send())

    def keepalive_timeout(self) -> None:
        """The answer has not come; where there is audio that was not taken in yet, it may lie behind that."""
        if self.read_paused:
            self.pong_timer = self.loop.call_later(PING, self.keepalive_timeout)
        else:
            super().keepalive_timeout()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        pongs, self._pongs = self._pongs, ()
        self.transport.write(b"".join(pongs))
