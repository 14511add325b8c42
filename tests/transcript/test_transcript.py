"""The value of which every format is a function."""

import json

from nemotron_asr.transcript import Transcript, collect
from tests.transcript.pieces import events, said, transcript


def test_nothing_was_said() -> None:
    assert collect([], 8.0, None, "auto") == Transcript(8.0, None, ())


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
