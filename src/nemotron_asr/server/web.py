"""What the adapters over HTTP and WebSocket share: who asks, how errors are told, and bodies taken in within limits."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from nemotron_asr.server.objects import object_of
from nemotron_asr.server.problems import Kind, Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.spool import keeping, spooled

RETRY_AFTER = "5"
"""Seconds after which a client that was refused for want of room may come again."""

MAX_FIELDS = 1000
"""Fields of a form."""

SLOWEST = 1000
"""Bytes per second of a form, or of a recording that is heard when whole, beyond the time that it may stand still:
it takes up room while it comes."""

PROTOCOL = "http"
"""Of who is refused before it is known what is wanted."""

CLOSE_CODES = {
    Kind.INVALID: 1008, Kind.UNAUTHENTICATED: 1008, Kind.FORBIDDEN: 1008, Kind.NOT_FOUND: 1008, Kind.TIMEOUT: 1008,
    Kind.TOO_LARGE: 1009, Kind.TOO_MANY: 1013, Kind.INTERNAL: 1011, Kind.UNAVAILABLE: 1013,
}  # fmt: skip
"""Codes with which a WebSocket is closed (RFC 6455, and IANA's registry for 1013, try again later)."""


def token_of(connection: HTTPConnection) -> str | None:
    """The API key that a client shows: `Authorization: Bearer KEY` or `Token KEY`, or `X-API-Key: KEY`."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() in {"bearer", "token"}:
        return token.strip()
    return connection.headers.get("x-api-key")


def headers_of(problem: Problem) -> dict[str, str]:
    """What HTTP wants beside the status."""
    if problem.kind is Kind.UNAUTHENTICATED:
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": RETRY_AFTER} if problem.kind in {Kind.UNAVAILABLE, Kind.TOO_MANY} else {}


def error_of(problem: Problem) -> dict[str, Any]:
    """A problem in our own shape, for JSON."""
    return {"kind": problem.kind.word, "message": str(problem), "parameter": problem.parameter}


def answer_problem(problem: Problem) -> JSONResponse:
    """A problem as a response in our own shape."""
    return JSONResponse({"error": error_of(problem)}, problem.status, headers_of(problem))


async def refuse(websocket: WebSocket, problem: Problem) -> None:
    """Answer a WebSocket's handshake with a status of HTTP."""
    await websocket.send_denial_response(answer_problem(problem))


async def body_of(request: Request, service: Service, slowest: int = 0) -> AsyncIterator[bytes]:
    """The body as it comes, maybe as fast as somebody speaks, within the limits of size and time.

    Raises:
        Problem: it is too long, stands still, comes at fewer than `slowest` bytes a second, or breaks off.
    """
    receive, more = _limited(request, service, slowest), True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        if message["body"]:
            yield message["body"]


async def object_in(request: Request, service: Service, most: int) -> dict[str, Any]:
    """The JSON object of a body, which may have so many bytes; nothing is an empty one.

    Raises:
        Problem: it is none, is too long, stands still, or breaks off.
    """
    data = bytearray()
    async for piece in body_of(request, service):
        data += piece
        if len(data) > most:
            raise Problem(Kind.TOO_LARGE, f"the body has more than {most} bytes, which is the limit")
    return await asyncio.to_thread(object_of, bytes(data) or b"{}", "the body", most)


async def form_of(request: Request, service: Service) -> FormData:
    """A form with at most one file, within the same limits; to be closed.

    Raises:
        Problem: it is no such form, is too long, stands still, or breaks off; or the disk is full.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise invalid("send multipart/form-data with the file, e.g. curl -F file=@talk.mp3")
    try:
        receive = _limited(request, service, SLOWEST)
        with keeping():
            return await Request(request.scope, receive).form(max_files=1, max_fields=MAX_FIELDS)
    except HTTPException as error:
        raise invalid(f"the body is not a form with one file: {error.detail}") from None


def _limited(request: Request, service: Service, slowest: int = 0) -> Receive:
    """What receives a body piece by piece.

    It raises a Problem when the body is too long, stands still, takes too long, or breaks off, or the server ends.
    """
    settings = service.settings
    most, idle, lasting, size = settings.max_upload_bytes, settings.idle_seconds, settings.max_session_seconds, 0
    announced, began = request.headers.get("content-length", ""), time.monotonic()
    if announced.isdecimal() and int(announced) > most:
        raise Problem(Kind.TOO_LARGE, f"the body has {announced} bytes; {most} is the limit")

    def check_time(elapsed: float) -> None:
        if slowest and elapsed > idle + size / slowest:
            raise Problem(Kind.TIMEOUT, f"the body comes at fewer than {slowest} bytes a second, which is the limit")
        if elapsed > lasting:
            raise Problem(Kind.TIMEOUT, f"the body has been coming for {lasting} s, which is the limit")

    async def receive() -> Message:
        nonlocal size
        try:
            async with service.waits.within(idle):
                message = await request.receive()
        except TimeoutError:
            raise Problem(Kind.TIMEOUT, f"nothing of the body came for {idle} s, which is the limit") from None
        if message["type"] == "http.disconnect":
            raise invalid("the client has gone away")
        size += len(message.setdefault("body", b""))
        if size > most:
            raise Problem(Kind.TOO_LARGE, f"the body has more than {most} bytes, which is the limit")
        check_time(time.monotonic() - began)
        return message

    return receive


async def gone(request: Request) -> None:
    """Wait until the client has gone away; to be awaited when its body has been taken in.

    Raises:
        Problem: always.
    """
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise invalid("the client has gone away")


async def pieces(upload: UploadFile) -> AsyncIterator[bytes]:
    """A file of a form, piece by piece."""
    while piece := await upload.read(1 << 20):
        yield piece


@asynccontextmanager
async def stored(body: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """A body in a file, whose path is given, as long as the context lasts.

    Raises:
        Problem: the disk is full.
    """
    async with spooled() as file:
        async for chunk in body:
            await file.write(chunk)
        await file.close()
        yield file.path


class LiveResponse(Response):
    """Text that is sent while the request's body may still be coming; Starlette's own response would consume that.

    Its status is that of the first text: a problem before it is an ordinary error.
    """

    def __init__(
        self, texts: AsyncGenerator[str, None], media_type: str, answer: Callable[[Problem], Response] = answer_problem
    ) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-store"})
        self._texts, self._answer = texts, answer
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        async with aclosing(self._texts) as texts:
            try:
                first = await anext(texts, "")
            except Problem as problem:
                await self._answer(problem)(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": first.encode(), "more_body": True})
            async for text in texts:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
