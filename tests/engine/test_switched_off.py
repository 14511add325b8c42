"""Whatever changes decoding can be switched off, each by itself: then the tokens are what they were."""

from typing import Any

import numpy as np
import pytest

import nemotron_asr
from nemotron_asr.audio import Samples
from nemotron_asr.postprocess import mask_words, spoken_numbers
from nemotron_asr.recognizer import Recognizer
from nemotron_asr.transcript import TranscriptBuilder
from tests.conftest import Sample

Tokens = list[tuple[int, int]]

PHRASES = ("Französisch", "Nebel", "leave", "volume", "Schwedisch")

DECODING: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "boost": ({"boost": dict.fromkeys(PHRASES, 4.0)}, [{"boost": {}}, {"boost": dict.fromkeys(PHRASES, 0.0)}]),
    "language": ({"language": "ru"}, [{"language": "auto"}]),
    "languages": ({"languages": ["it-IT", "ru-RU"]}, [{"languages": ()}, {"languages": ["auto"]}]),
    "beam": ({"beam": 8}, [{"beam": 1}, {"lm": None}]),
    "vad": ({"vad": True}, [{"vad": False}]),
    "latency": ({"latency_ms": 80}, [{"latency_ms": 1120}]),
}
"""What changes it, and how that is switched off."""

WRITING: dict[str, dict[str, Any]] = {
    "endpointing": {"endpointing_ms": 160},
    "no endpointing": {"endpointing_ms": None},
    "short segments": {"longest_segment_ms": 400},
    "tags": {"keep_language_tags": True},
    "mask": {"postprocess": mask_words(["auch", "you"])},
    "numbers": {"postprocess": spoken_numbers()},
}
"""What only changes how tokens are written down."""


@pytest.fixture(scope="module")
def tiny() -> Recognizer:
    return nemotron_asr.load()


@pytest.fixture(scope="module")
def speech(samples: list[Sample]) -> Samples:
    """Two sentences, and between them a silence after which a stream with `vad` begins anew."""
    return np.concatenate([samples[1].audio, np.zeros(96_000, np.float32), samples[0].audio])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Tokens:
    """The tokens that come out of the search, and their frames."""
    found: Tokens = []
    push = TranscriptBuilder.push

    def watched(self: TranscriptBuilder, emissions: Any, *others: Any) -> Any:
        found.extend((emission.token, emission.frame) for emission in emissions)
        return push(self, emissions, *others)

    monkeypatch.setattr(TranscriptBuilder, "push", watched)
    return found


def tokens(asr: Recognizer, audio: Samples, decoded: Tokens, **options: Any) -> Tokens:
    decoded.clear()
    asr.transcribe((audio, 16_000), **options)
    return list(decoded)


@pytest.mark.parametrize("feature", DECODING)
def test_switched_off_it_changes_no_token(tiny: Recognizer, speech: Samples, decoded: Tokens, feature: str) -> None:
    on, off = DECODING[feature]
    never = tokens(tiny, speech, decoded)
    assert tokens(tiny, speech, decoded, **on) != never
    for each in off:
        assert tokens(tiny, speech, decoded, **each) == never
    assert len(never) > 10


@pytest.mark.parametrize("feature", WRITING)
def test_how_it_is_written_changes_no_token(tiny: Recognizer, speech: Samples, decoded: Tokens, feature: str) -> None:
    assert tokens(tiny, speech, decoded, **WRITING[feature]) == tokens(tiny, speech, decoded) != []


def test_switched_off_before_the_first_chunk(tiny: Recognizer, speech: Samples, decoded: Tokens) -> None:
    never = tokens(tiny, speech, decoded, latency_ms=320)
    decoded.clear()
    with tiny.engine.open(latency_ms=1120, language="ru", boost=dict.fromkeys(PHRASES, 4.0)) as session:
        session.set_boost({})
        session.set_language("auto")
        session.set_latency(320)
        session.feed(speech)
        session.close()
        list(session)
    assert decoded == never
