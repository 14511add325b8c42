"""Our own shape, the simplest thing: audio in, one JSON event per message or line out.

WebSocket /v1/stream    binary messages are audio, text messages are control: {"type": "finalize"}, {"type": "close"},
                        {"type": "change", "language": "de", "latency_ms": 80}, {"type": "keep_alive"}
POST /v1/stream         the body is audio, a file or plain samples; the answer is a line of JSON per event, or
                        Server-Sent Events for `Accept: text/event-stream`

Options are in the query: model, language, languages=a,b, latency_ms, boost (phrase or phrase:weight, repeated),
endpointing_ms (or none), longest_segment_ms, vad, beam, keep_language_tags, interim_results; of the audio encoding,
sample_rate, channels, channel; token, the API key, for browsers, which cannot send headers with a WebSocket.
"""

import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.websockets import WebSocket

from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.events import Partial
from nemotron_asr.server.checks import flag, number
from nemotron_asr.server.conversation import Conversation, StreamEvent
from nemotron_asr.server.formats import AUTO, AudioFormat
from nemotron_asr.server.keys import Key
from nemotron_asr.server.live import live_route
from nemotron_asr.server.objects import object_of
from nemotron_asr.server.problems import Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.sides import side_by_side
from nemotron_asr.server.web import (
    CLOSE_CODES,
    LiveResponse,
    answer_problem,
    body_of,
    error_of,
    gone,
    refuse,
    token_of,
)

PROTOCOL = "native"

_READ: dict[str, Callable[[QueryParams, str], Any]] = {
    "language": lambda query, name: query[name],
    "languages": lambda query, name: query[name].split(","),
    "latency_ms": lambda query, name: number(query, name, 0),
    "boost": lambda query, name: query.getlist(name),
    "endpointing_ms": lambda query, name: None if query[name] == "none" else number(query, name, 0),
    "longest_segment_ms": lambda query, name: number(query, name, 0),
    "vad": flag,
    "beam": lambda query, name: number(query, name, 1),
    "keep_language_tags": flag,
}
"""Options of the engine, and how they are read."""

_OTHERS = ("model", "encoding", "sample_rate", "channels", "channel", "interim_results")


def routes(service: Service) -> list[BaseRoute]:
    """What the adapter answers."""

    async def stream(websocket: WebSocket) -> None:
        try:
            key = _key(service, websocket)
            with service.refusing(PROTOCOL, key):
                interim = flag(websocket.query_params, "interim_results", default=True)
                conversation = await _open(service, key, websocket.query_params)
        except Problem as problem:
            await refuse(websocket, problem)
            return
        await _converse(websocket, conversation, interim)

    async def post(request: Request) -> Response:
        async with AsyncExitStack() as stack:
            try:
                key = _key(service, request)
                with service.refusing(PROTOCOL, key):
                    interim = flag(request.query_params, "interim_results", default=True)
                    stack.enter_context(service.uploading(key, PROTOCOL))
                    conversation = await _open(service, key, request.query_params, recording=True)
            except Problem as problem:
                return answer_problem(problem)
            sse = "text/event-stream" in request.headers.get("accept", "")
            events = _events(stack.pop_all(), conversation, _feed(conversation, request, service), interim)
            lines = _lines(events, "data: {}\n\n" if sse else "{}\n")
            return LiveResponse(lines, "text/event-stream" if sse else "application/x-ndjson")

    return [live_route("/v1/stream", stream), Route("/v1/stream", post, methods=["POST", "PUT"])]


def _key(service: Service, connection: HTTPConnection) -> Key:
    return service.authenticate(token_of(connection) or connection.query_params.get("token"), PROTOCOL)


async def _open(service: Service, key: Key, query: QueryParams, *, recording: bool = False) -> Conversation:
    unknown = set(query) - {*_READ, *_OTHERS, "token"}
    if unknown:
        raise invalid(f"option {min(unknown)!r} is unknown; choose {', '.join((*_OTHERS, *_READ))}", min(unknown))
    channel = number(query, "channel", 0) if "channel" in query else None
    form = AudioFormat(
        query.get("encoding", AUTO), number(query, "sample_rate", SAMPLE_RATE), number(query, "channels", 1), channel
    )
    options = {name: read(query, name) for name, read in _READ.items() if name in query}
    return await service.open(key, PROTOCOL, form, model=query.get("model"), recording=recording, **options)


async def _converse(websocket: WebSocket, conversation: Conversation, interim: bool) -> None:
    try:
        async with conversation:
            await websocket.accept()
            await side_by_side(_listen(websocket, conversation), _tell(websocket, conversation, interim))
    except Problem as problem:
        await websocket.send_text(json.dumps({"type": "error", **error_of(problem)}, ensure_ascii=False))
        await websocket.close(CLOSE_CODES[problem.kind], problem.kind.word)
    else:
        await websocket.close()


async def _listen(websocket: WebSocket, conversation: Conversation) -> None:
    """What the client sends, up to its {"type": "close"}."""
    while True:
        message = await websocket.receive()
        if message.get("bytes") is not None:
            await conversation.feed(message["bytes"])
        elif await _control(conversation, message["text"]):
            return


async def _control(conversation: Conversation, text: str) -> bool:
    """Do what a text message asks for; whether it is the last."""
    match object_of(text):
        case {"type": "finalize"}:
            await conversation.finalize()
        case {"type": "keep_alive"}:
            conversation.keep_alive()
        case {"type": "change", **options}:
            await conversation.change(**options)
        case {"type": "close"}:
            await conversation.close()
            return True
        case other:
            raise invalid(f"message {other.get('type')!r} is unknown; choose finalize, change, keep_alive or close")
    return False


async def _tell(websocket: WebSocket, conversation: Conversation, interim: bool) -> None:
    async for event in conversation:
        if interim or not isinstance(event, Partial):
            await websocket.send_text(_json(event))


async def _events(
    resources: AsyncExitStack, conversation: Conversation, feeding: Coroutine[Any, Any, None], interim: bool
) -> AsyncGenerator[StreamEvent, None]:
    """The events of a body, while it comes."""
    async with resources, conversation, conversation.beside(feeding):
        async for event in conversation:
            if interim or not isinstance(event, Partial):
                yield event


async def _lines(events: AsyncGenerator[StreamEvent, None], shape: str) -> AsyncGenerator[str, None]:
    """Events as lines; a problem on the way is the last one."""
    begun = False
    try:
        async with aclosing(events):
            async for event in events:
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


def _json(event: StreamEvent) -> str:
    return json.dumps(event.to_dict(), ensure_ascii=False)
