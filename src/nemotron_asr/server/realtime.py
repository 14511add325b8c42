"""Endpoints of `/v1/realtime`: the WebSocket of OpenAI's and NIM's protocols, and secrets that stand for a key."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.websockets import WebSocket

from nemotron_asr.server import openai_session as sessions
from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.keys import Key
from nemotron_asr.server.live import live_route
from nemotron_asr.server.nim_realtime import Nim
from nemotron_asr.server.nim_session import new_session as new_nim_session
from nemotron_asr.server.objects import Message
from nemotron_asr.server.openai_realtime import PROTOCOL, Realtime, read_session
from nemotron_asr.server.problems import Kind, Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.web import headers_of, object_in, token_of

_OF_BROWSERS, _OF_NIM = "openai-insecure-api-key.", "realtime-token."
"""What a key looks like among the subprotocols, for a browser can send no headers with a WebSocket."""

_OF_BETA = "openai-beta.realtime-v1"
"""How a browser asks for the beta."""

_SECONDS = 600, 10, 7200
"""How long a secret lives: by default, at least, at most."""

_LONGEST_SESSION = 1 << 16
"""Bytes of a session that is kept with a secret; what is said in the WebSocket may be longer."""


def routes(service: Service) -> list[BaseRoute]:
    """What the adapter answers."""
    endpoints = _Endpoints(service)
    return [
        live_route("/v1/realtime", endpoints.realtime),
        Route("/v1/realtime/client_secrets", endpoints.client_secrets, methods=["POST"]),
        Route("/v1/realtime/transcription_sessions", endpoints.transcription_sessions, methods=["POST"]),
    ]


class _Endpoints:
    """Those who come in, and the sessions that were asked for with their secrets."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._kept: dict[str, tuple[float, sessions.Session]] = {}  # by secret: when it ends, and the session

    async def realtime(self, websocket: WebSocket) -> None:
        """The WebSocket; whose protocol is spoken, its subprotocols and first message say."""
        offered = websocket.scope["subprotocols"]
        token = token_of(websocket) or _offered_token(offered)
        try:
            key = self._service.authenticate(token, PROTOCOL)
            with self._service.refusing(PROTOCOL, key):
                session = self._session(websocket, token)
        except Problem as problem:
            await websocket.send_denial_response(shapes.answer_error(problem))
            return
        await websocket.accept("realtime" if "realtime" in offered else None)
        if any(one.startswith(_OF_NIM) for one in offered):
            await self._speak_nim(websocket, token, key)
            return
        beta = "realtime=v1" in websocket.headers.get("openai-beta", "") or _OF_BETA in offered
        if first := await Realtime(websocket, self._service, key, session, beta=beta).run():
            await self._speak_nim(websocket, token, key, first)

    async def _speak_nim(self, websocket: WebSocket, token: str | None, key: Key, first: Message | None = None) -> None:
        """NIM's protocol, whose clients ask for a secret each time: where none is needed to come in, it has served."""
        if not self._service.settings.api_key_file:
            self._kept.pop(token or "", None)
        await Nim(websocket, self._service, key).run(first)

    async def client_secrets(self, request: Request) -> Response:
        """A secret for OpenAI's protocol, and its session."""
        try:
            with self._service.refusing(PROTOCOL):
                key, wanted = await _minting(request, self._service)
                session = sessions.updated(sessions.new_session(), wanted.get("session") or {})
                await read_session(session, self._service)
                secret, ends = self._mint(key, _seconds(wanted), session)
        except Problem as problem:
            return shapes.answer_error(problem)
        return JSONResponse({"value": secret, "expires_at": ends, "session": session})

    async def transcription_sessions(self, request: Request) -> Response:
        """A session with its secret: in the shape of OpenAI's beta; if nothing is asked for, in NIM's."""
        try:
            with self._service.refusing(PROTOCOL):
                key, wanted = await _minting(request, self._service)
                session = sessions.updated(sessions.new_session(), sessions.from_beta(wanted))
                await read_session(session, self._service)
                nim = new_nim_session(self._service.models.find(None).name)
                secret, ends = self._mint(key, _SECONDS[0], session)
        except Problem as problem:
            content = {"detail": str(problem), "error": shapes.error(problem)}
            return JSONResponse(content, problem.status, headers_of(problem))
        answer = {**sessions.to_beta(session), "modalities": ["text"]} if wanted else nim
        return JSONResponse({**answer, "client_secret": {"value": secret, "expires_at": ends}})

    def _session(self, websocket: WebSocket, token: str | None) -> sessions.Session:
        """What was asked for with the secret; the model in the query wins."""
        _, session = self._kept.get(token or "", (0, sessions.new_session()))
        model = websocket.query_params.get("model")
        if not model:
            return session
        self._service.models.find(model, shapes.FOREIGN_MODELS)
        return sessions.updated(session, {"audio": {"input": {"transcription": {"model": model}}}})

    def _mint(self, key: Key, seconds: int, session: sessions.Session) -> tuple[str, int]:
        self._kept = {old: kept for old, kept in self._kept.items() if kept[0] > time.time()}
        if len(self._kept) >= self._service.settings.max_connections:
            raise Problem(Kind.TOO_MANY, f"{len(self._kept)} client secrets are alive, which is the limit")
        secret, ends = self._service.keys.mint(key, seconds)
        self._kept[secret] = ends, session
        return secret, int(ends)


def _seconds(wanted: dict[str, Any]) -> int:
    """How long a secret is to live."""
    after = wanted.get("expires_after") or {}
    seconds = after.get("seconds", _SECONDS[0]) if isinstance(after, dict) else after
    if not isinstance(seconds, int) or not _SECONDS[1] <= seconds <= _SECONDS[2]:
        message = f"seconds is {str(seconds)[:40]}; choose {_SECONDS[1]} to {_SECONDS[2]}"
        raise invalid(message, "expires_after.seconds")
    return seconds


async def _minting(request: Request, service: Service) -> tuple[Key, dict[str, Any]]:
    """Who wants a secret, and what for."""
    token = token_of(request)
    key = service.authenticate(token, PROTOCOL)
    if token and token.startswith("ek_"):
        raise Problem(Kind.UNAUTHENTICATED, "a client secret makes no others; show an API key")
    return key, await object_in(request, service, min(_LONGEST_SESSION, service.settings.max_message_bytes))


def _offered_token(offered: list[str]) -> str | None:
    for mark in (_OF_BROWSERS, _OF_NIM):
        for one in offered:
            if one.startswith(mark):
                return one.removeprefix(mark)
    return None
