"""What a client of Deepgram asks for, in the query of `/v1/listen`.

Not heard: how text is to be written, since the model writes punctuation, capitals and digits itself (`punctuate`,
`smart_format`, `numerals`, `filler_words`, `dictation`, ...), names that are unknown, and `profanity_filter`, for which
pipecat asks unless told otherwise. Refused: what would change the answer or add to it, and is not offered.
"""

from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.languages import AUTO
from nemotron_asr.options import PAUSE_MS
from nemotron_asr.server.checks import LEAST_PAUSE_MS, OURS, flag, language_asked, number, numbers
from nemotron_asr.server.formats import CONTAINER, AudioFormat
from nemotron_asr.server.problems import invalid
from nemotron_asr.server.weights import from_deepgram

FOREIGN_MODELS = (
    "nova*", "flux*", "enhanced*", "base*", "whisper*", "general*", "*-general*", "meeting*", "phonecall*", "finance*",
    "conversationalai*", "voicemail*", "video*", "custom*",
)  # fmt: skip
"""Names of Deepgram's own models."""

ENCODINGS = {
    "linear16": "s16le", "linear32": "f32le", "mulaw": "mulaw", "alaw": "alaw",
    "flac": CONTAINER, "opus": CONTAINER, "ogg-opus": CONTAINER, "amr-nb": CONTAINER, "amr-wb": CONTAINER,
}  # fmt: skip
"""Deepgram's names -> ours."""

_REFUSED = (
    "callback", "custom_intent", "custom_topic", "detect_entities", "diarize", "diarize_model", "intents", "redact",
    "replace", "search", "sentiment", "summarize", "topics",
)  # fmt: skip


@dataclass(frozen=True)
class ListenRequest:
    """What a query asks for.

    Attributes:
        model: its name.
        form: of the audio; for one channel of several, `channel` is to be set.
        multichannel: hear the channels one by one.
        channels_said: the client has said how many there are.
        options: of the streams.
        interim: tell partials.
        vad_events: tell when speech begins.
        endpointing: tell when speech ends.
        pause: seconds of silence after which the engine says so.
        utterance_end: seconds without a word after which an utterance has ended; None: nobody wants to know.
        keywords: phrases with weights that stay when key terms change.
        utterances: have segments in the answer to a recording.
        paragraphs: have them and their sentences in it, too.
    """

    model: str
    form: AudioFormat
    multichannel: bool
    channels_said: bool
    options: dict[str, Any]
    interim: bool
    vad_events: bool
    endpointing: bool
    pause: float
    utterance_end: float | None
    keywords: dict[str, float]
    utterances: bool
    paragraphs: bool

    def boost(self, key_terms: list[str]) -> dict[str, float]:
        """All phrases that are likely, with our weights."""
        return self.keywords | dict.fromkeys(filter(str.strip, key_terms), 1.0)


def read(query: QueryParams) -> ListenRequest:
    """What a query asks for.

    Raises:
        Problem: a value is not possible, or what it asks for is not offered.
    """
    for name in _REFUSED:
        if query.get(name, "false").lower() not in {"", "false"}:
            raise invalid(f"{name} is not offered", name)
    utterance_end = number(query, "utterance_end_ms", 0) if query.get("utterance_end_ms") else None
    endpointing = _endpointing(query)
    pauses = [pause for pause in (endpointing, utterance_end) if pause is not None]
    wanted = ListenRequest(
        query.get("model", ""),
        _form(query),
        flag(query, "multichannel"),
        "channels" in query,
        {"endpointing_ms": min(pauses, default=None)},
        flag(query, "interim_results"),
        flag(query, "vad_events"),
        endpointing is not None,
        min(pauses, default=0) / 1000,
        None if utterance_end is None else utterance_end / 1000,
        dict(map(_keyword, query.getlist("keywords"))),
        flag(query, "utterances"),
        flag(query, "paragraphs"),
    )
    wanted.options.update(numbers(query, OURS), **_languages(query))
    wanted.options["boost"] = wanted.boost(query.getlist("keyterm"))
    return wanted


def _endpointing(query: QueryParams) -> int | None:
    match query.get("endpointing", "true").lower():
        case "false":
            return None
        case "true" | "":
            return PAUSE_MS
        case _:
            return max(LEAST_PAUSE_MS, number(query, "endpointing", 0))


def _form(query: QueryParams) -> AudioFormat:
    name, channels = query.get("encoding", ""), number(query, "channels", 1)
    if name and name not in ENCODINGS:
        raise invalid(f"encoding {name!r} is not offered; choose {', '.join(ENCODINGS)}", "encoding")
    encoding = ENCODINGS.get(name, CONTAINER)
    if encoding != CONTAINER and "sample_rate" not in query:
        raise invalid(f"encoding {name!r} needs a sample_rate", "sample_rate")
    return AudioFormat(encoding, number(query, "sample_rate", SAMPLE_RATE), channels)


def _languages(query: QueryParams) -> dict[str, Any]:
    """The language; or those that may be found."""
    language = language_asked(query.get("language", ""))
    detected = [value for value in query.getlist("detect_language") if value.lower() not in {"false", ""}]
    if language != AUTO and not detected:
        return {"language": language}
    hints = [value for value in (*query.getlist("language_hint"), *detected) if value.lower() != "true"]
    return {"language": AUTO, "languages": hints}


def _keyword(entry: str) -> tuple[str, float]:
    phrase, _, intensifier = entry.rpartition(":")
    try:
        return (phrase, from_deepgram(float(intensifier))) if phrase else (entry, 1.0)
    except ValueError:
        return entry, 1.0
