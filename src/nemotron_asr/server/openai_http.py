"""OpenAI's `POST /v1/audio/transcriptions`, which a NIM container has, too.

Not heard: `temperature` (the search is greedy), `chunking_strategy`'s threshold and padding. Speakers are told apart by
their channels.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from string import ascii_uppercase
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from nemotron_asr.engine.settings import RECORDING_MS
from nemotron_asr.events import Final
from nemotron_asr.languages import AUTO
from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.channels import transcripts
from nemotron_asr.server.conversation import Conversation
from nemotron_asr.server.formats import CONTAINER, AudioFormat
from nemotron_asr.server.problems import Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.web import LiveResponse, flag, form_of, gone, number, pieces, stored, token_of
from nemotron_asr.transcript import Transcript, collect

PROTOCOL = "openai"

DIARIZED = "diarized_json"

FORMATS = ("json", "text", "srt", "vtt", "verbose_json", DIARIZED)

GRANULARITIES = ("segment", "word")

_NUMBERS = ("latency_ms", "endpointing_ms", "longest_segment_ms")
"""Options of ours, in the form beside OpenAI's."""

_LISTS = ("languages", "keywords", "timestamp_granularities", "include", "known_speaker_names")
_VAD = ("type", "threshold", "prefix_padding_ms", "silence_duration_ms")
_KNOWN = {
    "file", "model", "language", "prompt", "response_format", "temperature", "stream", "chunking_strategy", *_NUMBERS,
    *_LISTS, *(f"{name}[]" for name in _LISTS), *(f"chunking_strategy[{name}]" for name in _VAD),
}  # fmt: skip

_JSON = "application/json"
_MEDIA = {"json": _JSON, "verbose_json": _JSON, DIARIZED: _JSON, "vtt": "text/vtt"}


@dataclass(frozen=True)
class Wish:
    """What a form asks for."""

    file: UploadFile
    model: str
    response: str
    granularities: Sequence[str]
    logprobs: bool
    stream: bool
    speakers: Sequence[str]
    options: dict[str, Any]

    @property
    def media_type(self) -> str:
        """Of the answer."""
        return "text/event-stream" if self.stream else _MEDIA.get(self.response, "text/plain")


def routes(service: Service) -> list[BaseRoute]:
    """What the adapter answers."""

    async def transcriptions(request: Request) -> Response:
        async with AsyncExitStack() as stack:
            try:
                key = service.authenticate(token_of(request))
                stack.enter_context(service.uploading())
                form = await form_of(request, service)
                stack.push_async_callback(form.close)
                wish = read(form)
                path = await stack.enter_async_context(stored(pieces(wish.file)))
                conversations = [
                    await stack.enter_async_context(
                        await service.open(
                            key, PROTOCOL, heard, model=wish.model, foreign=shapes.FOREIGN_MODELS, recording=True,
                            **wish.options,
                        )
                    )
                    for heard in await _forms(service, path, wish)
                ]  # fmt: skip
            except Problem as problem:
                return shapes.answer_error(problem)
            texts = _texts(stack.pop_all(), conversations, path, request, wish)
            return LiveResponse(texts, wish.media_type, shapes.answer_error)

    return [Route("/v1/audio/transcriptions", transcriptions, methods=["POST"])]


async def _forms(service: Service, path: str, wish: Wish) -> list[AudioFormat]:
    """What is to be heard: the recording, or each of its channels."""
    if wish.response != DIARIZED:
        return [AudioFormat(CONTAINER)]
    count, names = await service.channels(path), len(wish.speakers)
    if not 2 <= count <= len(ascii_uppercase):
        message = f"speakers are told apart by their channels, and the recording has {count}"
        raise invalid(f"{message}; choose {', '.join(FORMATS[:-1])}", "response_format")
    if names > count:
        raise invalid(f"{names} speakers are named, and the recording has {count} channels", "known_speaker_names")
    return [AudioFormat(CONTAINER, channels=count, channel=channel) for channel in range(count)]


async def _play(conversation: Conversation, path: str, request: Request) -> None:
    await conversation.play(path)
    await gone(request)


