"""OpenAI's `POST /v1/audio/transcriptions`, which a NIM container has, too; speakers are told apart by channels."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from string import ascii_uppercase
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from nemotron_asr.events import Final
from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.channels import transcripts
from nemotron_asr.server.conversation import Conversation
from nemotron_asr.server.formats import CONTAINER, AudioFormat
from nemotron_asr.server.openai_form import DIARIZED, FORMATS, TranscriptionRequest, read
from nemotron_asr.server.problems import Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.sides import tasks
from nemotron_asr.server.web import LiveResponse, form_of, gone, pieces, stored, token_of
from nemotron_asr.transcript import Transcript

PROTOCOL = "openai"


def routes(service: Service) -> list[BaseRoute]:
    """What the adapter answers."""

    async def transcriptions(request: Request) -> Response:
        async with AsyncExitStack() as stack:
            try:
                key = service.authenticate(token_of(request), PROTOCOL)
                with service.refusing(PROTOCOL, key):
                    stack.enter_context(service.uploading(key, PROTOCOL))
                    form = await form_of(request, service)
                    stack.push_async_callback(form.close)
                    wanted = read(form)
                    path = await stack.enter_async_context(stored(pieces(wanted.file)))
                    await form.close()  # else it would lie there twice
                    conversations = [
                        await stack.enter_async_context(
                            await service.open(
                                key, PROTOCOL, heard, model=wanted.model, foreign=shapes.FOREIGN_MODELS, recording=True,
                                **wanted.options,
                            )
                        )
                        for heard in await _forms(service, path, wanted)
                    ]  # fmt: skip
            except Problem as problem:
                return shapes.answer_error(problem)
            texts = _texts(stack.pop_all(), conversations, path, request, wanted)
            return LiveResponse(texts, wanted.media_type, shapes.answer_error)

    return [Route("/v1/audio/transcriptions", transcriptions, methods=["POST"])]


async def _forms(service: Service, path: str, wanted: TranscriptionRequest) -> list[AudioFormat]:
    """What is to be heard: the recording, or each of its channels."""
    if wanted.response != DIARIZED:
        return [AudioFormat(CONTAINER)]
    count, names = await service.channels(path), len(wanted.speakers)
    if not 2 <= count <= len(ascii_uppercase):
        message = f"speakers are told apart by their channels, and the recording has {count}"
        raise invalid(f"{message}; choose {', '.join(FORMATS[:-1])}", "response_format")
    if names > count:
        raise invalid(f"{names} speakers are named, and the recording has {count} channels", "known_speaker_names")
    return [AudioFormat(CONTAINER, channels=count, channel=channel) for channel in range(count)]


async def _play(conversation: Conversation, path: str, request: Request) -> None:
    """Hear a recording, unless the client goes away."""
    async with tasks() as group:
        group.create_task(gone(request))
        await conversation.play(path)


async def _texts(
    resources: AsyncExitStack,
    conversations: Sequence[Conversation],
    path: str,
    request: Request,
    wanted: TranscriptionRequest,
) -> AsyncGenerator[str, None]:
    """The answer: all at once, or in Server-Sent Events."""
    async with resources:
        if wanted.response == DIARIZED:
            channels = await transcripts(conversations, partial(Conversation.play, path=path), request)
            letters = ascii_uppercase[len(wanted.speakers) : len(channels)]
            yield json.dumps(shapes.diarized(channels, [*wanted.speakers, *letters]), ensure_ascii=False)
            return
        (conversation,) = conversations
        await resources.enter_async_context(conversation.beside(_play(conversation, path, request)))
        if not wanted.stream:
            yield _render(await conversation.transcript(), wanted)
            return
        begun = False
        try:
            async for event in _events(conversation, wanted):
                begun = True
                yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
            yield "data: [DONE]\n\n"
        except Problem as problem:
            if not begun:
                raise
            yield f"data: {json.dumps({'error': shapes.error(problem)}, ensure_ascii=False)}\n\n"


async def _events(conversation: Conversation, wanted: TranscriptionRequest) -> AsyncIterator[dict[str, Any]]:
    deltas, finals = shapes.Deltas(), []
    async for event in conversation:
        delta = deltas.of(event)
        if isinstance(event, Final):
            finals.append(event)
        if delta:
            yield {"type": "transcript.text.delta", "delta": delta}
    transcript = conversation.transcript_of(finals)
    done = {"type": "transcript.text.done", **shapes.plain(transcript, with_logprobs=wanted.logprobs)}
    match wanted.response:
        case "verbose_json":
            done |= shapes.verbose(transcript, wanted.granularities)
        case "srt" | "vtt":
            done[wanted.response] = _render(transcript, wanted)
    del done["usage"]  # which is in tokens here, and of those nothing is known
    yield done


def _render(transcript: Transcript, wanted: TranscriptionRequest) -> str:
    match wanted.response:
        case "text":
            return transcript.text + "\n"
        case "srt":
            return transcript.to_srt()
        case "vtt":
            return transcript.to_vtt()
        case "verbose_json":
            content = shapes.verbose(transcript, wanted.granularities)
        case _:
            content = shapes.plain(transcript, with_logprobs=wanted.logprobs)
    return json.dumps(content, ensure_ascii=False)
