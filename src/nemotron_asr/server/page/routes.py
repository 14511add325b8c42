"""What the page asks of the server besides `/v1/stream`: its own files, its choices, the server's state, subtitles."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from nemotron_asr import languages
from nemotron_asr.config import LATENCIES
from nemotron_asr.events import Segment, Word
from nemotron_asr.server.objects import LARGEST, Message
from nemotron_asr.server.problems import Problem, invalid
from nemotron_asr.server.service import Service
from nemotron_asr.server.web import answer_problem, object_in, token_of
from nemotron_asr.transcript import Transcript

PROTOCOL = "page"

FILES = Path(__file__).with_name("files")

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss: blob:; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""The page runs its own scripts only, and nobody frames it."""


class _Files(StaticFiles):
    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """A file with the page's headers."""
        response = super().file_response(*arguments, **options)
        response.headers.update(HEADERS)
        return response


def routes(service: Service) -> list[BaseRoute]:
    """What the adapter answers. Its files and its choices need no API key; the rest does where keys are asked for."""
    page = _Page(service)
    return [
        Route("/", page.index),
        Route("/page/choices", page.choices),
        Route("/page/state", page.state),
        Route("/page/transcript.srt", page.subtitles, methods=["POST"]),
        Route("/page/transcript.vtt", page.subtitles, methods=["POST"]),
        Mount("/page", _Files(directory=FILES)),
    ]


class _Page:
    """What the page asks for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def index(self, _: Request) -> Response:
        """The page itself."""
        return FileResponse(FILES / "index.html", headers=HEADERS)

    async def choices(self, _: Request) -> Response:
        """What can be asked for."""
        models = [
            {"name": model.name, "languages": [_named(locale) for locale in model.languages]}
            for model in self._service.models.by_name.values()
        ]
        key_needed = bool(self._service.settings.api_key_file)
        return JSONResponse({"models": models, "latencies_ms": list(LATENCIES), "key_needed": key_needed})

    async def state(self, request: Request) -> Response:
        """How the engines are."""
        try:
            self._service.keys.check(token_of(request))  # the page asks every two seconds: not to be counted
        except Problem as problem:
            return answer_problem(problem)
        engines = self._service.models.engines
        return JSONResponse({name: asdict(engine.statistics) for name, engine in engines.items()})

    async def subtitles(self, request: Request) -> Response:
        """A transcript, which the page has, as a file."""
        service, srt = self._service, request.url.path.endswith(".srt")
        try:
            with service.uploading(service.authenticate(token_of(request), PROTOCOL), PROTOCOL):
                content = await object_in(request, service, LARGEST)
                text = await asyncio.to_thread(_subtitles, content, srt=srt)
        except Problem as problem:
            return answer_problem(problem)
        return PlainTextResponse(text)


def _named(locale: str) -> dict[str, str]:
    return {"locale": locale, "name": languages.name(locale)}


def _subtitles(content: Message, *, srt: bool) -> str:
    transcript = _transcript(content)
    return transcript.to_srt() if srt else transcript.to_vtt()


def _transcript(content: Message) -> Transcript:
    """A transcript from the JSON that ours is told in."""
    try:
        segments = tuple(_segment(each) for each in content["segments"])
        return Transcript(float(content["duration"]), None, segments)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        raise invalid("the body is not a transcript in the shape of `--format json`") from None


def _segment(content: Mapping[str, Any]) -> Segment:
    words = tuple(_word(each) for each in content["words"])
    text, (start, end), place = str(content["text"]), _span(content), 0
    for word in words:
        place = text.index(word.word, place) + len(word.word)  # in their order, and so in one walk
    return Segment(start, end, text, None, 0.0, words)


def _word(content: Mapping[str, Any]) -> Word:
    return Word(str(content["word"]), *_span(content), 0.0)


def _span(content: Mapping[str, Any]) -> tuple[float, float]:
    start, end = float(content["start"]), float(content["end"])
    if not 0 <= start <= end < 10**6:
        raise ValueError
    return start, end
