"""What a stream is told: in order, in pairs, growing, and the same however the frames arrive."""

import itertools
import math
import re
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron_asr.audio.activity import Edge
from nemotron_asr.config import FRAME_SECONDS
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.events import Event, Final, Partial, SpeechEnded, SpeechStarted
from nemotron_asr.transcript import LONGEST_SEGMENT, PAUSE_FRAMES, TranscriptBuilder, Voice
from tests.transcript.pieces import (
    PIECES,
    TAGS,
    TOKENIZER,
    events,
    finals,
    said,
    speech,
    transcript,
    voice,
    voices,
)

steps = st.sampled_from([1, 2, 4, 7, 14, 112])
chunks = st.sampled_from([1, 2, 4, 7, 14])


def kinds(told: Sequence[Event]) -> list[str]:
    """The types of events, partials left out."""
    return [event.type for event in told if not isinstance(event, Partial)]


def test_a_sentence_with_its_tag() -> None:
    result = transcript("▁Hal lo , ▁wel t ! ▁ <de-DE>")
    assert result.text == "Hallo, welt!"
    assert result.language == "de-DE"
    (segment,) = result.segments
    assert [(w.word, w.start, w.end) for w in segment.words] == [("Hallo,", 0.4, 0.64), ("welt!", 0.88, 1.12)]
    assert (segment.start, segment.end) == (0.4, 1.12)


def test_a_tag_ends_its_segment_and_labels_it() -> None:
    result = transcript("▁Hal lo . ▁ <de-DE> 日 本 語 <ja-JP> ▁wel t")
    assert [(s.text, s.language) for s in result.segments] == [("Hallo.", "de-DE"), ("日本語", "ja-JP"), ("welt", None)]
    assert result.language == "ja-JP"  # most words
    assert [(w.word, w.language) for w in result.words][:2] == [("Hallo.", "de-DE"), ("日", "ja-JP")]


def test_words_keep_the_language_that_was_asked_for_when_they_were_said() -> None:
    builder, emissions = TranscriptBuilder(TOKENIZER, "de-DE"), said("▁wie ▁Hal lo , ▁wel t")
    told = list(builder.push(emissions[:2], 8))
    builder.listen_for("nl-NL")
    told += builder.push(emissions[2:], 40)
    found = [(segment.text, segment.language) for segment in finals([*told, *builder.finish(3.2)])]
    assert found == [("wie Hallo,", "de-DE"), ("welt", "nl-NL")]


def test_a_language_that_is_taken_back_cuts_nothing() -> None:
    builder, emissions = TranscriptBuilder(TOKENIZER, "de-DE"), said("▁Hal lo ▁wel t")
    told = list(builder.push(emissions[:1], 6))
    for language in ("nl-NL", "de-DE"):
        builder.listen_for(language)
    told += builder.push(emissions[1:], 40)
    assert [(segment.text, segment.language) for segment in finals(told)] == [("Hallo welt", "de-DE")]


def test_a_tag_does_not_end_speech() -> None:
    emissions = said("▁Hal lo . <de-DE> ▁wel t <de-DE>")
    told = events(emissions, 60, 4)
    assert kinds(told) == ["speech_started", "final", "final", "speech_ended"]
    assert told[-1] == SpeechEnded(finals(told)[-1].end)


@pytest.mark.parametrize(
    "word", ["▁Hal <de-DE> lo", "▁Hal <de-DE> <ja-JP> <unk> lo", "▁กา <de-DE> ี", "▁geht <de-DE> ’ s"]
)
def test_a_tag_within_a_word_ends_the_segment_after_it(word: str) -> None:
    whole = "".join(piece for piece in word.replace("▁", "").split() if "<" not in piece)
    result = transcript(f"▁wie {word} ▁wel t")
    assert [segment.text for segment in result.segments] == [f"wie {whole}", "welt"]
    assert result.segments[0].language in {"de-DE", "ja-JP"}
    assert [segment.text for segment in transcript(word).segments] == [whole]


