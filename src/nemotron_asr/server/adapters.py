"""The list of adapters: those over HTTP and WebSocket, and those with a port of their own.

An adapter is a module. Over HTTP it has `routes(service)`. With a port of its own it has `listen(service)`, an
asynchronous context in which it listens at the port that the settings name, and which ends its connections.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from starlette.routing import BaseRoute

from nemotron_asr.server import deepgram, native, openai_http, operations, page, realtime, riva, wyoming
from nemotron_asr.server.service import Service

ROUTES: tuple[Callable[[Service], list[BaseRoute]], ...] = (
    operations.routes, native.routes, openai_http.routes, realtime.routes, deepgram.routes, page.routes,
)  # fmt: skip

LISTENERS: tuple[Callable[[Service], AbstractAsyncContextManager[None]], ...] = (wyoming.listen, riva.listen)