async def _texts(
    resources: AsyncExitStack, conversations: Sequence[Conversation], path: str, request: Request, wish: Wish
) -> AsyncGenerator[str, None]:
    """The answer: all at once, or in Server-Sent Events."""
    async with resources:
        if wish.response == DIARIZED:
            channels = await transcripts(conversations, partial(Conversation.play, path=path), request)
            letters = ascii_uppercase[len(wish.speakers) : len(channels)]
            yield json.dumps(shapes.diarized(channels, [*wish.speakers, *letters]), ensure_ascii=False)
            return
        (conversation,) = conversations
        await resources.enter_async_context(conversation.beside(_play(conversation, path, request)))
        if not wish.stream:
            yield _render(await conversation.transcript(), wish)
            return
        begun = False
        try:
            async for event in _events(conversation, wish):
                begun = True
                yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
            yield "data: [DONE]\n\n"
        except Problem as problem:
            if not begun:
                raise
            yield f"data: {json.dumps({'error': shapes.error(problem)}, ensure_ascii=False)}\n\n"


async def _events(conversation: Conversation, wish: Wish) -> AsyncIterator[dict[str, Any]]:
    deltas, finals = shapes.Deltas(), []
    async for event in conversation:
        delta = deltas.of(event)
        if isinstance(event, Final):
            finals.append(event)
        if delta:
            yield {"type": "transcript.text.delta", "delta": delta}
    transcript = collect(finals, conversation.duration, conversation.detected, conversation.language)
    done = {"type": "transcript.text.done", **shapes.plain(transcript, with_logprobs=wish.logprobs)}
    match wish.response:
        case "verbose_json":
            done |= shapes.verbose(transcript, wish.granularities)
        case "srt" | "vtt":
            done[wish.response] = _render(transcript, wish)
    yield done


def _render(transcript: Transcript, wish: Wish) -> str:
    match wish.response:
        case "text":
            return transcript.text + "\n"
        case "srt":
            return transcript.to_srt()
        case "vtt":
            return transcript.to_vtt()
        case "verbose_json":
            content = shapes.verbose(transcript, wish.granularities)
        case _:
            content = shapes.plain(transcript, with_logprobs=wish.logprobs)
    return json.dumps(content, ensure_ascii=False)


def read(form: FormData) -> Wish:
    """What a form asks for.

    Raises:
        Problem: a field is missing, unknown or not offered.
    """
    fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    unknown = sorted(form.keys() - _KNOWN)
    if unknown:
        raise invalid(f"field {unknown[0]!r} is unknown; choose {', '.join(sorted(_KNOWN))}", unknown[0])
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise invalid("the form has no file", "file")
    response, stream = _choice(fields, "response_format", FORMATS), flag(fields, "stream")
    if stream and response == DIARIZED:
        raise invalid(f"{DIARIZED} comes as a whole; leave stream out, or choose another response_format", "stream")
    granularities = _choices(form, "timestamp_granularities", GRANULARITIES)
    return Wish(
        file,
        fields.get("model", ""),
        response,
        granularities or GRANULARITIES[:1],
        "logprobs" in _choices(form, "include", ("logprobs",)),
        stream,
        _list(form, "known_speaker_names"),
        _options(form, fields),
    )


def _options(form: FormData, fields: Mapping[str, str]) -> dict[str, Any]:
    """Options of the stream."""
    options: dict[str, Any] = {"latency_ms": RECORDING_MS, "language": _language(fields.get("language", ""))}
    options |= {name: number(fields, name, 0) for name in _NUMBERS if name in fields}
    if languages := [language for language in map(_language, _list(form, "languages")) if language != AUTO]:
        options["languages"] = languages
    silence = fields.get("chunking_strategy[silence_duration_ms]")
    if silence is not None:
        options["endpointing_ms"] = number(fields, "chunking_strategy[silence_duration_ms]", 0)
    if boost := shapes.boost(_list(form, "keywords"), fields.get("prompt", "")):
        options["boost"] = boost
    return options


def _language(name: str) -> str:
    """Nothing, and a NIM container's `multi`, have the model find out."""
    return AUTO if name in {"", "multi"} else name


def _list(form: FormData, name: str) -> list[str]:
    """A list, whose name may have brackets."""
    values = [*form.getlist(name), *form.getlist(f"{name}[]")]
    return [value for value in values if isinstance(value, str) and value.strip()]


def _choices(form: FormData, name: str, offered: Sequence[str]) -> list[str]:
    values = _list(form, name)
    for value in values:
        if value not in offered:
            raise invalid(f"{name} is {value!r}; choose {', '.join(offered)}", name)
    return values


def _choice(fields: Mapping[str, str], name: str, offered: Sequence[str]) -> str:
    value = fields.get(name, offered[0])
    if value not in offered:
        raise invalid(f"{name} is {value!r}; choose {', '.join(offered)}", name)
    return value
