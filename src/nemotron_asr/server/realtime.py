"""Doors to `/v1/realtime`: the WebSocket of OpenAI's protocol, and secrets for browsers, which stand for a key."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from nemotron_asr.server import openai_session as sessions
from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.keys import Key
from nemotron_asr.server.openai_realtime import Realtime, object_of
from nemotron_asr.server.problems import Kind, Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.web import body_of, token_of

_OF_BROWSERS = "openai-insecure-api-key."
_SECONDS = 600, 10, 7200
"""How long a secret lives: by default, at least, at most."""


def routes(service: Service) -> list[BaseRoute]:
    """What the adapter answers."""
    kept: dict[str, tuple[float, sessions.Session]] = {}  # sessions of secrets, until they end

    async def realtime(websocket: WebSocket) -> None:
        offered = websocket.scope["subprotocols"]
        token = token_of(websocket) or _offered_token(offered)
        _, session = kept.get(token or "", (0.0, sessions.new_session()))
        try:
            key = service.authenticate(token)
            if model := websocket.query_params.get("model"):
                service.models.find(model, shapes.FOREIGN_MODELS)
                session = sessions.updated(session, {"audio": {"input": {"transcription": {"model": model}}}})
        except Problem as problem:
            await websocket.send_denial_response(shapes.answer_error(problem))
            return
        await websocket.accept("realtime" if "realtime" in offered else None)
        beta = "realtime=v1" in websocket.headers.get("openai-beta", "")
        await Realtime(websocket, service, key, session, beta=beta).run()

    async def client_secrets(request: Request) -> Response:
        try:
            key, wanted = await _minting(request, service)
            seconds = (wanted.get("expires_after") or {}).get("seconds", _SECONDS[0])
            if not isinstance(seconds, int) or not _SECONDS[1] <= seconds <= _SECONDS[2]:
                message = f"seconds is {str(seconds)[:40]}; choose {_SECONDS[1]} to {_SECONDS[2]}"
                raise invalid(message, "expires_after.seconds")
            session = sessions.updated(sessions.new_session(), wanted.get("session"))
            sessions.read(session)
        except Problem as problem:
            return shapes.answer_error(problem)
        secret, ends = service.keys.mint(key, seconds)
        for old in [old for old, (end, _) in kept.items() if end < time.time()]:
            del kept[old]
        kept[secret] = ends, session
        return JSONResponse({"value": secret, "expires_at": int(ends), "session": session})

    return [
        WebSocketRoute("/v1/realtime", realtime),
        Route("/v1/realtime/client_secrets", client_secrets, methods=["POST"]),
    ]


async def _minting(request: Request, service: Service) -> tuple[Key, dict[str, Any]]:
    """Who wants a secret, and what for."""
    token = token_of(request)
    key = service.authenticate(token)
    if token and token.startswith("ek_"):
        raise Problem(Kind.UNAUTHENTICATED, "a client secret makes no others; show an API key")
    body = b"".join([piece async for piece in body_of(request, service)])
    return key, object_of(body or b"{}")


def _offered_token(offered: list[str]) -> str | None:
    """The key of a browser, which can send no headers with a WebSocket."""
    return next((one.removeprefix(_OF_BROWSERS) for one in offered if one.startswith(_OF_BROWSERS)), None)
