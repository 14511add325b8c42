"""WebSockets whose clients may go away at any moment, in the middle of what they are told."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

GONE = 1006
"""How a WebSocket ends without a word (RFC 6455)."""


def live_route(path: str, converse: Callable[[WebSocket], Awaitable[None]]) -> WebSocketRoute:
    """A route to an adapter; it ends silently when the client disconnects."""
    return WebSocketRoute(path, _Live(converse))


def no_websockets_elsewhere() -> WebSocketRoute:
    """The last route: another path is not found, where Starlette would say that it is forbidden."""

    async def refuse(websocket: WebSocket) -> None:
        await websocket.send_denial_response(PlainTextResponse("Not Found", 404))

    return live_route("/{path:path}", refuse)


class _Live:
    def __init__(self, converse: Callable[[WebSocket], Awaitable[None]]) -> None:
        self._converse = converse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(WebSocketDisconnect):
            await self._converse(_Socket(scope, receive, send))


class _Socket(WebSocket):
    """Raises WebSocketDisconnect at every use after the client has gone, where Starlette's own has other errors."""

    async def receive(self) -> Message:
        message = await super().receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return message

    async def send(self, message: Message) -> None:
        if self.application_state is WebSocketState.DISCONNECTED:
            raise WebSocketDisconnect(GONE)
        await super().send(message)
