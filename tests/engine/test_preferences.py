"""Likely phrases and languages to choose from: of each stream its own, wherever it is computed."""

from collections.abc import Iterable

import pytest

import nemotron_asr
from nemotron_asr.decoding.boosting import boost_tree
from nemotron_asr.engine import Engine
from nemotron_asr.errors import LanguageError, OptionError
from nemotron_asr.events import Event, Final
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample
from tests.near import leaves, near


@pytest.fixture(scope="module")
def tiny() -> Recognizer:
    return nemotron_asr.load("tiny")


def said(events: Iterable[Event]) -> list[tuple[str, float, float]]:
    finals = [event.segment for event in events if isinstance(event, Final)]
    return [(word.word, word.start, word.end) for segment in finals for word in segment.words]


def test_boosting_changes_words_and_nothing_is_left_of_it(tiny: Recognizer, samples: list[Sample]) -> None:
    """The words that streams are said to be about are found more often than without."""
    found, found_before = 0, 0
    for sample in samples:
        phrases = [word.strip(".,") for word in sample.text.split() if len(word) > 4]
        plain, boosted = tiny.transcribe(sample.path), tiny.transcribe(sample.path, boost=dict.fromkeys(phrases, 3.0))
        found_before += sum(word.lower() in plain.text.lower() for word in phrases)
        found += sum(word.lower() in boosted.text.lower() for word in phrases)
        assert leaves(tiny.transcribe(sample.path, boost=[])) == near(plain)
        assert leaves(tiny.transcribe(sample.path, boost=dict.fromkeys(phrases, 0.0))) == near(plain)
    assert found > found_before


def test_streams_with_and_without_share_a_batch(tiny: Recognizer, samples: list[Sample]) -> None:
    lists = [{}, dict.fromkeys(samples[0].text.split(), 4.0), {"Nemotron": 2.0}]
    alone = [said(open_and_feed(tiny.engine, samples[0], phrases)) for phrases in lists]
    sessions = [tiny.engine.open(latency_ms=160, boost=phrases) for phrases in lists]
    for start in range(0, len(samples[0].audio), 5000):
        for session in sessions:
            session.feed(samples[0].audio[start : start + 5000])
    for session in sessions:
        session.close()
    assert [said(session) for session in sessions] == alone
    assert alone[1] != alone[0]


def open_and_feed(engine: Engine, sample: Sample, phrases: dict[str, float]) -> list[Event]:
    session = engine.open(latency_ms=160, boost=phrases)
    session.feed(sample.audio)
    session.close()
    return list(session)


def test_phrases_change_at_a_place_not_at_a_moment(tiny: Recognizer, samples: list[Sample]) -> None:
    """The same calls between the same packets give the same words, fed at once or bit by bit."""
    audio, phrases = samples[1].audio, dict.fromkeys(samples[1].text.split(), 4.0)
    results = []
    for packet in (500, 7000, len(audio)):
        session = tiny.engine.open(latency_ms=160)
        for part, boost in ((audio[:30_000], phrases), (audio[30_000:], {})):
            for start in range(0, len(part), packet):
                session.feed(part[start : start + packet])
            session.set_boost(boost)
        session.close()
        results.append(said(session))
    assert results[0] == results[1] == results[2]
    never = said(open_and_feed(tiny.engine, samples[1], {}))
    assert [word for word in results[0] if word[2] < 1.5] == [word for word in never if word[2] < 1.5]


def test_only_some_languages(tiny: Recognizer, samples: list[Sample]) -> None:
    for sample in samples:
        transcript = tiny.transcribe(sample.path, languages=["it", "de-DE"])
        assert {segment.language for segment in transcript.segments} <= {"it-IT", "de-DE", None}
        assert "<" not in transcript.text
    every = {segment.language for sample in samples for segment in tiny.transcribe(sample.path).segments}
    assert not every <= {"it-IT", "de-DE", None}


def test_one_language_alone_is_the_one_given(tiny: Recognizer, samples: list[Sample]) -> None:
    given = tiny.transcribe(samples[0].path, language="nl")
    assert tiny.transcribe(samples[0].path, languages=["nl-NL"]) == given
    assert tiny.transcribe(samples[0].path, languages=["auto"]) == tiny.transcribe(samples[0].path)


def test_what_cannot_be_chosen_from(tiny: Recognizer, recognizer: Recognizer) -> None:
    with pytest.raises(OptionError, match="language 'de' leaves nothing to choose from it, nl; give one"):
        tiny.transcribe("a.wav", language="de", languages=["it", "nl"])
    with pytest.raises(LanguageError, match="'klingon' is unknown"):
        tiny.transcribe("a.wav", languages=["klingon", "nl"])
    with pytest.raises(LanguageError, match="the model has no tag for it-IT; choose de-DE, en-US, ja-JP"):
        recognizer.transcribe("a.wav", languages=["it", "de"])
    with pytest.raises(OptionError, match="weight 9 of phrase 'x' is out of range; choose 0 to 4"):
        tiny.engine.open(boost=["x:9"])
    with pytest.raises(OptionError, match=f"weight '1{'0' * 39}' of phrase 'x' is not a number; choose 0 to 4"):
        tiny.engine.open(boost={"x": 10**400})


def test_a_thousand_phrases_are_spelt_once(tiny: Recognizer) -> None:
    names = [f"Name {i:b}" for i in range(1000)]
    assert boost_tree(names, tiny.tokenizer) is boost_tree(list(reversed(names)), tiny.tokenizer)
