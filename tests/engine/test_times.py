"""Words are where they were said: at other rates, in long recordings, and when the latency changes on the way."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nemotron_asr
from nemotron_asr.audio import Samples
from nemotron_asr.config import LATENCIES
from nemotron_asr.events import Event, Final, Word
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample
from tests.transcript.test_builder import check

PAUSE = np.zeros(3 * 16_000, np.float32)

LATE = 0.8
"""Seconds by which the model may write a word before or after it is said."""


@pytest.fixture(scope="module")
def tiny() -> Recognizer:
    return nemotron_asr.load()


def words(events: Iterable[Event]) -> list[Word]:
    return [word for event in events if isinstance(event, Final) for word in event.segment.words]


def spoken(samples: list[Sample]) -> tuple[Samples, list[tuple[float, float]]]:
    """Sentences with pauses around them, and where they are."""
    parts, spans, now = [PAUSE], list[tuple[float, float]](), 3.0
    for sample in samples:
        parts += [sample.audio, PAUSE]
        spans.append((now, now + len(sample.audio) / 16_000))
        now = spans[-1][1] + 3
    return np.concatenate(parts), spans


def within(word: Word, spans: list[tuple[float, float]]) -> bool:
    return any(start - LATE <= word.start < word.end <= end + LATE for start, end in spans)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_move_no_word(tiny: Recognizer, samples: list[Sample], rate: int) -> None:
    """Words that are heard at either rate are in the same frame, or in the next."""
    audio, spans = spoken(samples[:2])
    resampled = soxr.resample(audio, 16_000, rate)
    with tiny.stream(latency_ms=320, sample_rate=rate) as stream:
        heard = [event for packet in np.array_split(resampled, 90) for event in stream.feed(packet)]
        heard += stream.finish()
    check(heard, round(len(resampled) / rate, 3))
    again = soxr.resample(resampled, rate, 16_000)  # telephony leaves less to be heard, at whatever rate
    found, expected = words(heard), tiny.transcribe((again, 16_000), latency_ms=320).words
    same = SequenceMatcher(None, [w.word for w in found], [w.word for w in expected], autojunk=False)
    pairs = [(found[a + i], expected[b + i]) for a, b, size in same.get_matching_blocks() for i in range(size)]
    assert len(pairs) > len(expected) / 2
    for one, other in pairs:
        assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=0.081)
    assert all(within(word, spans) for word in found)


def test_a_long_recording_has_its_words_in_their_places(tiny: Recognizer, samples: list[Sample]) -> None:
    """Five minutes of sentences and pauses: no word drifts."""
    audio, spans = spoken(samples * 11)
    transcript = tiny.transcribe((audio, 16_000), latency_ms=1120)
    assert transcript.duration > 300
    times = [time for word in transcript.words for time in (word.start, word.end)]
    assert all(before <= after for before, after in pairwise(times))
    outside = [word for word in transcript.words if not within(word, spans)]
    assert len(outside) <= len(transcript.words) / 50, outside
    last, (began, _) = transcript.words[-1], spans[-1]
    assert last.start > began


@given(
    changes=st.lists(st.tuples(st.integers(0, 250_000), st.sampled_from(list(LATENCIES))), min_size=1, max_size=4),
    latency=st.sampled_from(list(LATENCIES)),
)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changes_of_the_latency_move_no_word(
    tiny: Recognizer, samples: list[Sample], changes: list[tuple[int, int]], latency: int
) -> None:
    """Wherever they are: partials and finals keep their order, and words lie in the sentences."""
    audio, spans = spoken(samples[:2])
    done = 0
    with tiny.engine.open(latency_ms=latency) as session:
        for place, other in sorted(changes):
            session.feed(audio[done:place])
            session.set_latency(other)
            done = place
        session.feed(audio[done:])
        session.close()
        heard = list(session)
    check(heard, round(len(audio) / 16_000, 3))
    assert words(heard)
    assert all(within(word, spans) for word in words(heard))