@given(emissions=speech(), step=steps, chunk=chunks, pause=st.none() | st.integers(1, 20))
def test_tags_split_no_word_and_leave_nothing_in_the_text(
    emissions: list[Emission], step: int, chunk: int, pause: int | None
) -> None:
    """Words are those that are heard without the tags, wherever these are; punctuation aside, which ends words, and
    vowels that are written before their consonant."""
    heard = [e for e in emissions if not set(TOKENIZER.text(e.token)) & set(".,!。「」’¿เໄ")]
    frames = max([0, *(e.frame for e in heard)]) + PAUSE_FRAMES + 3

    def words(emissions: list[Emission]) -> list[str]:
        told = events(emissions, frames, step, chunk=chunk, pause_frames=pause, longest_frames=10**6)
        return [word.word for segment in finals(told) for word in segment.words]

    assert words(heard) == words([e for e in heard if e.token not in TAGS])


def test_tags_can_be_kept() -> None:
    assert transcript("▁Hal lo . ▁ <de-DE>", keep_language_tags=True).text == "Hallo. <de-DE>"


def test_three_letter_tags_are_tags() -> None:
    assert transcript("▁Hal lo <haw-US>").language == "haw-US"
    assert transcript("▁Hal lo <haw-US>").text == "Hallo"


def test_a_given_language_stands() -> None:
    assert transcript("▁Hal lo <de-DE>", language="nl-NL").language == "nl-NL"


def test_a_pause_ends_a_segment() -> None:
    assert [s.text for s in transcript("▁Hal lo . 30 ▁wel t").segments] == ["Hallo.", "welt"]
    assert transcript("▁Hal lo . 30 ▁wel t").text == "Hallo. welt"
    assert transcript("▁Hal 30 lo").text == "Hallo"  # a pause inside a word leaves the text whole
    assert [s.text for s in transcript("▁Hal lo 200 ▁wel t", pause_frames=None).segments] == ["Hallo welt"]


def test_silence_counts_from_the_last_word_and_not_from_punctuation() -> None:
    told = events(said("▁Hal lo 5 ."), 60, 1)
    last = finals(told)[0].words[-1]
    assert last.end == pytest.approx(8 * FRAME_SECONDS)
    assert [event.time for event in told if isinstance(event, Final)] == [pytest.approx(18 * FRAME_SECONDS)]


@pytest.mark.parametrize("late", [".", "▁ .", "▁.", ", !", "」", "。", ". <de-DE>", ". ▁ <de-DE>"])
def test_punctuation_after_the_end_is_left_out(late: str) -> None:
    result = transcript(f"▁Hal lo 30 {late} ▁wel t")
    assert [segment.text for segment in result.segments] == ["Hallo", "welt"]


@pytest.mark.parametrize("step", [1, 14, 112])
def test_a_final_has_the_punctuation_and_the_tag_of_its_last_chunk(step: int) -> None:
    """Silence ends it with the chunk in which it has lasted long enough: what is written there is known by then."""
    emissions = said("▁Hal lo 10 . <de-DE> 30 ▁wel t 12 ▁wie 16 . <de-DE>", start=2)  # at 2 4 16 18 50 52 66 84 86
    one, two, three = finals(events(emissions, 112, step, chunk=14))
    assert (one.text, one.language) == ("Hallo.", "de-DE")
    assert (two.text, two.language) == ("welt", None)
    assert three.text == "wie"
    told = events(emissions, 112, step, chunk=14)
    assert kinds(told) == ["speech_started", "final", "speech_ended"] * 3
    assert [s.text for s in finals(events(emissions, 112, step, chunk=7))] == ["Hallo.", "welt", "wie"]


