"""Pages of others in a user's browser: where no key is asked for, they may not use the server."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from nemotron_asr.server.problems import Kind, Problem
from nemotron_asr.server.service import Service
from nemotron_asr.server.web import PROTOCOL, answer_problem

_LOOPBACK = {"localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1"}  # the last is IPv4's as a socket of IPv6 sees it
_READING = {"GET", "HEAD", "OPTIONS"}


class OwnPages:
    """Refuses what a browser sends for a page that is neither ours nor among the origins that are allowed.

    A browser asks nobody before it opens a WebSocket or sends a form for any page that its user has opened (CORS only
    keeps answers from it), so that such a page could use a server on the user's own machine. Only browsers send an
    `Origin`. Pages of the same machine may, whatever their port: who develops has one.

    What comes from the same machine under another name is a page whose name was made to mean this machine (DNS
    rebinding), or a proxy, for which the pages are to be named.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service, self._allowed = app, service, service.settings.cors_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        asks = scope["type"] == "websocket" or (scope["type"] == "http" and scope["method"] not in _READING)
        origin = Headers(scope=scope).get("origin") if asks else None
        near = (scope.get("client") or ("",))[0] in _LOOPBACK
        if origin is None or self._may(origin, Headers(scope=scope), near=near):
            await self._app(scope, receive, send)
            return
        message = f"pages of {origin[:100]} may not use this server, unless cors_origin names them"
        problem = Problem(Kind.FORBIDDEN, message, "cors_origin")
        self._service.refused(problem, PROTOCOL)
        await answer_problem(problem)(scope, receive, send)

    def _may(self, origin: str, headers: Headers, *, near: bool) -> bool:
        page, hosts = _host(origin), [_host(f"//{headers.get(name, '')}") for name in ("host", "x-forwarded-host")]
        if origin in self._allowed or "*" in self._allowed or {page[0], hosts[0][0]} <= _LOOPBACK:
            return True
        return page[0] is not None and page in hosts and not near


def _host(url: str) -> tuple[str | None, int | None]:
    """Name and port; neither where there are none."""
    try:
        parts = urlsplit(url)
        named = parts.hostname, parts.port
    except ValueError:
        return None, None
    return named
