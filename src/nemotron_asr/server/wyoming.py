"""Wyoming, which Home Assistant speaks, at a port of its own and at a socket in the file system."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from nemotron_asr.server.connections import close
from nemotron_asr.server.problems import Kind, Problem
from nemotron_asr.server.service import Service
from nemotron_asr.server.sockets import bind, bound_file, tls_context
from nemotron_asr.server.wyoming_client import PROTOCOL, Client
from nemotron_asr.server.wyoming_events import LONGEST_LINE


@asynccontextmanager
async def listen(service: Service) -> AsyncIterator[None]:
    """Listen as long as the context lasts."""
    settings, clients = service.settings, set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.current_task()
        if client is None or len(clients) >= settings.max_connections:
            service.refused(
                Problem(Kind.UNAVAILABLE, f"{len(clients)} connections are open, which is the limit"), PROTOCOL
            )
            writer.close()
            return
        clients.add(client)
        try:
            await Client(service, reader, writer).serve()
        finally:
            clients.discard(client)
            close(writer, settings.idle_seconds)

    async with AsyncExitStack() as stack:
        stack.push_async_callback(_end, clients)
        if settings.wyoming_port >= 0:
            tls, sock = tls_context(settings), bind(settings.host, settings.wyoming_port, "--wyoming-port")
            server = await asyncio.start_server(serve, sock=sock, ssl=tls, limit=LONGEST_LINE)
            stack.callback(server.close)
            service.ports[PROTOCOL] = sock.getsockname()[1]
        if settings.wyoming_socket:
            sock = stack.enter_context(bound_file(settings.wyoming_socket))
            server = await asyncio.start_unix_server(serve, sock=sock, limit=LONGEST_LINE)
            stack.callback(server.close)
        yield


async def _end(clients: set[asyncio.Task[None]]) -> None:
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
