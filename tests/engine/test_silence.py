"""Long silence and noise say nothing and cost nothing but their steps; speech after an hour of silence is heard."""

from typing import Any

import numpy as np
import pytest

import nemotron_asr
from nemotron_asr.audio import Samples
from nemotron_asr.events import Event, Final, Word
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample
from tests.near import leaves, near

BLOCK = 14 * 1280
"""Samples of a chunk of the highest latency: after whole ones speech is cut into the same chunks."""

MINUTE, TEN_MINUTES, HOUR = 54, 536, 3215
"""In blocks."""


@pytest.fixture(scope="module")
def tiny() -> Recognizer:
    return nemotron_asr.load()


@pytest.mark.parametrize("latency", [80, 320, 1120])
@pytest.mark.parametrize("level", [0.0, 0.0003, 0.01, 0.05])
def test_the_embedded_model_has_no_words_for_silence_and_noise(tiny: Recognizer, level: float, latency: int) -> None:
    """Without `vad`: from digital silence to noise as loud as speech."""
    noise = (level * np.random.default_rng(7).normal(size=20 * 16_000)).astype(np.float32)
    with tiny.stream(latency_ms=latency) as stream:
        assert stream.feed(noise) + stream.finish() == []


@pytest.mark.parametrize("vad", [False, True])
@pytest.mark.parametrize("latency", [80, 320, 1120])
def test_nor_for_a_minute_of_pink_noise(tiny: Recognizer, latency: int, vad: bool) -> None:
    """As loud as loud speech, and with as much of the low frequencies."""
    spectrum = np.fft.rfft(np.random.default_rng(7).normal(size=60 * 16_000))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)))
    loud = (0.1 * noise / noise.std()).astype(np.float32)
    assert not tiny.transcribe((loud, 16_000), latency_ms=latency, vad=vad).text


def words_after(asr: Recognizer, speech: Samples, blocks: int, **options: Any) -> list[Word]:
    """The words of speech after silence, their times from the start of the speech on."""
    began = BLOCK * blocks / 16_000
    said: list[Event] = []
    with asr.stream(latency_ms=1120, **options) as stream:
        for start in range(0, blocks, 100):
            said += stream.feed(np.zeros(BLOCK * min(100, blocks - start), np.float32))
        said += stream.feed(np.concatenate([speech, np.zeros(16_000, np.float32)])) + stream.finish()
    words = [word for event in said if isinstance(event, Final) for word in event.segment.words]
    return [
        Word(word.word, round(word.start - began, 2), round(word.end - began, 2), word.confidence, word.language)
        for word in words
        if word.start > began - 0.5
    ]


def test_ten_minutes_of_silence_are_as_one(tiny: Recognizer, samples: list[Sample]) -> None:
    """What comes after either: the same words, sure to the same degree, in the same places; some of them are right."""
    sample = samples[0]
    expected = words_after(tiny, sample.audio, MINUTE)
    assert leaves(words_after(tiny, sample.audio, TEN_MINUTES)) == near(expected)
    spoken = set(sample.text.split())
    assert len(spoken & {word.word for word in expected}) > len(spoken) / 4
    assert expected[-1].end <= len(sample.audio) / 16_000 + 0.5


@pytest.mark.parametrize(("vad", "blocks"), [(False, HOUR), (True, TEN_MINUTES)])
def test_an_hour_of_silence_is_as_a_minute(
    recognizer: Recognizer, samples: list[Sample], vad: bool, blocks: int
) -> None:
    """Though times of 3,600 s have more digits, and counters have counted far. (Voices are looked for at some cost.)"""
    expected = words_after(recognizer, samples[0].audio, MINUTE, vad=vad)
    assert leaves(words_after(recognizer, samples[0].audio, blocks, vad=vad)) == near(expected)
    assert len(expected) > 2
