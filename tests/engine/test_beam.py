from itertools import pairwise

import numpy as np
import pytest

import nemotron_asr
from nemotron_asr import audio
from nemotron_asr.engine import Engine
from nemotron_asr.errors import OptionError
from nemotron_asr.events import Event, Final, Partial, Segment
from nemotron_asr.postprocess import rewrite
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample
from tests.near import leaves, near


def heard(engine: Engine, samples: np.ndarray, packet: int, beam: int = 1) -> list[Event]:
    with engine.open(latency_ms=160, beam=beam) as session:
        for start in range(0, len(samples), packet):
            session.feed(samples[start : start + packet])
        session.close()
        return list(session)


def words(events: list[Event]) -> list[tuple[str, float, float]]:
    return [(w.word, w.start, w.end) for e in events if isinstance(e, Final) for w in e.segment.words]


@pytest.fixture(scope="module")
def speech(samples: list[Sample]) -> np.ndarray:
    return audio.load(samples[0].path)[: 4 * 16_000]


def test_a_stream_says_what_the_recording_says(recognizer: Recognizer, engine: Engine, speech: np.ndarray) -> None:
    whole = recognizer.transcribe((speech, 16_000), latency_ms=160, beam=4)
    events = heard(engine, speech, 3_000, beam=4)
    assert words(events) == [(word.word, word.start, word.end) for word in whole.words]
    assert len(whole.words) > 3
    texts = [(type(event), event.segment.text) for event in events if isinstance(event, Partial | Final)]
    for (kind, before), (_, after) in pairwise(texts):
        assert kind is Final or after.startswith(before)


def test_each_stream_has_its_own_beam(engine: Engine, speech: np.ndarray) -> None:
    alone = {beam: heard(engine, speech, 8_000, beam=beam) for beam in (1, 2, 3)}
    sessions = {beam: engine.open(latency_ms=160, beam=beam) for beam in alone}
    for session in sessions.values():
        session.feed(speech)
        session.close()
    for beam, session in sessions.items():
        assert words(list(session)) == words(alone[beam])
    assert words(alone[1]) == words(heard(engine, speech, 8_000))
    assert words(alone[3]) != words(alone[1])


def test_finalize_settles_the_best(recognizer: Recognizer, engine: Engine, speech: np.ndarray) -> None:
    half = len(speech) // 2
    expected = recognizer.transcribe((speech[:half], 16_000), latency_ms=160, beam=4)
    with engine.open(latency_ms=160, beam=4) as session:
        session.feed(speech[:half])
        segment = session.finalize().result()
        session.feed(speech[half:])
        session.close()
        times = [start for _, start, _ in words(list(session))]
    assert segment is not None
    assert leaves(segment.words[-1]) == near(expected.words[-1])
    assert times == sorted(times)


def test_phrases_and_languages_count(samples: list[Sample]) -> None:
    tiny, path = nemotron_asr.load("tiny"), samples[0].path
    plain = tiny.transcribe(path, beam=3)
    phrases = {word: 4.0 for word in samples[0].text.split() if len(word) > 4}
    boosted = tiny.transcribe(path, beam=3, boost=phrases)
    assert boosted.text != plain.text
    assert sum(word in boosted.text for word in phrases) >= sum(word in plain.text for word in phrases)
    few = tiny.transcribe(path, beam=3, languages=["it-IT", "ru-RU"])
    assert {segment.language for segment in few.segments} <= {"it-IT", "ru-RU", None}
    assert leaves(tiny.transcribe(path, beam=3, boost={})) == near(plain)


def test_finals_have_alternatives(samples: list[Sample]) -> None:
    """Live as in recordings; each with words, times and a score of its own, the likeliest first."""
    tiny, speech = nemotron_asr.load("tiny"), samples[1].audio
    with tiny.engine.open(latency_ms=160, beam=4) as session:
        for packet in np.array_split(speech, 7):
            session.feed(packet)
        session.close()
        segments = [event.segment for event in session if isinstance(event, Final)]
    assert leaves(segments) == near(tiny.transcribe((speech, 16_000), latency_ms=160, beam=4).segments)
    assert any(segment.alternatives for segment in segments)
    for segment in segments:
        texts = [segment.text, *(other.segment.text for other in segment.alternatives)]
        assert len(set(texts)) == len(texts)
        scores = [other.score for other in segment.alternatives]
        assert scores == sorted(scores, reverse=True)
        for other in segment.alternatives:
            assert "".join(other.segment.text.split()) == "".join(word.word for word in other.segment.words)
            times = [time for word in other.segment.words for time in (word.start, word.end)]
            assert times == sorted(times)
            assert other.segment.language == segment.language
        assert "alternatives" not in segment.to_dict()
    assert not any(segment.alternatives for segment in tiny.transcribe((speech, 16_000), latency_ms=160).segments)


def test_alternatives_are_postprocessed(samples: list[Sample]) -> None:
    def shout(segment: Segment) -> Segment:
        return rewrite(segment, [(i, i + 1, word.word.upper()) for i, word in enumerate(segment.words)])

    result = nemotron_asr.load("tiny").transcribe(samples[1].path, beam=4, postprocess=shout)
    others = [other for segment in result.segments for other in segment.alternatives]
    assert others
    assert all(other.segment.text.isupper() for other in others)


@pytest.mark.parametrize("beam", [0, 17, -1])
def test_width_is_checked(engine: Engine, beam: int) -> None:
    with pytest.raises(OptionError, match="from 1"):
        engine.open(beam=beam)
