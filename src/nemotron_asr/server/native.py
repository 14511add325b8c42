"""Our own shape, the simplest thing: audio in, one JSON event per message or line out.

WebSocket /v1/stream    binary messages are audio, text messages are control: {"type": "finalize"}, {"type": "close"},
                        {"type": "change", "language": "de", "latency_ms": 80}, {"type": "keep_alive"}
POST /v1/stream         the body is audio, a file or plain samples; the answer is a line of JSON per event, or
                        Server-Sent Events for `Accept: text/event-stream`

Options are in the query: model, language, latency_ms, endpointing_ms (or none), keep_language_tags, interim_results;
encoding, sample_rate, channels, channel of the audio.
"""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.events import Partial
from nemotron_asr.server.conversation import Conversation, Heard, side_by_side
from nemotron_asr.server.formats import AUTO, AudioFormat
from nemotron_asr.server.problems import Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.web import (
    CLOSE_CODES,
    LiveResponse,
    answer_problem,
    body_of,
    error_of,
    flag,
    gone,
    number,
    refuse,
    token_of,
)

PROTOCOL = "native"

_READ: dict[str, Callable[[QueryParams, str], Any]] = {
    "language": lambda query, name: query[name],
    "latency_ms": lambda query, name: number(query, name, 0),
    "endpointing_ms": lambda query, name: None if query[name] == "none" else number(query, name, 0),
    "keep_language_tags": flag,
}
"""Options of the engine, and how they are read."""

_OTHERS = ("model", "encoding", "sample_rate", "channels", "channel", "interim_results")


def routes(service: Service) -> list[BaseRoute]:
    """What the adapter answers."""

    async def stream(websocket: WebSocket) -> None:
        try:
            conversation = _open(service, websocket.query_params, token_of(websocket))
            interim = flag(websocket.query_params, "interim_results", default=True)
        except Problem as problem:
            await refuse(websocket, problem)
            return
        await websocket.accept()
        await _converse(websocket, conversation, interim)

    async def post(request: Request) -> Response:
        try:
            conversation = _open(service, request.query_params, token_of(request), recording=True)
            interim = flag(request.query_params, "interim_results", default=True)
        except Problem as problem:
            return answer_problem(problem)
        sse = "text/event-stream" in request.headers.get("accept", "")
        lines = _lines(conversation, request, service, interim, "data: {}\n\n" if sse else "{}\n")
        return LiveResponse(lines, "text/event-stream" if sse else "application/x-ndjson")

    return [WebSocketRoute("/v1/stream", stream), Route("/v1/stream", post, methods=["POST", "PUT"])]


def _open(service: Service, query: QueryParams, token: str | None, *, recording: bool = False) -> Conversation:
    key = service.authenticate(token or query.get("token"))
    unknown = set(query) - {*_READ, *_OTHERS, "token"}
    if unknown:
        raise invalid(f"option {min(unknown)!r} is unknown; choose {', '.join((*_OTHERS, *_READ))}", min(unknown))
    channel = number(query, "channel", 0) if "channel" in query else None
    form = AudioFormat(
        query.get("encoding", AUTO), number(query, "sample_rate", SAMPLE_RATE), number(query, "channels", 1), channel
    )
    options = {name: read(query, name) for name, read in _READ.items() if name in query}
    return service.open(key, PROTOCOL, form, model=query.get("model"), recording=recording, **options)


async def _converse(websocket: WebSocket, conversation: Conversation, interim: bool) -> None:
    try:
        async with conversation:
            await side_by_side(_listen(websocket, conversation), _tell(websocket, conversation, interim))
    except Problem as problem:
        await websocket.send_text(json.dumps({"type": "error", **error_of(problem)}, ensure_ascii=False))
        await websocket.close(CLOSE_CODES[problem.kind], problem.kind.word)
    except WebSocketDisconnect:
        pass
    else:
        await websocket.close()


async def _listen(websocket: WebSocket, conversation: Conversation) -> None:
    """What the client sends, up to its {"type": "close"}."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        if message.get("bytes") is not None:
            await conversation.feed(message["bytes"])
        elif await _control(conversation, message["text"]):
            return


async def _control(conversation: Conversation, text: str) -> bool:
    """Do what a text message asks for; whether it is the last."""
    match _object(text):
        case {"type": "finalize"}:
            conversation.finalize()
        case {"type": "keep_alive"}:
            conversation.keep_alive()
        case {"type": "change", **options}:
            conversation.change(**options)
        case {"type": "close"}:
            await conversation.close()
            return True
        case other:
            raise invalid(f"message {other.get('type')!r} is unknown; choose finalize, change, keep_alive or close")
    return False


def _object(text: str) -> Mapping[str, Any]:
    try:
        message = json.loads(text)
    except ValueError:
        raise invalid("a text message is not JSON") from None
    if not isinstance(message, dict):
        raise invalid("a text message is not a JSON object")
    return message


async def _tell(websocket: WebSocket, conversation: Conversation, interim: bool) -> None:
    async for event in conversation:
        if interim or not isinstance(event, Partial):
            await websocket.send_text(_json(event))


async def _lines(
    conversation: Conversation, request: Request, service: Service, interim: bool, shape: str
) -> AsyncGenerator[str, None]:
    """The events of a body, while it comes; a problem on the way is the last line."""
    begun = False
    try:
        async with conversation, conversation.beside(_feed(conversation, request, service)):
            async for event in conversation:
                if interim or not isinstance(event, Partial):
                    begun = True
                    yield shape.format(_json(event))
    except Problem as problem:
        if not begun:
            raise
        yield shape.format(json.dumps({"type": "error", **error_of(problem)}, ensure_ascii=False))


async def _feed(conversation: Conversation, request: Request, service: Service) -> None:
    """Hear a body to its end, and then wait for the client to go away."""
    async for data in body_of(request, service):
        await conversation.feed(data)
    await conversation.close()
    await gone(request)


def _json(event: Heard) -> str:
    return json.dumps(event.to_dict(), ensure_ascii=False)
