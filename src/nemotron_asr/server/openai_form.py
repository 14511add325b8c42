"""The form of OpenAI's `POST /v1/audio/transcriptions` -> what it asks for.

Not heard: `temperature` (the search is greedy), `chunking_strategy`'s threshold and padding, `known_speaker_references`
(speakers are channels).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile

from nemotron_asr.languages import AUTO
from nemotron_asr.options import RECORDING_MS
from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.checks import OURS_AND_PAUSE, flag, language_asked, number, numbers
from nemotron_asr.server.objects import object_of
from nemotron_asr.server.problems import invalid

DIARIZED = "diarized_json"

FORMATS = ("json", "text", "srt", "vtt", "verbose_json", DIARIZED)

GRANULARITIES = ("segment", "word")

_LISTS = ("languages", "keywords", "timestamp_granularities", "include", "known_speaker_names",
          "known_speaker_references")  # fmt: skip
VAD = "server_vad"
_VAD = ("type", "threshold", "prefix_padding_ms", "silence_duration_ms")
_KNOWN = {
    "file", "model", "language", "prompt", "response_format", "temperature", "stream", "chunking_strategy",
    *OURS_AND_PAUSE, *_LISTS, *(f"{name}[]" for name in _LISTS), *(f"chunking_strategy[{name}]" for name in _VAD),
}  # fmt: skip

_JSON = "application/json"
_MEDIA = {"json": _JSON, "verbose_json": _JSON, DIARIZED: _JSON, "vtt": "text/vtt"}


@dataclass(frozen=True)
class TranscriptionRequest:
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


def read(form: FormData) -> TranscriptionRequest:
    """What a form asks for.

    Raises:
        Problem: a field is missing, unknown or not offered.
    """
    fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    unknown = sorted(form.keys() - _KNOWN)
    if unknown:
        raise invalid(f"field {unknown[0]!r} is unknown; choose {', '.join(sorted(_KNOWN))}", unknown[0])
    file = form.get("file")
    if isinstance(file, str):
        raise invalid("file is text; send the file itself, e.g. curl -F file=@talk.mp3", "file")
    if file is None:
        raise invalid("the form has no file; send one, e.g. curl -F file=@talk.mp3", "file")
    response = _choice(fields.get("response_format", FORMATS[0]), "response_format", FORMATS)
    stream = flag(fields, "stream")
    if stream and response == DIARIZED:
        raise invalid(f"{DIARIZED} comes as a whole; leave stream out, or choose another response_format", "stream")
    granularities = _choices(form, "timestamp_granularities", GRANULARITIES)
    return TranscriptionRequest(
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
    options: dict[str, Any] = {"latency_ms": RECORDING_MS, "language": language_asked(fields.get("language", ""))}
    options |= numbers(fields, OURS_AND_PAUSE)
    if languages := [language for language in map(language_asked, _list(form, "languages")) if language != AUTO]:
        options["languages"] = languages
    if silence := _silence(fields):
        options["endpointing_ms"] = number({"silence_duration_ms": silence}, "silence_duration_ms", 0)
    if boost := shapes.boost(_list(form, "keywords"), fields.get("prompt", "")):
        options["boost"] = boost
    return options


def _silence(fields: Mapping[str, str]) -> str:
    """Milliseconds that end speech, of a `chunking_strategy` in fields of its own or in JSON; empty: as we choose."""
    strategy = fields.get("chunking_strategy", "auto")
    given = {} if strategy in {"auto", ""} else object_of(strategy, "chunking_strategy")
    given |= {name: fields[field] for name in _VAD if (field := f"chunking_strategy[{name}]") in fields}
    _choice(str(given.get("type", VAD)), "chunking_strategy", (VAD, "auto"))
    return str(given.get("silence_duration_ms", ""))


def _list(form: FormData, name: str) -> list[str]:
    """A list, whose name may have brackets."""
    values = [*form.getlist(name), *form.getlist(f"{name}[]")]
    return [value for value in values if isinstance(value, str) and value.strip()]


def _choices(form: FormData, name: str, offered: Sequence[str]) -> list[str]:
    return [_choice(value, name, offered) for value in _list(form, name)]


def _choice(value: str, name: str, offered: Sequence[str]) -> str:
    if value not in offered:
        raise invalid(f"{name} is {value!r}; choose {', '.join(offered)}", name)
    return value
