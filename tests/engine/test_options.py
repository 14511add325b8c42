"""Whatever is asked for, events keep their order; and what is asked for leaves nothing behind."""

from collections.abc import Iterable
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nemotron_asr
from nemotron_asr.audio import Samples
from nemotron_asr.config import LATENCIES
from nemotron_asr.engine import Engine
from nemotron_asr.events import Event, Final, Partial
from nemotron_asr.postprocess import mask_words
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample
from tests.near import leaves, near
from tests.transcript.test_builder import check

FRAME = 1280

LOCALES = ["de-DE", "en-US", "it-IT", "nl-NL"]

ON: dict[str, st.SearchStrategy[Any]] = {
    "latency_ms": st.sampled_from(list(LATENCIES)),
    "languages": st.lists(st.sampled_from(LOCALES), min_size=2, max_size=3, unique=True),
    "boost": st.just(["leave", "Französisch:3", "volume", "you saw me:2"]),
    "beam": st.integers(2, 5),
    "endpointing_ms": st.none() | st.integers(80, 2_000),
    "longest_segment_ms": st.integers(400, 5_000),
    "vad": st.just(value=True),
    "keep_language_tags": st.just(value=True),
    "postprocess": st.just(mask_words(["you", "auch", "sie"])),
}

OFF: dict[str, Any] = {"languages": (), "boost": {}, "beam": 1, "lm": None, "vad": False, "keep_language_tags": False,
       "postprocess": None, "endpointing_ms": 800, "longest_segment_ms": 30_000}  # fmt: skip

some_options = st.fixed_dictionaries({}, optional=ON)
slow = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def tiny() -> Recognizer:
    return nemotron_asr.load()


@pytest.fixture(scope="module")
def speech(samples: list[Sample]) -> Samples:
    """Two sentences in two languages, a second apart; whole frames, so that all times are on the grid."""
    audio = np.concatenate([samples[0].audio, np.zeros(16_000, np.float32), samples[1].audio])
    return audio[: len(audio) // FRAME * FRAME]


def told(
    asr: Recognizer, audio: Samples, cuts: list[int], changes: dict[int, int], options: dict[str, Any]
) -> list[Event]:
    """What a stream tells; at some frames it is finalized, at some it changes its latency."""
    with Engine(asr, max_streams=1) as engine, engine.open(**options) as session:
        places = sorted({*cuts, *changes, len(audio) // FRAME})
        for first, last in zip([0, *places], places, strict=False):
            session.feed(audio[FRAME * first : FRAME * last])
            if last in cuts:
                session.finalize()
            if last in changes:
                session.set_latency(changes[last])
        session.close()
        return list(session)


def settled(events: Iterable[Event]) -> list[Event]:
    """What is told for good."""
    return [event for event in events if not isinstance(event, Partial)]


@given(
    options=some_options,
    cuts=st.lists(st.integers(1, 90), max_size=3),
    changes=st.dictionaries(st.integers(1, 90), st.sampled_from(list(LATENCIES)), max_size=2),
)
@slow
def test_events_are_in_order_whatever_is_asked_for(
    tiny: Recognizer, speech: Samples, options: dict[str, Any], cuts: list[int], changes: dict[int, int]
) -> None:
    """Times are monotone, texts are their words, partials begin as their final does."""
    events = told(tiny, speech, cuts, changes, options)
    check(events, len(speech) / 16_000, tags="keep_language_tags" in options)
    for segment in (event.segment for event in events if isinstance(event, Final)):
        sure = [word.confidence for word in segment.words]
        assert 0 <= min(sure) <= segment.confidence <= max(sure) <= 1
        assert segment.confidence == pytest.approx(fmean(sure), abs=1e-3)
        assert segment.language in {None, *options.get("languages", [segment.language])}
        assert {word.language for word in segment.words} == {segment.language}


EACH: dict[str, Any] = {
    "languages": LOCALES[:2], "language": "de", "boost": ["leave", "Französisch:3"], "beam": 4, "vad": True,
    "endpointing_ms": 160, "longest_segment_ms": 1_000, "keep_language_tags": True,
    "postprocess": mask_words(["you", "auch"]),
}  # fmt: skip


@pytest.mark.parametrize("latency", [80, 560])
@pytest.mark.parametrize("feature", EACH)
def test_partials_grow_into_finals_with_each_feature(
    tiny: Recognizer, speech: Samples, feature: str, latency: int
) -> None:
    """Each by itself, with every partial that there is: read before the next packet comes."""
    with tiny.stream(latency_ms=latency, **{feature: EACH[feature]}) as stream:
        events = [event for packet in np.array_split(speech, 70) for event in stream.feed(packet)] + stream.finish()
    check(events, len(speech) / 16_000, tags=feature == "keep_language_tags")
    assert sum(isinstance(event, Partial) for event in events) > 5


@given(options=some_options, latency=st.sampled_from(list(LATENCIES)))
@slow
def test_what_was_asked_for_leaves_nothing_behind(
    tiny: Recognizer, speech: Samples, options: dict[str, Any], latency: int
) -> None:
    """A stream with all of it off hears what one hears that never had a choice."""
    never = near(settled(told(tiny, speech, [], {}, {"latency_ms": latency})))
    with Engine(tiny, max_streams=2) as engine:
        beside, session = engine.open(**options), engine.open(**OFF, latency_ms=latency)
        for block in np.array_split(speech, 5):
            beside.feed(block)
            session.feed(block)
        beside.close()
        session.close()
        list(beside)
        assert leaves(settled(session)) == never
        again = engine.open(latency_ms=latency)  # in a row that others have used
        again.feed(speech)
        again.close()
        assert leaves(settled(again)) == never
