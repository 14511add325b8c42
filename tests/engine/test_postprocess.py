"""Finals are changed, partials are not; who changes them wrongly ends a stream and nothing else."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nemotron_asr.engine import Engine
from nemotron_asr.errors import LanguageError, OptionError, StreamFailedError
from nemotron_asr.events import Event, Final, Partial, Segment
from nemotron_asr.postprocess import Postprocess, mask_words, rewrite
from nemotron_asr.recognizer import Recognizer
from nemotron_asr.transcript import Transcript
from tests.conftest import PIECES, Sample

WORDS = [piece.strip("▁") for piece in PIECES if piece.startswith("▁")]


def loudly(segment: Segment) -> Segment:
    return rewrite(segment, [(i, i + 1, word.word.upper()) for i, word in enumerate(segment.words)])


def texts(events: Iterable[Event], kind: type[Partial | Final]) -> list[str]:
    return [event.segment.text for event in events if isinstance(event, kind)]


def heard(recognizer: Recognizer, sample: Sample, postprocess: Postprocess | None = None) -> list[Event]:
    with recognizer.stream(latency_ms=160, postprocess=postprocess) as stream:
        events = [event for packet in np.array_split(sample.audio, 20) for event in stream.feed(packet)]
        return events + stream.finish()


def test_finals_are_changed_and_partials_are_not(recognizer: Recognizer, samples: list[Sample]) -> None:
    plain, changed = heard(recognizer, samples[0]), heard(recognizer, samples[0], postprocess=loudly)
    assert texts(changed, Partial) == texts(plain, Partial) != []
    assert texts(changed, Final) == [text.upper() for text in texts(plain, Final)] != texts(plain, Final)


def test_partials_of_masked_words_grow_into_their_final(recognizer: Recognizer, samples: list[Sample]) -> None:
    mask, so_far, seen = mask_words([*WORDS, "the cat"]), "", 0
    for event in heard(recognizer, samples[0], mask):
        if isinstance(event, (Partial, Final)):
            text = event.segment.text
            assert text.startswith(so_far)
            assert mask(event.segment) == event.segment
            so_far, seen = (text, seen + 1) if isinstance(event, Partial) else ("", seen)
    assert seen > 3


def test_recordings_say_what_streams_say(recognizer: Recognizer, samples: list[Sample]) -> None:
    mask = mask_words(WORDS)
    masked = recognizer.transcribe((samples[0].audio, 16000), latency_ms=160, postprocess=mask)
    assert [s.text for s in masked.segments] == texts(heard(recognizer, samples[0], postprocess=mask), Final)
    assert "*" in masked.text
    plain = recognizer.transcribe((samples[0].audio, 16000), latency_ms=160)
    assert [(w.start, w.end) for w in masked.words] == [(w.start, w.end) for w in plain.words]


def test_each_language_has_its_own(recognizer: Recognizer, samples: list[Sample]) -> None:
    for language, loud in (("de", True), ("en-US", False)):
        text = recognizer.transcribe(samples[0].path, language=language, postprocess={"de": loudly}).text
        plain = recognizer.transcribe(samples[0].path, language=language).text
        assert plain != plain.upper()
        assert text == (plain.upper() if loud else plain)
    with pytest.raises(LanguageError, match="'xx' is unknown"):
        recognizer.transcribe("nowhere.wav", postprocess={"xx": loudly})


def test_finalize_returns_the_segment_of_the_event(engine: Engine, samples: list[Sample]) -> None:
    session = engine.open(latency_ms=80, postprocess=loudly, endpointing_ms=None)
    session.feed(samples[0].audio)
    segment = session.finalize().result()
    session.close()
    assert segment is not None
    assert any(event.segment is segment for event in session if isinstance(event, Final))
    assert segment.text == segment.text.upper()


def forgetful(segment: Segment) -> Any:
    """The mistake that everybody makes."""
    loudly(segment)


def hasty(segment: Segment) -> Segment:
    raise KeyError(segment.text)


def leaving(segment: Segment) -> Segment:
    raise SystemExit(segment.text)


def careless(segment: Segment) -> Segment:
    return replace(segment, text="Hm.")


MISTAKES = [
    (forgetful, "gives back a segment, not None"),
    (careless, "ValueError.*is not in 'Hm.'"),
    (hasty, "KeyError"),
    (leaving, "SystemExit"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_a_mistake_ends_its_stream_only(
    engine: Engine, samples: list[Sample], mistake: Postprocess, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    sound, broken = engine.open(latency_ms=80), engine.open(latency_ms=80, postprocess=mistake)
    for session in (sound, broken):
        session.feed(samples[0].audio)
        session.finalize().result(60)
    assert engine.statistics.streams == 1  # though nobody has read, closed or dropped the other
    sound.close()
    with pytest.raises(StreamFailedError, match=f"postprocessing a segment failed: .*{message}"):
        list(broken)
    assert texts(sound, Final)
    assert "Traceback" in caplog.text
    assert engine.statistics.streams == 0


def test_a_hook_that_asks_its_own_recognizer_does_not_wait_for_itself(
    recognizer: Recognizer, samples: list[Sample]
) -> None:
    def again(segment: Segment) -> Segment:
        recognizer.transcribe(samples[1].path)
        return segment

    with pytest.raises(StreamFailedError, match="cannot open a stream of its own engine"):
        recognizer.transcribe(samples[0].path, postprocess=again)
    assert recognizer.transcribe(samples[0].path).text


def test_what_is_no_function_is_said_when_a_stream_opens(engine: Engine) -> None:
    with pytest.raises(OptionError, match=r"postprocess is .*, not a function, or one for each language"):
        engine.open(postprocess={"en": "x"})  # type: ignore[dict-item]


def test_a_transcript_has_no_trace_of_a_segment_without_text(recognizer: Recognizer, samples: list[Sample]) -> None:
    audio = np.concatenate([sample.audio for sample in samples[:3]])
    plain = recognizer.transcribe((audio, 16000)).segments
    assert len(plain) > 2

    def silent(segment: Segment) -> Segment:
        return replace(segment, text="", words=()) if segment.start == plain[1].start else segment

    made = recognizer.transcribe((audio, 16000), postprocess=silent)
    assert "  " not in made.text
    assert len(made.segments) == len(plain)
    assert made.to_srt()


def test_a_mistake_at_a_flush_answers_it(engine: Engine, samples: list[Sample]) -> None:
    session = engine.open(latency_ms=80, postprocess=hasty, endpointing_ms=None)
    session.feed(samples[0].audio)
    assert session.finalize().result(timeout=60) is None
    with pytest.raises(StreamFailedError):
        session.feed(samples[0].audio)
    session.abort()
    with engine.open(latency_ms=80) as other:
        other.feed(samples[0].audio)
    assert texts(other, Final)


def test_a_mistake_in_one_recording_is_its_value(recognizer: Recognizer, samples: list[Sample]) -> None:
    def picky(segment: Segment) -> Segment:
        if segment.end > 3.5:
            raise ValueError
        return segment

    results = list(recognizer.transcribe_many([s.path for s in samples], language="de", postprocess=picky))
    for sample, result in zip(samples, results, strict=True):
        late = any(s.end > 3.5 for s in recognizer.transcribe(sample.path, language="de").segments)
        assert isinstance(result, StreamFailedError if late else Transcript)
    assert {type(result) for result in results} == {StreamFailedError, Transcript}
