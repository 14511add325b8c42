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

from nemotron_asr.engine import settle_process
from nemotron_asr.server import connections
from nemotron_asr.server.adapters import LISTENERS, ROUTES
from nemotron_asr.server.connections import Http, WebSockets
from nemotron_asr.server.elsewhere import not_found
from nemotron_asr.server.few import Few
from nemotron_asr.server.live import no_websockets_elsewhere
from nemotron_asr.server.origins import OwnPages
from nemotron_asr.server.service import Service
from nemotron_asr.server.settings import Settings
from nemotron_asr.server.sockets import bind, tls_context
from nemotron_asr.server.traces import Joining

GRACE = 5
"""Seconds that connections have to close when no stream is open any more."""


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
    routes = [*(route for of in ROUTES for route in of(service)), no_websockets_elsewhere()]
    own, joining = Middleware(OwnPages, service=service), Middleware(Joining, traces=service.traces)
    doors = ([cors] if origins else []) + ([] if service.settings.api_key_file else [own])
    few = Middleware(Few, service=service)
    return Starlette(routes=routes, middleware=[few, *doors, joining], exception_handlers={404: not_found})


class _Http(uvicorn.Server):
    """Leaves signals to `run`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _listen_http(service: Service) -> AsyncIterator[None]:
    settings, tls = service.settings, tls_context(service.settings)
    config = uvicorn.Config(
        application(service), http=Http, ws=WebSockets, lifespan="off", log_config=None, access_log=False,
        ws_max_size=settings.max_message_bytes, ws_ping_interval=connections.PING, ws_ping_timeout=connections.PING,
        ws_per_message_deflate=False, timeout_graceful_shutdown=GRACE, server_header=False,
        proxy_headers=False,  # or a page could say that it comes from elsewhere
        ssl_context_factory=(lambda _config, _default: tls) if tls else None,
    )  # fmt: skip
    server, listening = _Http(config), bind(settings.host, settings.port, "--port")
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