def test_a_word_does_not_wait_for_the_chunk_to_end() -> None:
    """Speech that is over ends before the next word, or the next voice, of the same chunk."""
    emissions = said("▁Hal lo 12 ▁wel t", start=1)
    told = events(emissions, 42, 14, chunk=28)
    assert kinds(told) == ["speech_started", "final", "speech_ended"] * 2
    assert [segment.text for segment in finals(told)] == ["Hallo", "welt"]
    heard = events(emissions[:2], 42, 42, voice((1, 4), (17, 20)), chunk=42)
    assert kinds(heard) == ["speech_started", "final", "speech_ended", "speech_started", "speech_ended"]


@pytest.mark.parametrize("opening", ["「 日", "▁¿ s", "▁ ’ s"])
def test_punctuation_that_opens_stays(opening: str) -> None:
    result = transcript(f"▁Hal lo 30 {opening}")
    assert result.segments[1].text == "".join(opening.split()).replace("▁", "")


def test_a_long_segment_is_cut_at_a_word() -> None:
    result = transcript("▁wie ▁geht s " * 100)
    assert len(result.segments) == -(-300 * 2 // LONGEST_SEGMENT) == 2
    assert all(segment.words[0].word in {"wie", "gehts"} for segment in result.segments)
    assert len(transcript("日 本 語 " * 100).segments) == 2


def test_a_long_segment_is_cut_at_its_best_gap() -> None:
    """In the last third, between 20 and 30 s: a gap of 6 frames rather than those of 1 around it."""
    text = "▁wie " * 155 + "6 ▁geht s " + "▁wie " * 100
    first, second = transcript(text).segments
    assert (len(first.words), second.words[0].word) == (155, "gehts")
    assert second.words[0].start - first.end > 6 * FRAME_SECONDS


def test_a_long_segment_is_cut_after_a_sentence() -> None:
    text = "▁wie " * 100 + ". " + "▁wel t . ▁wie ▁geht s " * 20
    first, second = transcript(text).segments
    assert first.text.endswith(".")
    assert LONGEST_SEGMENT * 2 / 3 <= second.start / FRAME_SECONDS - 5 < LONGEST_SEGMENT * 3 / 4


@given(gaps=st.lists(st.integers(1, 9), min_size=1, max_size=80), longest=st.integers(1, 100), step=steps)
def test_no_segment_is_longer_than_the_longest(gaps: list[int], longest: int, step: int) -> None:
    emissions = [Emission(PIECES.index("▁wel"), frame, -0.1) for frame in itertools.accumulate(gaps)]
    for segment in finals(events(emissions, sum(gaps) + 20, step, longest_frames=longest)):
        assert segment.end - segment.start < (longest + 1.5) * FRAME_SECONDS


def test_silence_says_nothing() -> None:
    assert events([], 100, 7) == []


def test_the_end_of_the_audio_limits_the_words() -> None:
    (segment,) = finals(events(said("▁Hal lo", start=10), 13, 1))
    assert segment.end <= 13 * FRAME_SECONDS


# With voice.


def test_speech_is_announced_by_the_voice_before_its_first_word() -> None:
    builder = TranscriptBuilder(TOKENIZER, voice=Voice())
    edges = voice((20, 40))
    assert list(builder.push([], 14)) == []
    (started,) = builder.hear(edges[:1])  # the frames that hold it are not decoded yet
    assert isinstance(started, SpeechStarted)
    assert started.time == pytest.approx(20 * FRAME_SECONDS, abs=0.032)
    assert list(builder.push([], 28)) == []
    told = list(builder.push(said("▁Hal lo", start=30), 42))
    assert kinds(told) == []
    assert isinstance(told[0], Partial)


def test_silence_counts_from_the_end_of_the_voice() -> None:
    told = events(said("▁Hal lo", start=22), 100, 1, voice((20, 40)))
    assert kinds(told) == ["speech_started", "final", "speech_ended"]
    final = next(event for event in told if isinstance(event, Final))
    assert final.time == pytest.approx((40 + PAUSE_FRAMES) * FRAME_SECONDS, abs=0.08)
    assert told[-1].time == pytest.approx(40 * FRAME_SECONDS, abs=0.032)


def test_blank_frames_within_the_voice_end_nothing() -> None:
    emissions = said("▁Hal lo 40 ▁wel t", start=22)
    assert [s.text for s in finals(events(emissions, 120, 4))] == ["Hallo", "welt"]
    assert [s.text for s in finals(events(emissions, 120, 4, voice((20, 72))))] == ["Hallo welt"]


def test_words_far_from_any_voice_are_not_shown() -> None:
    emissions = said("▁wie ▁geht s 40 ▁Hal lo 40 ▁wie . <de-DE>", start=10)
    told = events(emissions, 200, 4, voice((50, 64)))
    assert [s.text for s in finals(told)] == ["Hallo"]
    assert kinds(told) == ["speech_started", "final", "speech_ended"]


def test_a_word_may_be_written_shortly_before_or_after_its_voice() -> None:
    for start in (44, 66):
        (segment,) = finals(events(said("▁Hal lo", start=start), 120, 1, voice((50, 60))))
        assert segment.words[0].start == pytest.approx(start * FRAME_SECONDS)


def test_a_voice_without_words_is_speech_without_a_final() -> None:
    assert kinds(events([], 100, 4, voice((20, 30)))) == ["speech_started", "speech_ended"]
    assert kinds(events([], 100, 4, voice((20, 30), (33, 40)))) == ["speech_started", "speech_ended"]
    assert kinds(events([], 24, 4, voice((20, 30)))) == ["speech_started", "speech_ended"]


def test_finalize_within_the_voice() -> None:
    builder = TranscriptBuilder(TOKENIZER, voice=Voice())
    told = list(builder.hear(voice((5, 90))[:1]))
    told += builder.push(said("▁Hal lo", start=8), 20)
    told += builder.cut()
    assert kinds(told) == ["speech_started", "final", "speech_ended"]
    again = [*builder.push(said("▁wel t", start=22), 40), *builder.finish(3.2)]
    assert kinds(again) == ["speech_started", "final", "speech_ended"]
    check([*told, *again], 3.2)


# What always holds.


@given(
    emissions=speech(),
    edges=voices(),
    step=steps,
    chunk=chunks,
    keep=st.booleans(),
    pause=st.none() | st.integers(1, 20),
)
def test_events_are_in_order(
    emissions: list[Emission], edges: list[Edge] | None, step: int, chunk: int, keep: bool, pause: int | None
) -> None:
    frames = max([0, *(e.frame for e in emissions)]) + PAUSE_FRAMES + 3
    told = events(emissions, frames, step, edges, chunk, keep_language_tags=keep, pause_frames=pause)
    check(told, frames * FRAME_SECONDS, tags=keep)


@given(emissions=speech(), edges=voices(), step=steps, late=steps, chunk=chunks, pause=st.none() | st.integers(1, 20))
def test_how_frames_and_voice_arrive_does_not_matter(
    emissions: list[Emission], edges: list[Edge] | None, step: int, late: int, chunk: int, pause: int | None
) -> None:
    frames = max([0, *(e.frame for e in emissions)]) + PAUSE_FRAMES + 3

    def told(step: int) -> list[Event]:
        heard = events(emissions, frames, step, edges, chunk, pause_frames=pause)
        return [event for event in heard if not isinstance(event, Partial)]

    assert told(step) == told(late) == told(10**6)


@given(emissions=speech(), step=steps, chunk=chunks)
def test_nothing_is_lost_but_punctuation_after_an_end(emissions: list[Emission], step: int, chunk: int) -> None:
    frames = max([0, *(e.frame for e in emissions)]) + PAUSE_FRAMES + 3
    heard = "".join(segment.text for segment in finals(events(emissions, frames, step, chunk=chunk)))
    pieces = [TOKENIZER.text(e.token) for e in emissions if e.token not in TAGS]
    assert re.sub(r"[\W]", "", heard) == re.sub(r"[\W]", "", "".join(pieces))


@given(emissions=speech(), edges=voices(), cuts=st.lists(st.integers(0, 300)), step=steps)
def test_finalize_anywhere(emissions: list[Emission], edges: list[Edge] | None, cuts: list[int], step: int) -> None:
    """A flush looks a few frames ahead; the next step begins before them."""
    frames = max([0, *(e.frame for e in emissions)]) + PAUSE_FRAMES + 3
    builder = TranscriptBuilder(TOKENIZER, voice=None if edges is None else Voice())
    told, decoded = list(builder.hear(e for e in edges or () if e.known <= frames * 1280)), 0
    for first in range(0, frames, step):
        until = min(frames, first + step)
        told += builder.push([e for e in emissions if decoded <= e.frame < until], until)
        decoded = max(decoded, until)
        if any(first <= cut < until for cut in cuts):
            ahead = min(frames, until + 2)
            told += builder.push([e for e in emissions if decoded <= e.frame < ahead], ahead)
            told += builder.cut()
            decoded = max(decoded, ahead)
    check(told + list(builder.finish(frames * FRAME_SECONDS)), frames * FRAME_SECONDS)


def check(told: Sequence[Event], duration: float, *, tags: bool = False) -> None:
    """Speech begins and ends in turn; partials begin as their final does; words follow each other, on the grid.

    Texts are their words, and end with a tag only where tags are kept. A word in the last frame may be cut off to
    nothing by the end of the audio, or where it was finalized.
    """
    turns = [event for event in told if isinstance(event, SpeechStarted | SpeechEnded)]
    assert [type(event) for event in turns] == [SpeechStarted, SpeechEnded] * (len(turns) // 2)
    assert all(before.time <= after.time <= duration for before, after in itertools.pairwise(turns))
    speaking, shown, end = False, "", 0.0
    for event in told:
        match event:
            case SpeechStarted():
                speaking, shown = True, ""
            case SpeechEnded():
                speaking = False
                assert not shown
            case Partial(segment=segment) | Final(segment=segment):
                assert speaking
                assert segment.text.startswith(shown)
                shown = segment.text
                check_words(event, end, duration, tags and isinstance(event, Final))
                if isinstance(event, Final):
                    shown, end = "", segment.end


def check_words(event: Partial | Final, end: float, duration: float, tag: bool) -> None:
    segment = event.segment
    assert segment.text[0] not in ".,!。」"
    text = re.sub(r" <\w+-\w+>$", "", segment.text) if tag else segment.text
    assert "".join(text.split()) == "".join(word.word for word in segment.words)
    assert "<" not in text
    assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    for word in segment.words:
        assert end <= word.start <= word.end <= duration
        assert word.start < word.end
        for time in (word.start, word.end):
            assert time == duration or math.isclose(time / FRAME_SECONDS, round(time / FRAME_SECONDS))
        end = word.end


def test_half_an_hour() -> None:
    emissions = said("▁Hal lo , ▁wel t . <de-DE> 20 日 本 語 ー 。 <ja-JP> 3 ▁wie ▁geht s 30 . <de-DE> " * 300)
    frames = emissions[-1].frame + 30
    told = events(emissions, frames, 14)
    check(told, frames * FRAME_SECONDS)
    assert frames * FRAME_SECONDS > 1800
    assert len([event for event in told if isinstance(event, Final)]) == 900
    assert finals(told)[-1].words[-1].end == pytest.approx((emissions[-3].frame + 1) * FRAME_SECONDS)


@pytest.mark.parametrize("pause", [None, PAUSE_FRAMES])
def test_silence_leaves_nothing_behind(pause: int | None) -> None:
    builder = TranscriptBuilder(TOKENIZER, pause_frames=pause, voice=Voice())
    tracemalloc.start()
    sizes = []
    for first in range(0, 20_000, 10_000):
        for frame in range(first + 1, first + 10_001):
            assert list(builder.push([], frame, ends=[frame])) == []
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[1] < sizes[0] + 10_000


def test_all_pieces_are_tried() -> None:
    assert set(TOKENIZER.language_tags.values()) == set(TAGS.values())
    assert TOKENIZER.vocab_size == len(PIECES)
