"""A connection ends, whether or not the other side reads the last of what it was told."""

import asyncio
import socket
from asyncio import BaseTransport, StreamReader, StreamWriter, Transport, WriteTransport
from contextlib import closing
from typing import cast

import pytest
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from nemotron_asr.server import connections
from nemotron_asr.server.connections import Impatient, WebSockets


def fill(transport: WriteTransport) -> None:
    """Until some of it, less than what makes a writer wait, is in no socket's buffer."""
    while not transport.get_write_buffer_size():
        transport.write(bytes(8192))


class Talker(Impatient):
    """Tells as much as fits, and a little more, and closes."""

    def __init__(self) -> None:
        self.loop, self.ended = asyncio.get_running_loop(), asyncio.Event()

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = cast("Transport", transport)
        self.talk()

    def talk(self) -> None:
        fill(self.transport)
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.ended.set()


async def test_http_and_websockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD", 0.2)
    talker = Talker()
    server = await asyncio.get_running_loop().create_server(lambda: talker, "127.0.0.1", 0)
    async with server:
        with closing(await connected(server)):
            await asyncio.wait_for(talker.ended.wait(), 5)


async def test_a_pong_may_lie_behind_audio_that_was_not_read_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PING", 0.05)
    failed = list[bool]()
    monkeypatch.setattr(WebSocketsSansIOProtocol, "keepalive_timeout", lambda one: failed.append(one.read_paused))
    socket = object.__new__(WebSockets)
    socket.loop, socket.read_paused = asyncio.get_running_loop(), True
    socket.keepalive_timeout()
    await asyncio.sleep(0.2)
    assert not failed
    socket.read_paused = False
    await asyncio.sleep(0.2)
    assert failed == [False]


async def test_streams() -> None:
    ended = asyncio.Event()

    async def talk(_: StreamReader, writer: StreamWriter) -> None:
        fill(writer.transport)
        connections.close(writer, patience=0.2)
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        with closing(await connected(server)):
            await asyncio.wait_for(ended.wait(), 5)


async def test_what_is_read_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is."""
    monkeypatch.setattr(connections, "UNREAD", 0.5)
    told = 40 * 65_536

    class Teller(Talker):
        def talk(self) -> None:
            self.transport.write(bytes(told))
            self.transport.close()

    talker = Teller()
    server = await asyncio.get_running_loop().create_server(lambda: talker, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert len(await reader.read(-1)) == told
        await asyncio.wait_for(talker.ended.wait(), 5)
        writer.close()


async def connected(server: asyncio.Server) -> socket.socket:
    """A client that reads nothing."""
    return await asyncio.to_thread(socket.create_connection, server.sockets[0].getsockname())
