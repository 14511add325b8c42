"""What OpenAI's HTTP and realtime protocols say alike: transcripts, usage, languages, errors."""

import math
import re
import zlib
from collections.abc import Sequence
from typing import Any

from starlette.responses import JSONResponse

from nemotron_asr.decoding.boosting import LONGEST_PHRASE
from nemotron_asr.events import Final, Partial, Segment, Word
from nemotron_asr.server.problems import Kind, Problem
from nemotron_asr.server.web import headers_of
from nemotron_asr.transcript import Transcript, merge

FOREIGN_MODELS = ("*whisper*", "gpt-*", "*parakeet*", "*nemotron*", "*conformer*", "*canary*")
"""Names that clients of OpenAI, of Whisper's servers and of a NIM container send."""

_PROMPT_WEIGHT = 0.5

_MARKS = re.compile(r"[,.;:!?\n，。、；：！？]+")  # noqa: RUF001 - those of Chinese and Japanese, too

_MOST_WORDS = 4
"""Words between two marks of a prompt that are one phrase; of more, each that is longer than this is one."""

_TYPES = {
    Kind.UNAUTHENTICATED: "authentication_error", Kind.TOO_MANY: "rate_limit_error", Kind.INTERNAL: "server_error",
    Kind.UNAVAILABLE: "server_error",
}  # fmt: skip
_CODES = {Kind.UNAUTHENTICATED: "invalid_api_key", Kind.NOT_FOUND: "model_not_found"}


def error(problem: Problem) -> dict[str, Any]:
    """A problem as OpenAI tells it."""
    kind = problem.kind
    return {
        "message": str(problem),
        "type": _TYPES.get(kind, "invalid_request_error"),
        "param": problem.parameter,
        "code": _CODES.get(kind, kind.word),
    }


def answer_error(problem: Problem) -> JSONResponse:
    """A problem as a response."""
    return JSONResponse({"error": error(problem)}, problem.status, headers_of(problem))


def boost(keywords: Sequence[str], prompt: str) -> dict[str, float]:
    """Phrases that are likely, with weights: keywords; and, half as likely, what a prompt is made of."""
    parts = [part.split() for part in _MARKS.split(prompt)]
    phrases = {phrase: _PROMPT_WEIGHT for part in parts for phrase in _phrases(part) if len(phrase) <= LONGEST_PHRASE}
    return phrases | {keyword.strip(): 1.0 for keyword in keywords if keyword.strip()}


def _phrases(words: Sequence[str]) -> list[str]:
    if len(words) <= _MOST_WORDS:
        return [" ".join(words)] if words else []
    return [word for word in words if len(word) > _MOST_WORDS]


class Deltas:
    """What a client is to append to what it was told before; nothing is ever taken back."""

    def __init__(self) -> None:
        self._told = ""  # of the current segment
        self._first = True

    def of(self, event: object) -> str:
        """What an event adds."""
        if not isinstance(event, Partial | Final):
            return ""
        segment = event.segment
        text = (" " if segment.spaced and not self._first else "") + segment.text
        delta = text[len(self._told) :] if text.startswith(self._told) else ""
        self._told += delta
        if isinstance(event, Final):
            self._told, self._first = "", False
        return delta


def usage(seconds: float) -> dict[str, Any]:
    """What a transcript has cost."""
    return {"type": "duration", "seconds": seconds}


def languages(segments: Sequence[Segment]) -> list[dict[str, str]]:
    """The languages that were spoken, in the order of their first words."""
    return [{"code": code} for code in dict.fromkeys(segment.language for segment in segments) if code]


def logprobs(words: Sequence[Word]) -> list[dict[str, Any]]:
    """A word's confidence where OpenAI has a token's probability."""
    return [
        {"token": word.word, "logprob": _logarithm(word.confidence), "bytes": list(word.word.encode())}
        for word in words
    ]


def plain(transcript: Transcript, *, with_logprobs: bool = False) -> dict[str, Any]:
    """`response_format=json`."""
    content = {
        "text": transcript.text,
        "languages": languages(transcript.segments),
        "usage": usage(transcript.duration),
    }
    return {**content, "logprobs": logprobs(transcript.words)} if with_logprobs else content


def verbose(transcript: Transcript, granularities: Sequence[str]) -> dict[str, Any]:
    """`response_format=verbose_json`, with what `granularities` name: segment, word."""
    content: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.language or "",
        "duration": transcript.duration,
        "text": transcript.text,
        "usage": usage(transcript.duration),
    }
    if "segment" in granularities:
        content["segments"] = [_segment(number, segment) for number, segment in enumerate(transcript.segments)]
    if "word" in granularities:
        content["words"] = [
            {"word": word.word, "start": word.start, "end": word.end, "confidence": word.confidence}
            for word in transcript.words
        ]
    return content


def diarized(channels: Sequence[Transcript], names: Sequence[str]) -> dict[str, Any]:
    """`response_format=diarized_json`: the channels' segments by time, each with its channel's name or letter."""
    speakers = {f"channel {number}": name for number, name in enumerate(names)}
    whole = merge(channels)
    return {
        "task": "transcribe", "duration": whole.duration, "text": whole.text, "usage": usage(whole.duration),
        "segments": [
            {
                "type": "transcript.text.segment", "id": f"seg_{number}", "start": segment.start, "end": segment.end,
                "text": segment.text, "speaker": speakers[segment.speaker or ""],
            }
            for number, segment in enumerate(whole.segments)
        ],
    }  # fmt: skip


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    """A segment as Whisper has it; `seek` is in hundredths of a second, and there are no tokens to be shown."""
    text = (" " if segment.spaced else "") + segment.text
    data = text.encode()
    return {
        "id": number, "seek": round(100 * segment.start), "start": segment.start, "end": segment.end, "text": text,
        "tokens": [], "temperature": 0.0, "avg_logprob": _logarithm(segment.confidence),
        "compression_ratio": round(len(data) / len(zlib.compress(data)), 4),
        "no_speech_prob": 0.0,  # a segment is words
        "language": segment.language, "confidence": segment.confidence,
    }  # fmt: skip


def _logarithm(probability: float) -> float:
    return round(math.log(max(probability, 1e-9)), 4)
