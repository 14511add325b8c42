"""Deepgram's `/v1/listen`: live over WebSocket, recordings over HTTP."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.websockets import WebSocket

from nemotron_asr.events import Final
from nemotron_asr.server import deepgram_shapes as shapes
from nemotron_asr.server.conversation import Conversation, StreamEvent
from nemotron_asr.server.deepgram_http import PROTOCOL, hear, open_channels, refusal
from nemotron_asr.server.deepgram_query import FOREIGN_MODELS, ListenRequest, read
from nemotron_asr.server.formats import CONTAINER
from nemotron_asr.server.live import live_route
from nemotron_asr.server.objects import object_of
from nemotron_asr.server.problems import Kind, Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.sides import side_by_side, tasks
from nemotron_asr.server.web import CLOSE_CODES, token_of

_REASONS = {Kind.INVALID: (1008, "DATA-0000"), Kind.TIMEOUT: (1011, "NET-0001"), Kind.INTERNAL: (1011, "NET-0000")}
"""Codes with which a connection is closed, and the words that clients look for."""

LONGEST_REASON = 123
"""Bytes of a reason for closing a WebSocket (RFC 6455)."""


def routes(service: Service) -> list[BaseRoute]:
    """What the adapter answers."""

    async def live(websocket: WebSocket) -> None:
        request_id = str(uuid4())
        async with AsyncExitStack() as stack:
            try:
                key = service.authenticate(token_of(websocket) or _spoken_token(websocket), PROTOCOL)
                with service.refusing(PROTOCOL, key):
                    wanted = read(websocket.query_params)
                    if wanted.multichannel and wanted.form.encoding == CONTAINER and not wanted.channels_said:
                        raise invalid("multichannel needs channels, unless it is a recording", "channels")
                    conversations = [
                        await stack.enter_async_context(one)
                        async for one in open_channels(service, key, wanted, wanted.form.channels)
                    ]
            except Problem as problem:
                await websocket.send_denial_response(refusal(problem, request_id))
                return
            subprotocol = next(iter(websocket.scope["subprotocols"]), None)
            await websocket.accept(subprotocol, [(b"dg-request-id", request_id.encode())])
            model = service.models.find(wanted.model, FOREIGN_MODELS).name
            await Talk(websocket, conversations, wanted, request_id, model).run()

    async def recording(request: Request) -> Response:
        return await hear(request, service)

    return [live_route("/v1/listen", live), Route("/v1/listen", recording, methods=["POST"])]


def _spoken_token(websocket: WebSocket) -> str | None:
    """The API key of a browser, which has no headers: subprotocols `token, KEY` or `bearer, KEY`."""
    offered = websocket.scope["subprotocols"]
    return offered[1] if len(offered) == 2 and offered[0].lower() in {"token", "bearer"} else None


class Talk:
    """One connection: a conversation for each channel that is heard for itself."""

    def __init__(
        self,
        websocket: WebSocket,
        conversations: list[Conversation],
        wanted: ListenRequest,
        request_id: str,
        model: str,
    ) -> None:
        self._websocket, self._conversations, self._wanted, self._request_id = (
            websocket,
            conversations,
            wanted,
            request_id,
        )
        self._sha256 = hashlib.sha256()
        self._tellers = [
            shapes.Teller(request_id, model, (channel, len(conversations)), wanted)
            for channel in range(len(conversations))
        ]

    async def run(self) -> None:
        """Hear and tell until the client closes the stream, goes away, or something goes wrong."""
        try:
            await side_by_side(self._listen(), self._tell_all())
            duration, channels = self._conversations[0].duration, len(self._conversations)
            about = shapes.metadata(self._request_id, self._sha256.hexdigest(), duration, channels)
            await self._send({"type": "Metadata", **about})
            await self._websocket.close()
        except Problem as problem:
            code, word = _REASONS.get(problem.kind, (CLOSE_CODES[problem.kind], problem.kind.word))
            await self._send({"type": "Error", "variant": word, "description": str(problem)})
            await self._websocket.close(code, f"{word}: {problem}".encode()[:LONGEST_REASON].decode(errors="ignore"))

    async def _listen(self) -> None:
        """What the client sends, up to its CloseStream; an empty binary message is one, too."""
        while True:
            message = await self._websocket.receive()
            audio = message.get("bytes")
            if audio:
                await self._feed(audio)
            elif audio is not None or await self._control(message["text"]):
                for conversation in self._conversations:
                    await conversation.close()
                return

    async def _feed(self, audio: bytes) -> None:
        self._sha256.update(audio)
        for conversation, teller in zip(self._conversations, self._tellers, strict=True):
            await conversation.feed(audio)
            for message in teller.passed(conversation.duration):
                await self._send(message)

    async def _control(self, text: str) -> bool:
        """Do what a text message asks for; whether it is the last."""
        try:
            message, said = object_of(text), "a text message was not understood"
        except Problem as problem:
            message, said = {}, str(problem)
        match message:
            case {"type": "Finalize"}:
                for conversation in self._conversations:
                    await conversation.finalize()
            case {"type": "KeepAlive"}:
                for conversation in self._conversations:
                    conversation.keep_alive()
            case {"type": "Configure"} if _strings(message.get("keyterms") or []):
                await self._configure(message)
            case {"type": "CloseStream"}:
                return True
            case _:
                said += "; choose Finalize, KeepAlive, Configure with a list of keyterms, or CloseStream"
                answer = {"variant": "SchemaError", "description": said, "message": text[:200]}
                await self._send({"type": "Error", **answer})
        return False

    async def _configure(self, message: dict[str, Any]) -> None:
        """Other key terms; features are how text is written, which the model does by itself."""
        answer: dict[str, Any] = {"type": "ConfigureSuccess", "request_id": self._request_id}
        terms = message.get("keyterms")
        try:
            if terms is not None:
                for conversation in self._conversations:
                    await conversation.change(boost=self._wanted.boost(terms))
                answer["keyterms"] = terms
        except Problem as problem:
            code = "CONFIGURE_KEYTERM_LIMIT_EXCEEDED"
            answer = {**answer, "type": "ConfigureFailure", "code": code, "description": str(problem)}
        await self._send(answer)

    async def _tell_all(self) -> None:
        async with tasks() as group:
            for conversation, teller in zip(self._conversations, self._tellers, strict=True):
                group.create_task(self._tell(conversation, teller))

    async def _tell(self, conversation: Conversation, teller: shapes.Teller) -> None:
        async for event, following in _with_next(conversation):
            for message in teller.of(event, following, conversation.duration):
                await self._send(message)
        for message in teller.finish(conversation.duration):
            await self._send(message)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._websocket.send_text(json.dumps(message, ensure_ascii=False))


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


async def _with_next(conversation: Conversation) -> AsyncIterator[tuple[StreamEvent, StreamEvent | None]]:
    """Events; beside each final what follows it, if that is already there."""
    coming: asyncio.Task[StreamEvent | None] | None = None
    try:
        while (event := await (coming or _next(conversation))) is not None:
            coming = following = None
            if isinstance(event, Final):
                coming = asyncio.create_task(_next(conversation))
                await asyncio.wait([coming], timeout=0)
                following = coming.result() if coming.done() and not coming.exception() else None
            yield event, following
    finally:
        if coming is not None:
            coming.cancel()


async def _next(conversation: Conversation) -> StreamEvent | None:
    return await anext(conversation, None)
