"""A session as a NIM container has it: one JSON object, sent back and forth whole."""

from collections.abc import Mapping
from typing import Any

from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.server import openai_shapes
from nemotron_asr.server.checks import OURS, language_asked, numbers
from nemotron_asr.server.formats import AUTO, AudioFormat
from nemotron_asr.server.objects import inner, typed
from nemotron_asr.server.problems import invalid
from nemotron_asr.server.realtime_messages import new_id
from nemotron_asr.server.weights import from_riva

Session = Mapping[str, Any]

_ENCODINGS = {"pcm16": "s16le", "g711_ulaw": "mulaw", "g711_alaw": "alaw", "none": AUTO}
"""`none`: the bytes of a file as they are, or of plain samples."""


def new_session(model: str) -> dict[str, Any]:
    """A session as it is until the client asks for another."""
    return {
        "id": new_id("sess"), "object": "realtime.transcription_session", "modalities": ["text"],
        "input_audio_format": "pcm16",
        "input_audio_transcription": {"language": "multi", "model": model, "prompt": ""},
        "input_audio_params": {"sample_rate_hz": SAMPLE_RATE, "num_channels": 1},
        "recognition_config": {
            "max_alternatives": 1, "enable_automatic_punctuation": True, "enable_word_time_offsets": False,
            "enable_profanity_filter": False, "enable_verbatim_transcripts": True, "custom_configuration": "",
        },
        "speaker_diarization": {"enable_speaker_diarization": False, "max_speaker_count": 0},
        "word_boosting": {"enable_word_boosting": False, "word_boosting_list": []},
        "endpointing_config": {"stop_history": 0},
    }  # fmt: skip


def updated(session: Session, update: object) -> Session:
    """The session after an update, whose parts take the places of those before; parts that no session has are left out.

    Raises:
        Problem: it is not an object.
    """
    if not isinstance(update, dict):
        raise invalid("session is not an object", "session")
    return {name: update.get(name, value) for name, value in session.items()}


def is_nim(session: object) -> bool:
    """Whether an update is in this shape, and not in that of OpenAI's beta."""
    return isinstance(session, dict) and bool(session.keys() & {"input_audio_params", "recognition_config"})


def form_of(session: Session) -> AudioFormat:
    """What the client will send.

    Raises:
        Problem: it is not offered.
    """
    name, params = str(session.get("input_audio_format") or "none"), _part(session, "input_audio_params")
    if name not in _ENCODINGS:
        message = f"input_audio_format {name[:40]!r} is not offered; choose {', '.join(_ENCODINGS)}"
        raise invalid(message, "input_audio_format")
    rate, channels = _whole(params, "sample_rate_hz", SAMPLE_RATE), _whole(params, "num_channels", 1)
    return AudioFormat(_ENCODINGS[name], rate, channels)


def options_of(session: Session) -> dict[str, Any]:
    """Options of the stream.

    Raises:
        Problem: one of them is not offered.
    """
    if _part(session, "speaker_diarization").get("enable_speaker_diarization"):
        raise invalid("speaker diarization is not offered", "speaker_diarization")
    recognition = _part(session, "recognition_config")
    if recognition.get("enable_profanity_filter"):
        raise invalid("the profanity filter is not offered", "enable_profanity_filter")
    custom = _custom(recognition.get("custom_configuration"))
    endpointing = _part(session, "endpointing_config")
    options = changeable(session) | numbers(custom, OURS)
    silence = _whole(endpointing, "stop_history", 0) or _whole(endpointing, "stop_history_eou", 0)
    return options | ({"endpointing_ms": silence} if silence else {})


def changeable(session: Session) -> dict[str, Any]:
    """Those that can change in the course of a stream.

    Raises:
        Problem: one of them is not offered.
    """
    wanted = _part(session, "input_audio_transcription")
    return {
        "language": language_asked(str(wanted.get("language") or "")),
        "boost": openai_shapes.boost([], str(wanted.get("prompt") or "")) | _boost(session),
    }


def model_of(session: Session) -> str:
    """The name of the model."""
    return str(_part(session, "input_audio_transcription").get("model") or "")


def wants_words(session: Session) -> bool:
    """Whether words and their times are to be told."""
    return bool(_part(session, "recognition_config").get("enable_word_time_offsets"))


def _boost(session: Session) -> dict[str, float]:
    boosting, weights = _part(session, "word_boosting"), dict[str, float]()
    entries = boosting.get("word_boosting_list") or [] if boosting.get("enable_word_boosting") else []
    for entry in typed(entries, list, "word_boosting.word_boosting_list"):
        boost = entry.get("boost", 0) if isinstance(entry, dict) else None
        if not isinstance(boost, int | float) or not isinstance(entry.get("phrases"), list):
            raise invalid("word_boosting_list has an entry without phrases or boost", "word_boosting")
        weights |= {str(phrase): from_riva(boost) for phrase in entry["phrases"]}
    return weights


def _custom(text: object) -> dict[str, str]:
    """What `key:value,key:value` says."""
    pairs = (pair.partition(":") for pair in str(text or "").split(","))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _part(session: Session, name: str) -> Session:
    return inner(session.get(name) or None, name)


def _whole(values: Session, name: str, default: int) -> int:
    return typed(values.get(name, default), int, name)
