"""Requests and WebSockets that are open at once: so many, and no more."""

from starlette.types import ASGIApp, Receive, Scope, Send

from nemotron_asr.server.problems import Kind, Problem
from nemotron_asr.server.service import Service
from nemotron_asr.server.web import PROTOCOL, answer_problem

_WATCHING = ("/health", "/v1/health", "/metrics", "/v1/metrics")
"""Who looks after the server is always answered: it would be ended as dead while it is only full."""


class Few:
    """Refuses who comes when there are as many as may be."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service, self._most, self._open = app, service, service.settings.max_connections, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] not in {"http", "websocket"} or scope["path"].startswith(_WATCHING):
            await self._app(scope, receive, send)
            return
        if self._open >= self._most:
            problem = Problem(Kind.UNAVAILABLE, f"{self._open} connections are open, which is the limit")
            self._service.refused(problem, PROTOCOL)
            await answer_problem(problem)(scope, receive, send)
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1
