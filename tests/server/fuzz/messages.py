"""The messages of each protocol, as they may be and as they may not."""

import base64
import struct
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from nemotron_asr.server.riva_messages import StreamingRequest
from tests.server.fuzz.strategies import ANYTHING, NUMBERS, SOUND, TEXT, one_of, some_of

TEXTS = st.lists(TEXT, max_size=2)

TURNS = some_of(type=one_of("server_vad", "semantic_vad"), silence_duration_ms=NUMBERS, eagerness=one_of("low"))
TRANSCRIPTION = some_of(
    model=TEXT, language=TEXT, languages=TEXTS, prompt=TEXT, keywords=TEXTS, delay=one_of("minimal", "low", "xhigh")
)
FORMAT = some_of(type=one_of("audio/pcm", "audio/pcmu", "audio/pcma"), rate=NUMBERS)
INPUT = some_of(format=FORMAT, transcription=TRANSCRIPTION, turn_detection=TURNS, noise_reduction=ANYTHING)
SESSION = some_of(type=one_of("transcription"), include=TEXTS, audio=some_of(input=INPUT))
"""OpenAI's."""

BETA = some_of(
    input_audio_format=one_of("pcm16", "g711_ulaw", "g711_alaw"), input_audio_transcription=TRANSCRIPTION,
    turn_detection=TURNS, include=ANYTHING, input_audio_noise_reduction=ANYTHING,
)  # fmt: skip

NIM = some_of(
    input_audio_format=one_of("pcm16", "g711_ulaw", "none"), input_audio_transcription=TRANSCRIPTION,
    input_audio_params=some_of(sample_rate_hz=NUMBERS, num_channels=NUMBERS),
    recognition_config=some_of(custom_configuration=one_of("latency_ms:80", "latency_ms:" + "9" * 400) | TEXT),
    word_boosting=some_of(
        enable_word_boosting=st.just(value=True),
        word_boosting_list=st.lists(some_of(phrases=TEXTS, boost=NUMBERS), max_size=2),
    ),
    endpointing_config=some_of(stop_history=NUMBERS, stop_history_eou=NUMBERS),
)  # fmt: skip

CHANGE = some_of(
    type=one_of("change"), language=TEXT, languages=TEXTS, latency_ms=NUMBERS,
    boost=TEXTS | st.dictionaries(TEXT, NUMBERS, max_size=2),
)  # fmt: skip
CONTROL = some_of(type=one_of("finalize", "keep_alive", "close"))
"""Ours."""

CONFIGURE = some_of(type=one_of("Configure"), keyterms=TEXTS, features=ANYTHING)
DEEPGRAM = some_of(type=one_of("Finalize", "KeepAlive", "CloseStream"))

_KINDS = one_of(
    "session.update", "transcription_session.update", "input_audio_buffer.append", "input_audio_buffer.commit",
    "input_audio_buffer.clear", "input_audio_buffer.done",
)  # fmt: skip


def event(session: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """A message of a realtime protocol."""
    audio = SOUND.map(lambda data: base64.b64encode(data).decode())
    return some_of(type=_KINDS, session=session, audio=audio, runtime_config=some_of(force_eou=TEXT), event_id=TEXT)


def _pairs(names: SearchStrategy[str]) -> SearchStrategy[list[tuple[str, str]]]:
    values = TEXT | one_of(
        "true", "false", "0", "-1", "80", "1e400", "9" * 400, "a:1", "b:nan", "b:-inf", "word", "diarized_json"
    )
    return st.lists(st.tuples(names | TEXT, values), max_size=5)


QUERY = _pairs(
    one_of(
        "model",
        "encoding",
        "sample_rate",
        "channels",
        "language",
        "language_hint",
        "detect_language",
        "endpointing",
        "interim_results",
        "utterance_end_ms",
        "vad_events",
        "keyterm",
        "keywords",
        "multichannel",
        "utterances",
        "latency_ms",
        "longest_segment_ms",
        "diarize",
    )
)  # fmt: skip
"""Deepgram's."""

FORM = _pairs(
    one_of(
        "model",
        "language",
        "languages[]",
        "keywords[]",
        "prompt",
        "response_format",
        "timestamp_granularities[]",
        "include[]",
        "stream",
        "chunking_strategy",
        "chunking_strategy[silence_duration_ms]",
        "temperature",
        "latency_ms",
        "endpointing_ms",
        "longest_segment_ms",
    )
)  # fmt: skip
"""OpenAI's."""

TRANSCRIBE = some_of(
    type=one_of("transcribe", "audio-start", "audio-chunk", "audio-stop", "describe", "ping"),
    data=some_of(
        name=TEXT, language=TEXT, transcript_names=TEXTS, transcript_terms=TEXTS, rate=NUMBERS, width=NUMBERS,
        channels=NUMBERS, text=TEXT, vad_sensitivity=one_of("default", "relaxed"),
    ),
    data_length=NUMBERS, payload_length=NUMBERS,
)  # fmt: skip
"""Wyoming's."""

_RATE = one_of(0, 1, 8000, 16_000, 2**32 - 1)
WAV = st.tuples(one_of(0, 1, 3, 7, 0xFFFE), one_of(0, 1, 2, 9, 99), _RATE, st.just(0), st.just(0), one_of(8, 16)).map(
    lambda said: (
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", *said) + b"data\xff\xff\xff\xff" + bytes(100)
    )
)

_INT32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def riva_config(draw: st.DrawFn) -> Any:
    """A first message of Riva's."""
    request = StreamingRequest()
    request.streaming_config.interim_results = draw(st.booleans())
    config = request.streaming_config.config
    config.encoding = draw(one_of(0, 1, 2, 3, 4, 20) | st.integers(0, 30))
    config.sample_rate_hertz = draw(one_of(0, 8000, 16_000) | _INT32)
    config.audio_channel_count = draw(one_of(0, 1, 2) | _INT32)
    config.enable_separate_recognition_per_channel = draw(st.booleans())
    config.language_code = draw(written())
    config.model = draw(one_of("", "tiny") | written())
    config.custom_configuration.update(
        draw(st.dictionaries(one_of("latency_ms", "endpointing_ms", "vad") | written(), written(), max_size=2))
    )
    config.endpointing_config.stop_history = draw(_INT32)
    config.speech_contexts.add(phrases=draw(st.lists(written(), max_size=2)), boost=draw(st.floats(width=32)))
    return request


def written() -> SearchStrategy[str]:
    """Text without halves of characters."""
    return TEXT.map(lambda text: text.encode(errors="replace").decode())


_WORD = some_of(word=TEXT, start=NUMBERS, end=NUMBERS)
_SEGMENT = some_of(text=TEXT, start=NUMBERS, end=NUMBERS, words=st.lists(_WORD, max_size=2))
TRANSCRIPT = some_of(duration=NUMBERS, segments=st.lists(_SEGMENT, max_size=2))
"""What the page wants to have as subtitles."""
