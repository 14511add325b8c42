"""Sockets, signals, and the end: a server that lets its streams finish before it goes."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from nemotron_asr.engine import settle_process
from nemotron_asr.server.adapters import LISTENERS, ROUTES
from nemotron_asr.server.service import Service
from nemotron_asr.server.settings import Settings
from nemotron_asr.server.sockets import bind, tls_context
from nemotron_asr.server.traces import Joining

GRACE = 5
"""Seconds that connections have to close when no stream is open any more."""

HEADERS = 20.0
"""Seconds within which a request's headers must have come."""

PING = 20.0
"""Seconds between two looks whether the other side of a WebSocket is still there."""


def run(settings: Settings, started: Callable[[Service], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, which lets streams finish; a second one does not.

    Args:
        settings: how the server is set up.
        started: called when all models are warm.

    Raises:
        NemotronError: a model or a setting is not usable.
    """

    def warm(service: Service) -> None:
        settle_process()
        if started is not None:
            started(service)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        stop = asyncio.Event()
        loop = runner.get_loop()

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            if stop.is_set():
                raise KeyboardInterrupt
            loop.call_soon_threadsafe(stop.set)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, interrupt)
        runner.run(serve(settings, stop, warm))


async def serve(settings: Settings, stop: asyncio.Event, started: Callable[[Service], None] | None = None) -> None:
    """Serve until `stop` is set, then let streams finish. Arguments and errors as in `run`."""
    async with AsyncExitStack() as stack:
        service = Service(settings)
        stack.push_async_callback(service.close)
        for listen in (_listen_http, *LISTENERS):
            await stack.enter_async_context(listen(service))
        stopping = asyncio.create_task(stop.wait())
        loading = asyncio.create_task(service.start())
        await asyncio.wait([loading, stopping], return_when=asyncio.FIRST_COMPLETED)
        await loading  # also when it is to stop: a thread cannot be interrupted
        if started is not None:
            started(service)
        await stopping
        await service.drain()


def application(service: Service) -> Starlette:
    """All adapters over HTTP and WebSocket."""
    origins = list(service.settings.cors_origin)
    cors = Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    routes = [route for of in ROUTES for route in of(service)]
    joining = Middleware(Joining, traces=service.traces)
    return Starlette(routes=routes, middleware=[cors, joining] if origins else [joining])


class _Http(uvicorn.Server):
    """Leaves signals to `run`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Patient(H11Protocol):
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


@asynccontextmanager
async def _listen_http(service: Service) -> AsyncIterator[None]:
    settings, tls = service.settings, tls_context(service.settings)
    config = uvicorn.Config(
        application(service), http=_Patient, ws="websockets-sansio", lifespan="off", log_config=None, access_log=False,
        ws_max_size=settings.max_message_bytes, ws_ping_interval=PING, ws_ping_timeout=PING,
        ws_per_message_deflate=False, timeout_graceful_shutdown=GRACE, server_header=False,
        limit_concurrency=settings.max_connections,
        ssl_context_factory=(lambda _config, _default: tls) if tls else None,
    )  # fmt: skip
    server, listening = _Http(config), bind(settings.host, settings.port)
    service.ports["http"] = listening.getsockname()[1]
    running = asyncio.create_task(server.serve([listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await running


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The faster event loop, where there is one."""
    return uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()
