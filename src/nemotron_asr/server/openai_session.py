"""What a client of OpenAI's realtime protocol asks for: a session, in today's shape or that of the beta."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nemotron_asr.languages import AUTO
from nemotron_asr.options import PAUSE_MS
from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.checks import LEAST_PAUSE_MS, check_names_and_types, language_asked
from nemotron_asr.server.formats import AudioFormat
from nemotron_asr.server.objects import inner, typed
from nemotron_asr.server.problems import invalid
from nemotron_asr.server.realtime_messages import new_id

DELAYS = {"minimal": 80, "low": 160, "medium": 320, "high": 560, "xhigh": 1120}
"""Words of OpenAI's -> milliseconds that are heard at a time."""

EAGERNESS = {"low": 1200, "medium": PAUSE_MS, "auto": PAUSE_MS, "high": 500}
"""How eager a `semantic_vad` is -> milliseconds of silence that end a turn."""

_ENCODINGS = {"audio/pcm": "s16le", "audio/pcmu": "mulaw", "audio/pcma": "alaw"}
_BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_TRANSCRIPTION = {"model", "language", "languages", "prompt", "keywords", "delay"}
"""What is kept of an update; a session that took in everything would grow with each."""
_REPLACED = ("noise_reduction", "turn_detection")
_LOGPROBS = "item.input_audio_transcription.logprobs"
_TELEPHONE, _STUDIO = 8_000, 24_000

Session = dict[str, Any]
"""A session in today's shape, which is sent back to the client."""


@dataclass(frozen=True)
class Config:
    """What a session asks for.

    Attributes:
        model: its name.
        form: of the audio.
        silence: milliseconds that end a turn; None: the client says when one ends.
        changeable: options that can change in the course of a stream.
        logprobs: tell confidences.
    """

    model: str
    form: AudioFormat
    silence: int | None
    changeable: dict[str, Any]
    logprobs: bool

    def needs_another_stream(self, before: "Config") -> bool:
        """Whether a stream that was opened with `before` cannot go on."""
        return (self.model, self.form, self.silence) != (before.model, before.form, before.silence)


def new_session() -> Session:
    """A session as it is until the client asks for another."""
    turns = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    sound = {
        "format": {"type": "audio/pcm", "rate": _STUDIO}, "noise_reduction": None,
        "transcription": {"model": "", "language": None, "prompt": ""}, "turn_detection": turns,
    }  # fmt: skip
    return {
        "id": new_id("sess"), "object": "realtime.transcription_session", "type": "transcription",
        "include": [], "audio": {"input": sound},
    }  # fmt: skip


def updated(session: Session, update: Any) -> Session:
    """The session after a `session.update`; what it does not name stays.

    Raises:
        Problem: it is not an object, or asks for another kind of session.
    """
    update = _given(update)
    if update.get("type", "transcription") != "transcription":
        raise invalid(f"session type {update['type']!r} is not offered; choose transcription", "session.type")
    include, where = update.get("include", session["include"]), "session.audio.input"
    typed(include or [], list, "session.include")
    sound = inner(inner(update.get("audio"), "session.audio").get("input"), where)
    after = session["audio"]["input"] | {name: sound[name] for name in _REPLACED if name in sound}
    if sound.get("format") is not None:
        after["format"] = {"type": "audio/pcm", **inner(sound["format"], f"{where}.format")}
    wanted = inner(sound.get("transcription"), f"{where}.transcription")
    after["transcription"] = after["transcription"] | {name: wanted[name] for name in _TRANSCRIPTION & wanted.keys()}
    return session | {"include": include, "audio": {"input": after}}


def from_beta(update: Any) -> Session:
    """An update in the shape of the beta -> in today's.

    Raises:
        Problem: it is not an object, or its format is unknown.
    """
    update, sound = _given(update), dict[str, Any]()
    if update.get("input_audio_format") is not None:
        name = str(update["input_audio_format"])
        if name not in _BETA_FORMATS:
            message = f"input_audio_format {name[:40]!r} is not offered; choose {', '.join(_BETA_FORMATS)}"
            raise invalid(message, "session.input_audio_format")
        sound["format"] = {"type": _BETA_FORMATS[name]}
    for beta, today in (("input_audio_transcription", "transcription"), ("turn_detection", "turn_detection")):
        if beta in update:
            sound[today] = update[beta]
    if "input_audio_noise_reduction" in update:
        sound["noise_reduction"] = update["input_audio_noise_reduction"]
    return {"audio": {"input": sound}} | ({"include": update["include"]} if "include" in update else {})


def to_beta(session: Session) -> Session:
    """A session in the shape of the beta."""
    sound = session["audio"]["input"]
    names = {today: beta for beta, today in _BETA_FORMATS.items()}
    return {
        "id": session["id"], "object": session["object"], "include": session["include"],
        "input_audio_format": names[sound["format"]["type"]], "input_audio_transcription": sound["transcription"],
        "input_audio_noise_reduction": sound["noise_reduction"], "turn_detection": sound["turn_detection"],
    }  # fmt: skip


def read(session: Session) -> Config:
    """What a session asks for.

    Raises:
        Problem: a value is not possible.
    """
    sound = session["audio"]["input"]
    wanted, where = sound["transcription"], "session.audio.input.transcription"
    model, language, prompt = (
        typed(wanted.get(name) or "", str, f"{where}.{name}") for name in ("model", "language", "prompt")
    )
    keywords, languages = wanted.get("keywords") or [], wanted.get("languages") or []
    check_names_and_types({"boost": keywords, "languages": languages})
    language = language_asked(language)
    changeable = {
        "language": language,
        "languages": languages if language == AUTO else [],
        "latency_ms": _latency(wanted.get("delay")),
        "boost": shapes.boost(keywords, prompt),
    }
    silence, logprobs = _silence(sound["turn_detection"]), _LOGPROBS in (session["include"] or [])
    return Config(model, _form(sound["format"]), silence, changeable, logprobs)


def _latency(delay: Any) -> int:
    if delay is None:
        return DELAYS["medium"]
    return DELAYS[_choice(delay, DELAYS, "session.audio.input.transcription.delay")]


def _form(form: Mapping[str, Any]) -> AudioFormat:
    where = "session.audio.input.format"
    kind = _choice(form["type"], _ENCODINGS, f"{where}.type")
    rate = form.get("rate") or (_STUDIO if kind == "audio/pcm" else _TELEPHONE)
    return AudioFormat(_ENCODINGS[kind], typed(rate, int, f"{where}.rate"))


def _silence(turns: Any) -> int | None:
    where = "session.audio.input.turn_detection"
    if turns is None:
        return None
    kind = _choice(inner(turns, where).get("type"), ("server_vad", "semantic_vad"), f"{where}.type")
    if kind == "semantic_vad":
        return EAGERNESS[_choice(turns.get("eagerness") or "auto", EAGERNESS, f"{where}.eagerness")]
    silence = turns.get("silence_duration_ms")
    return max(LEAST_PAUSE_MS, 500 if silence is None else typed(silence, int, f"{where}.silence_duration_ms"))


def _choice(value: Any, offered: Any, where: str) -> str:
    if not isinstance(value, str) or value not in offered:
        raise invalid(f"{where.rpartition('.')[2]} is {value!r}; choose {', '.join(offered)}"[:200], where)
    return value


def _given(update: Any) -> Mapping[str, Any]:
    """An update; without one, a client speaks a dialect in which audio is something else."""
    if update is None:
        raise invalid("there is no session", "session")
    return inner(update, "session")
