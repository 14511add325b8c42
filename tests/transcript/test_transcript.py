"""The value of which every format is a function."""

import json

import pytest

from nemotron_asr.events import Final, Segment
from nemotron_asr.transcript import Transcript, collect
from tests.transcript.pieces import events, finals, said, transcript


def test_nothing_was_said() -> None:
    assert collect([], 8.0, None, "auto") == Transcript(8.0, None, ())


def test_a_word_that_was_told_before_the_end_was_known_ends_with_the_audio() -> None:
    """Its frame is 80 ms long, of which the model needs the first few."""
    told = events(said("▁Hal lo <de-DE> ▁wel t <de-DE>", start=0), 9, 3)
    assert finals(told)[-1].end == 0.72
    whole, cut = collect(told, 0.8, None, "auto"), collect(told, 0.7, None, "auto")
    assert [segment.end for segment in whole.segments] == [segment.end for segment in finals(told)]
    assert cut.segments[0] == whole.segments[0]
    assert cut.segments[-1].end == cut.words[-1].end == 0.7
    assert cut.words[-1].start == whole.words[-1].start


@pytest.mark.parametrize(
    ("told", "times"), [((5.0, 5.4), (5.0, 5.4)), ((5.0, 6.1), (5.0, 6.0)), ((6.2, 6.4), (6.0, 6.0))]
)
def test_a_segment_that_a_hook_left_no_words_keeps_its_times(
    told: tuple[float, float], times: tuple[float, float]
) -> None:
    segment = Segment(*told, "Translated.", "en-US", 0.9, ())
    (kept,) = collect([Final(6.0, segment)], 6.0, None, "auto").segments
    assert (kept.start, kept.end) == times


def test_the_json_of_the_specification() -> None:
    shown = transcript("▁Hal lo . <de-DE>").to_dict()
    assert list(shown) == ["file", "duration", "language", "text", "segments"]
    assert list(shown["segments"][0]) == ["start", "end", "text", "language", "confidence", "words"]
    assert list(shown["segments"][0]["words"][0]) == ["word", "start", "end", "confidence"]
    json.dumps(shown)


def test_events_as_json_lines() -> None:
    told = [event.to_dict() for event in events(said("▁Hal lo . <de-DE>"), 40, 4)]
    types = [event["type"] for event in told]
    assert types[0] == "speech_started"
    assert types[-2:] == ["final", "speech_ended"]
    assert all("time" in event for event in told)
    assert told[-2]["text"] == "Hallo."
