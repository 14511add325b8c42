"""Deepgram's `/v1/listen` over HTTP: recordings; and what it shares with the one over WebSocket."""

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from nemotron_asr.options import RECORDING_MS
from nemotron_asr.server import deepgram_shapes as shapes
from nemotron_asr.server.channels import transcripts
from nemotron_asr.server.conversation import Conversation
from nemotron_asr.server.deepgram_query import FOREIGN_MODELS, ListenRequest, read
from nemotron_asr.server.formats import CONTAINER
from nemotron_asr.server.keys import Key
from nemotron_asr.server.problems import Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.web import SLOWEST, LiveResponse, body_of, headers_of, stored, token_of

PROTOCOL = "deepgram"


async def open_channels(
    service: Service, key: Key, wanted: ListenRequest, channels: int, *, recording: bool = False, **options: Any
) -> AsyncIterator[Conversation]:
    """A conversation for each channel that is heard for itself."""
    for channel in range(channels) if wanted.multichannel else (None,):
        form = replace(wanted.form, channels=channels, channel=channel)
        yield await service.open(
            key, PROTOCOL, form, model=wanted.model, foreign=FOREIGN_MODELS, recording=recording,
            **{**options, **wanted.options},
        )  # fmt: skip


def refusal(problem: Problem, request_id: str) -> JSONResponse:
    """A problem instead of an answer; clients of WebSockets see nothing but its headers."""
    said = str(problem).encode("ascii", "replace").decode().replace("\n", " ")
    headers = {**headers_of(problem), "dg-error": said, "dg-request-id": request_id}
    return JSONResponse(shapes.error(problem, request_id), problem.status, headers)


async def hear(request: Request, service: Service) -> Response:
    """A recording."""
    request_id, sha256 = str(uuid4()), hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        async for data in body_of(request, service, SLOWEST):
            sha256.update(data)
            yield data

    async with AsyncExitStack() as stack:
        try:
            key = service.authenticate(token_of(request), PROTOCOL)
            with service.refusing(PROTOCOL, key):
                wanted = read(request.query_params)
                if request.headers.get("content-type", "").startswith("application/json"):
                    raise invalid("recordings are not fetched from a URL; send the audio itself")
                stack.enter_context(service.uploading(key, PROTOCOL))
                path = await stack.enter_async_context(stored(body()))
                counted = wanted.multichannel and wanted.form.encoding == CONTAINER
                channels = await service.channels(path) if counted else wanted.form.channels
                opened = open_channels(service, key, wanted, channels, recording=True, latency_ms=RECORDING_MS)
                conversations = [await stack.enter_async_context(one) async for one in opened]
        except Problem as problem:
            return refusal(problem, request_id)
        name = service.models.find(wanted.model, FOREIGN_MODELS).name

        async def answer(resources: AsyncExitStack) -> AsyncGenerator[str, None]:
            async with resources:
                said = await transcripts(conversations, partial(_play, path=path, wanted=wanted), request)
                content = shapes.recording(said, name, request_id, sha256.hexdigest(), wanted)
                yield json.dumps(content, ensure_ascii=False)

        texts = answer(stack.pop_all())
        return LiveResponse(texts, "application/json", lambda problem: refusal(problem, request_id))


async def _play(conversation: Conversation, path: str, wanted: ListenRequest) -> None:
    if wanted.form.encoding == CONTAINER:
        await conversation.play(path)
        return
    async with await anyio.open_file(path, "rb") as file:
        while data := await file.read(1 << 16):
            await conversation.feed(data)
    await conversation.close()
