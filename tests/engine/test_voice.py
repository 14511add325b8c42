"""Streams that listen to the voice: it is found the same however they are fed, and noise says nothing."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import soxr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import nemotron_asr
from nemotron_asr.audio import Samples
from nemotron_asr.audio.activity import VoiceActivity
from nemotron_asr.config import LATENCIES
from nemotron_asr.engine import Engine
from nemotron_asr.engine.stream import LOOK_BACK
from nemotron_asr.events import Event, Final, Partial, SpeechEnded, SpeechStarted
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample
from tests.near import leaves, near
from tests.transcript.test_builder import check


@pytest.fixture(scope="module")
def tiny() -> Recognizer:
    return nemotron_asr.load()


def silence(seconds: float) -> Samples:
    return np.zeros(int(16_000 * seconds), np.float32)


def told(asr: Recognizer, audio: Samples, cuts: list[int], latency_ms: int) -> list[Event]:
    """What a stream tells of its packets, partials left out: of those a reader may miss some."""
    with Engine(asr, max_streams=2) as engine, engine.open(latency_ms=latency_ms, vad=True) as session:
        for packet in np.split(audio, sorted(cuts)):
            session.feed(packet)
        session.close()
        return [event for event in session if not isinstance(event, Partial)]


def words(events: Sequence[Event]) -> list[tuple[str, float, float]]:
    finals = [event.segment for event in events if isinstance(event, Final)]
    return [(word.word, word.start, word.end) for segment in finals for word in segment.words]


@given(cuts=st.lists(st.integers(0, 180_000), max_size=12), latency=st.sampled_from(list(LATENCIES)))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packets_do_not_matter(tiny: Recognizer, samples: list[Sample], cuts: list[int], latency: int) -> None:
    audio = np.concatenate([silence(1.5), samples[0].audio, silence(6), samples[1].audio[:20_000]])
    events, at_once = told(tiny, audio, cuts, latency), told(tiny, audio, [], latency)
    assert [(event.type, event.time) for event in events] == [(event.type, event.time) for event in at_once]
    assert words(events) == words(at_once) != []
    turns = [event for event in events if not isinstance(event, Final)]
    assert [event.type for event in turns] == ["speech_started", "speech_ended"] * 2
    assert [event.time for event in turns] == sorted(event.time for event in turns)


def test_speech_starts_with_the_voice(tiny: Recognizer, samples: list[Sample]) -> None:
    """Announced from 200 ms of it, long before a chunk of 1120 ms is full."""
    audio = np.concatenate([silence(2), samples[0].audio, silence(1)])
    with tiny.stream(latency_ms=1120, vad=True) as stream:
        packets = [(end, audio[end - 320 : end]) for end in range(320, len(audio), 320)]
        heard = [(end, event) for end, packet in packets for event in stream.feed(packet)]
        heard += [(len(audio), event) for event in stream.finish()]
    (at, first), (_, last) = heard[0], heard[-1]
    assert isinstance(first, SpeechStarted)
    assert 2 <= first.time <= at / 16_000 < first.time + 0.2
    assert isinstance(last, SpeechEnded)
    assert first.time < last.time < 2 + len(samples[0].audio) / 16_000 + 0.2


def test_recordings_are_heard_like_streams(tiny: Recognizer, samples: list[Sample]) -> None:
    audio = np.concatenate([silence(3), samples[2].audio, silence(3)])
    expected = [segment.text for segment in tiny.transcribe((audio, 16_000), latency_ms=320, vad=True).segments]
    finals = [event for event in told(tiny, audio, [4_000, 70_000], 320) if isinstance(event, Final)]
    assert [event.segment.text for event in finals] == expected != []


@pytest.mark.parametrize("level", [0.0, 0.001, 0.05])
def test_noise_says_nothing(recognizer: Recognizer, level: float) -> None:
    """Even to a random model, which talks whatever it hears."""
    noise = (level * np.random.default_rng(5).normal(size=160_000)).astype(np.float32)
    assert recognizer.transcribe((noise, 16_000), vad=True).segments == ()


@pytest.mark.parametrize("level", [0.0, 0.0003])
def test_speech_after_minutes_of_silence(tiny: Recognizer, samples: list[Sample], level: float) -> None:
    minutes = 2
    before = (level * np.random.default_rng(6).normal(size=minutes * 960_000)).astype(np.float32)
    with tiny.stream(latency_ms=1120, vad=True) as stream:
        assert [event for block in np.split(before, 8) for event in stream.feed(block)] == []
        events = stream.feed(np.concatenate([samples[0].audio, silence(1)])) + stream.finish()
    assert [event.type for event in events if not isinstance(event, Partial)] == [
        "speech_started", "final", "speech_ended"
    ]  # fmt: skip
    said = words(events)
    assert 60 * minutes - 0.8 <= said[0][1] < said[-1][1] > 60 * minutes + len(samples[0].audio) / 16_000 - 1


@given(
    sample=st.integers(0, 4),
    before=st.floats(4.6, 30),
    latency=st.sampled_from(list(LATENCIES)),
    beam=st.sampled_from([1, 3]),
)
@example(sample=1, before=120.0, latency=1120, beam=1)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_a_long_silence_speech_is_heard_as_if_by_itself(
    tiny: Recognizer, samples: list[Sample], sample: int, before: float, latency: int, beam: int
) -> None:
    """The same words with the same confidence, at their times; of other speech before the silence nothing is left."""
    speech = np.concatenate([samples[sample].audio, silence(1)])
    audio = np.concatenate([samples[3].audio, silence(before), speech])
    with tiny.stream(latency_ms=latency, vad=True, beam=beam, endpointing_ms=None) as stream:
        events = stream.feed(audio) + stream.finish()
    begun = len(audio) - len(speech) - 8_000
    voice = next(edge.sample for edge in VoiceActivity().feed(audio) if edge.voice and edge.sample > begun)
    origin = 1280 * (voice // 1280 - LOOK_BACK)
    alone = tiny.transcribe((audio[origin:], 16_000), latency_ms=latency, beam=beam, endpointing_ms=None)
    finals = [event.segment for event in events if isinstance(event, Final)]
    heard = [word for segment in finals for word in segment.words if word.start >= origin / 16_000]
    assert leaves([(w.word, w.confidence) for w in heard]) == near([(w.word, w.confidence) for w in alone.words])
    assert heard
    assert [word.start for word in heard] == pytest.approx([word.start + origin / 16_000 for word in alone.words])


def test_without_long_silence_the_voice_changes_no_word(tiny: Recognizer, samples: list[Sample]) -> None:
    """Nor does the model begin anew where the silence is shorter than what it remembers."""
    audio = np.concatenate([samples[0].audio, silence(3), samples[1].audio, silence(1)])
    with_voice, without = (tiny.transcribe((audio, 16_000), vad=vad) for vad in (True, False))
    assert leaves(with_voice.words) == near(without.words)
    assert with_voice.words


@given(
    gaps=st.lists(st.floats(4.5, 9), min_size=1, max_size=2),
    finals=st.lists(st.integers(0, 230), max_size=4),
    endpointing=st.sampled_from([None, 400, 6_000]),
)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_events_are_in_order_where_a_stream_begins_anew(
    tiny: Recognizer, samples: list[Sample], gaps: list[float], finals: list[int], endpointing: int | None
) -> None:
    """Whether or not speech was over before, and however often it is finalized."""
    parts = [part for gap, sample in zip(gaps, samples, strict=False) for part in (sample.audio, silence(gap))]
    audio = np.concatenate([*parts, samples[4].audio])
    audio = audio[: len(audio) // 1280 * 1280]
    with tiny.engine.open(vad=True, latency_ms=320, endpointing_ms=endpointing) as session:
        for packet in np.split(audio, sorted(1280 * frame for frame in finals if 1280 * frame < len(audio))):
            session.feed(packet)
            session.finalize()
        session.close()
        check(list(session), round(len(audio) / 16_000, 3))


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_times_survive_resampling(tiny: Recognizer, samples: list[Sample], rate: int) -> None:
    """Words lie in the voice, which lies where it was put."""
    audio = np.concatenate([silence(2), samples[0].audio, silence(2)])
    resampled = soxr.resample(audio, 16_000, rate)
    with tiny.stream(latency_ms=320, vad=True, sample_rate=rate) as stream:
        events = stream.feed(resampled) + stream.finish()
    turns = [event.time for event in events if isinstance(event, SpeechStarted | SpeechEnded)]
    assert turns[0] == pytest.approx(2, abs=0.5)
    assert turns[-1] == pytest.approx(2 + len(samples[0].audio) / 16_000, abs=0.5)
    times = [time for word in words(events) for time in word[1:]]
    assert times == sorted(times)
    assert turns[0] - 0.8 <= times[0] <= times[-1] <= turns[-1] + 0.8


def test_the_stream_goes_on_when_the_latency_changes(tiny: Recognizer, samples: list[Sample]) -> None:
    audio = np.concatenate([silence(1), *(sample.audio for sample in samples[:3]), silence(1)])
    with Engine(tiny, max_streams=1) as engine, engine.open(latency_ms=80, vad=True) as session:
        for packet, latency in zip(np.array_split(audio, 5), itertools.cycle((1120, 160, 560)), strict=False):
            session.feed(packet)
            session.set_latency(latency)
        session.close()
        events = [event for event in session if not isinstance(event, Partial)]
    times = [time for word in words(events) for time in word[1:]]
    assert times == sorted(times) != []
    assert times[-1] <= len(audio) / 16_000
    assert all(round(time / 0.08, 6) == round(time / 0.08) for time in times[:-1])
