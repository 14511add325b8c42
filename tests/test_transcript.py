import json
from collections.abc import Sequence
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.models import Unigram

from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.events import Event, Final, Partial, SpeechEnded, SpeechStarted
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.transcript import LONGEST_SEGMENT, PAUSE_FRAMES, Transcript, TranscriptBuilder, collect

PIECES = (
    "<unk> <de-DE> <ja-JP> <haw-US> ▁ . , ! ▁Hal lo ▁wel t ▁wie ▁geht s 日 本 語 を ー 「 」 "
    "▁กา ี น ▁한 국 어 ’ ▁naï ve e\u0301"
).split()
TOKENIZER = Tokenizer(tokenizers.Tokenizer(Unigram([(piece, -1.0) for piece in PIECES], unk_id=0)))


def said(text: str, *, gap: int = 2, start: int = 5, logprob: float = -0.1) -> list[Emission]:
    """Emissions of pieces written with spaces between them, one every `gap` frames; a number is a longer pause."""
    emissions, frame = [], start
    for piece in text.split():
        if piece.isdigit():
            frame += int(piece)
        else:
            emissions.append(Emission(PIECES.index(piece), frame, logprob))
            frame += gap
    return emissions


def events(emissions: Sequence[Emission], frames: int, step: int, **options: Any) -> list[Event]:
    """What a builder tells when the frames come `step` at a time."""
    builder = TranscriptBuilder(TOKENIZER, **options)
    told: list[Event] = []
    for first in range(0, frames, step):
        chunk = [e for e in emissions if first <= e.frame < first + step]
        told += builder.push(chunk, min(frames, first + step))
    return told + list(builder.finish(frames * 0.08))


def transcript(text: str, **options: Any) -> Transcript:
    emissions = said(text)
    language = str(options.get("language", "auto"))
    told = events(emissions, emissions[-1].frame + 20, 4, **options)
    return collect(told, (emissions[-1].frame + 20) * 0.08, None, language)


def test_a_sentence_with_its_tag() -> None:
    result = transcript("▁Hal lo , ▁wel t ! ▁ <de-DE>")
    assert result.text == "Hallo, welt!"
    assert result.language == "de-DE"
    (segment,) = result.segments
    assert [(w.word, w.start, w.end) for w in segment.words] == [("Hallo,", 0.4, 0.8), ("welt!", 0.88, 1.28)]
    assert (segment.start, segment.end) == (0.4, 1.28)
    assert segment.words[0].confidence == pytest.approx(0.9048, abs=1e-3)


def test_a_tag_ends_its_segment_and_labels_it() -> None:
    result = transcript("▁Hal lo . ▁ <de-DE> 日 本 語 <ja-JP> ▁wel t")
    assert [(s.text, s.language) for s in result.segments] == [("Hallo.", "de-DE"), ("日本語", "ja-JP"), ("welt", None)]
    assert result.language == "ja-JP"  # most words


def test_tags_can_be_kept() -> None:
    assert transcript("▁Hal lo . ▁ <de-DE>", keep_language_tags=True).text == "Hallo. <de-DE>"


def test_three_letter_tags_are_tags() -> None:
    assert transcript("▁Hal lo <haw-US>").language == "haw-US"
    assert transcript("▁Hal lo <haw-US>").text == "Hallo"


def test_a_given_language_stands() -> None:
    assert transcript("▁Hal lo <de-DE>", language="nl-NL").language == "nl-NL"


def test_characters_are_words_where_the_script_has_no_spaces() -> None:
    assert [w.word for w in transcript("日 本 語 を .").words] == ["日", "本", "語", "を."]
    assert [w.word for w in transcript("▁กา ี น").words] == ["ก", "าี", "น"] or [
        w.word for w in transcript("▁กา ี น").words
    ] == ["ก", "า", "ี", "น"]
    assert [w.word for w in transcript("▁한 국 어 ▁Hal lo").words] == ["한국어", "Hallo"]
    assert [w.word for w in transcript("▁Hal lo 日 本").words] == ["Hallo", "日", "本"]


def test_opening_brackets_belong_to_what_follows() -> None:
    assert [w.word for w in transcript("日 「 本 」 語").words] == ["日", "「本」", "語"]


def test_marks_stay_with_their_letter() -> None:
    assert [w.word for w in transcript("▁naï ve ▁geht ’ s ▁wel e\u0301").words] == ["naïve", "geht’s", "wele\u0301"]


def test_a_pause_ends_a_segment() -> None:
    assert [s.text for s in transcript("▁Hal lo . 30 ▁wel t").segments] == ["Hallo.", "welt"]
    assert transcript("▁Hal lo . 30 ▁wel t").text == "Hallo. welt"
    assert transcript("▁Hal 30 lo").text == "Hallo"  # a pause inside a word leaves the text whole


def test_a_segment_that_never_pauses_is_cut_at_a_word() -> None:
    result = transcript("▁wie ▁geht s " * 100)
    assert len(result.segments) == -(-300 * 2 // LONGEST_SEGMENT) == 2
    assert all(segment.words[0].word in {"wie", "gehts"} for segment in result.segments)


def test_silence_says_nothing() -> None:
    assert events([], 100, 7) == []
    assert collect([], 8.0, None, "auto") == Transcript(8.0, None, ())


def test_the_end_of_the_audio_limits_the_words() -> None:
    told = events(said("▁Hal lo", start=10), 13, 1)
    final = next(event for event in told if isinstance(event, Final))
    assert final.segment.end <= 13 * 0.08


pieces = st.sampled_from(PIECES)
speech = st.lists(st.tuples(pieces, st.integers(0, 14)), max_size=60)


@given(speech=speech, step=st.sampled_from([1, 2, 4, 7, 14, 112]), keep=st.booleans())
def test_how_frames_arrive_does_not_matter(speech: list[tuple[str, int]], step: int, keep: bool) -> None:
    emissions, frame = [], 0
    for piece, gap in speech:
        frame += gap
        emissions.append(Emission(PIECES.index(piece), frame, -0.5))
    frames = frame + PAUSE_FRAMES + 3
    told = events(emissions, frames, step, keep_language_tags=keep)
    finals = [event.segment for event in told if isinstance(event, Final)]
    at_once = events(emissions, frames, 10**6, keep_language_tags=keep)
    assert finals == [event.segment for event in at_once if isinstance(event, Final)]
    check_order(told)
    text = collect(told, frames * 0.08, None, "auto").text
    if not keep:
        assert "".join(text.split()) == "".join(
            "".join(PIECES[e.token].replace("▁", " ") for e in emissions if e.token > 3).split()
        ).replace("<unk>", "")


def check_order(told: Sequence[Event]) -> None:
    """Started, growing partials, final, ended; and times that never run back."""
    last, partial, open_ = 0.0, "", False
    for event in told:
        match event:
            case SpeechStarted():
                assert not open_
                open_, partial = True, ""
            case Partial(segment=segment):
                assert open_
                assert segment.text.startswith(partial)
                partial = segment.text
            case Final(segment=segment):
                assert open_
                assert segment.text.startswith(partial)
                assert segment.start >= last
                for word in segment.words:
                    assert last <= word.start < word.end
                    last = word.start
                assert "".join(segment.text.split()).startswith("".join("".join(w.word for w in segment.words).split()))
            case SpeechEnded():
                open_ = False
    assert not open_


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
