"""Cues are readable, in order, and say exactly what the segments say."""

import html
import re
import unicodedata
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.events import Segment, Word
from nemotron_asr.subtitles import to_srt, to_vtt

SRT_TIMES = re.compile(r"(\d+):(\d\d):(\d\d),(\d{3}) --> (\d+):(\d\d):(\d\d),(\d{3})")
VTT_TIMES = re.compile(r"(\d+):(\d\d):(\d\d)\.(\d{3}) --> (\d+):(\d\d):(\d\d)\.(\d{3})")
VTT_VOICE = re.compile(r"<v ([^>]+)>(.*?)</v>", re.DOTALL)
VTT_STAMP = re.compile(r"<(\d+):(\d\d):(\d\d)\.(\d{3})>")

Cue = tuple[int, int, list[str]]


def milliseconds(hours: str, minutes: str, seconds: str, thousandths: str) -> int:
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(thousandths)


def srt_cues(text: str) -> list[Cue]:
    """Read SubRip back, strictly."""
    cues = []
    for number, block in enumerate(text.split("\n\n") if text else [], 1):
        head, times, *lines = block.rstrip("\n").split("\n")
        match = SRT_TIMES.fullmatch(times)
        assert head == str(number)
        assert match is not None
        cues.append((milliseconds(*match.groups()[:4]), milliseconds(*match.groups()[4:]), lines))
    return cues


def vtt_cues(text: str) -> list[Cue]:
    """Read WebVTT back, strictly."""
    head, *blocks = text.split("\n\n")
    assert head.rstrip("\n") == "WEBVTT"
    cues = []
    for block in blocks:
        times, *lines = block.rstrip("\n").split("\n")
        match = VTT_TIMES.fullmatch(times)
        assert match is not None
        cues.append((milliseconds(*match.groups()[:4]), milliseconds(*match.groups()[4:]), lines))
    return cues


def segment(
    text: str, *, start: float = 0.0, per_word: float = 0.32, pause: float = 0.08, spaced: bool = True
) -> Segment:
    """A segment whose words follow each other at an even pace."""
    words, clock = [], start
    for word in text.split() if spaced else text:
        words.append(Word(word, round(clock, 3), round(clock + per_word - pause, 3), 0.9))
        clock += per_word
    return Segment(words[0].start, words[-1].end, text, "en-US", 0.9, tuple(words))


WORDS = st.text(st.sampled_from("abcXYZ.,!?&<>'\"äßжあー漢々ไท้-。、"), min_size=1, max_size=14)
LONG_WORDS = st.text(st.sampled_from("abเ漢ー"), min_size=43, max_size=200)


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    """Segments as the transcript builder makes them: words on the frame grid, some several in one frame, some long."""
    made, frame = [], draw(st.integers(0, 100_000))
    for _ in range(draw(st.integers(0, 4))):
        words, text = [], ""
        for word in draw(st.lists(WORDS | LONG_WORDS, min_size=1, max_size=40)):
            frame += draw(st.integers(0, 12))
            length = draw(st.sampled_from([1, 2, 5, 0, 120]))
            words.append(Word(word, round(frame * 0.08, 3), round((frame + length) * 0.08, 3), 0.5))
            text += draw(st.sampled_from(["", " "])) + word
            frame += draw(st.sampled_from([0, length]))
        text = text.strip() + draw(st.sampled_from(["", " <de-DE>"]))
        made.append(Segment(words[0].start, words[-1].end, text, None, 0.5, tuple(words)))
    return made


@st.composite
def conversations(draw: st.DrawFn) -> list[Segment]:
    """Segments of several speakers, who do not let each other finish."""
    said = [
        replace(each, speaker=f"channel {speaker}")
        for speaker in range(draw(st.integers(2, 3)))
        for each in draw(segments())
    ]
    return sorted(said, key=lambda each: each.start)


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1 for character in text)


def turns(cue: Cue) -> list[tuple[str, str]]:
    """Who says what in a SubRip cue."""
    said: list[tuple[str, str]] = []
    for line in cue[2]:
        speaker, colon, text = line.partition(": ")
        if colon:
            said.append((speaker, text))
        else:
            said[-1] = (said[-1][0], said[-1][1] + line)
    return said


def letters(text: str) -> str:
    return "".join(text.split())


@settings(deadline=None)
@given(segments())
def test_srt_says_what_the_segments_say(made: list[Segment]) -> None:
    cues = srt_cues(to_srt(made))
    assert letters("".join("".join(lines) for _, _, lines in cues)) == letters("".join(s.text for s in made))


@settings(deadline=None)
@given(segments())
def test_spaces_stay_where_the_text_has_them(made: list[Segment]) -> None:
    short = [s for s in made if all(len(word.word) < 20 for word in s.words)]
    for _, _, lines in srt_cues(to_srt(short)):
        assert all(any(line in " ".join(s.text.split()) for s in short) for line in lines)


@settings(deadline=None)
@given(segments() | conversations())
def test_cues_are_small_and_in_order(made: list[Segment]) -> None:
    now = 0
    for start, end, lines in srt_cues(to_srt(made)):
        assert now <= start < end <= start + 7_000
        assert 1 <= len(lines) <= 2
        assert all(0 < width(line) <= 42 and line == line.strip() for line in lines)
        now = end


@settings(deadline=None)
@given(segments() | conversations())
def test_cues_stay_until_they_can_be_read_if_there_is_room(made: list[Segment]) -> None:
    for (start, end, lines), (following, _, _) in pairwise(srt_cues(to_srt(made))):
        shown = "".join(re.sub(r"^channel \d: ", "", line) for line in lines)
        assert end - start >= min(1000 * width(shown) / 17 - 1, 7000, following - start)


@settings(deadline=None)
@given(conversations())
def test_everybody_is_heard_once_and_in_order(made: list[Segment]) -> None:
    said: dict[str | None, str] = {each.speaker: "" for each in made}
    for cue in srt_cues(to_srt(made)):
        for speaker, text in turns(cue):
            said[speaker] += letters(text)
    assert said == {
        speaker: letters("".join(each.text for each in made if each.speaker == speaker)) for speaker in said
    }


@settings(deadline=None)
@given(conversations())
def test_voices_are_labels(made: list[Segment]) -> None:
    cues = vtt_cues(to_vtt(made))
    plain = [VTT_STAMP.sub("", VTT_VOICE.sub(r"\1: \2", "\n".join(lines))) for _, _, lines in cues]
    assert [html.unescape(text).split("\n") for text in plain] == [lines for _, _, lines in srt_cues(to_srt(made))]


@settings(deadline=None)
@given(segments())
def test_vtt_is_srt_with_a_time_for_every_word(made: list[Segment]) -> None:
    cues = vtt_cues(to_vtt(made))
    plain = [(start, end, [html.unescape(VTT_STAMP.sub("", line)) for line in lines]) for start, end, lines in cues]
    assert plain == srt_cues(to_srt(made))
    for start, end, lines in cues:
        stamps = [milliseconds(*stamp) for stamp in VTT_STAMP.findall("\n".join(lines))]
        assert stamps == sorted(set(stamps))
        assert all(start < stamp < end for stamp in stamps)


def test_nothing_said() -> None:
    assert to_srt([]) == ""
    assert to_vtt([]) == "WEBVTT\n"


def test_srt_layout() -> None:
    made = [segment("Good morning.", start=0.32), segment("How are you?", start=3725.6)]
    assert to_srt(made) == (
        "1\n00:00:00,320 --> 00:00:01,320\nGood morning.\n\n2\n01:02:05,600 --> 01:02:06,480\nHow are you?\n"
    )


def test_vtt_layout_and_escapes() -> None:
    made = [segment("Q & A <b> --> end", start=1.0, per_word=0.4)]
    assert to_vtt(made) == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:03.320\n"
        "Q <00:00:01.400>&amp; <00:00:01.800>A <00:00:02.200>&lt;b&gt; <00:00:02.600>--&gt; <00:00:03.000>end\n"
    )


def test_sentences_and_clauses_are_kept_together() -> None:
    text = (
        "Mr. Quilter is the apostle of the middle classes, and we are glad to welcome his gospel. "
        "He tells us that at this festive season of the year similes occur to the mind."
    )
    ends = [" ".join(lines).split()[-1] for _, _, lines in srt_cues(to_srt([segment(text)]))]
    assert ends == ["classes,", "gospel.", "mind."]


def test_a_title_ends_no_sentence() -> None:
    text = "This is something that I should really like to have told to the good old Mr. Quilter whom all of us know."
    assert all(lines[-1].split()[-1] != "Mr." for _, _, lines in srt_cues(to_srt([segment(text, per_word=0.2)])))


@pytest.mark.parametrize(
    "text",
    [
        "昨日は友達と一緒に東京駅の近くにある新しいレストランで晩ご飯を食べました。",
        "สวัสดีครับวันนี้อากาศดีมากเราไปเดินเล่นที่สวนสาธารณะกันเถอะ",
    ],
)
def test_text_without_spaces_gets_none(text: str) -> None:
    (cue,) = srt_cues(to_srt([segment(text, per_word=0.1, spaced=False)]))
    assert "".join(cue[2]) == text
    assert len(cue[2]) == 2


@pytest.mark.parametrize("text", ["サーバー", "ちょっと", "人々"])
def test_no_line_begins_within_a_sound(text: str) -> None:
    for ahead in range(1, 22):
        made = segment("漢" * ahead + text * 12, per_word=0.1, spaced=False)
        lines = [line for _, _, lines in srt_cues(to_srt([made])) for line in lines]
        assert "".join(lines) == made.text
        assert not {line[0] for line in lines} & set("ーょっ々")


def test_what_never_begins_a_line_does_where_a_line_is_full_of_it() -> None:
    lines = [line for _, _, lines in srt_cues(to_srt([segment("ー" * 30, spaced=False)])) for line in lines]
    assert "".join(lines) == "ー" * 30
    assert max(map(width, lines)) <= 42


def test_a_wide_character_takes_two_columns() -> None:
    lines = [
        line for _, _, lines in srt_cues(to_srt([segment("漢" * 60, spaced=False, per_word=0.1)])) for line in lines
    ]
    assert "".join(lines) == "漢" * 60
    assert max(map(len, lines)) <= 21


def test_a_short_cue_stays_until_it_can_be_read_if_there_is_room() -> None:
    made = [segment("Yes."), segment("No.", start=0.6), segment("Well.", start=5.0)]
    assert [(start, end) for start, end, _ in srt_cues(to_srt(made))] == [(0, 600), (600, 1600), (5000, 5240)]


def test_a_language_tag_stays_in_the_text() -> None:
    word = Word("Ja.", 0.0, 0.4, 0.9)
    tagged = Segment(0.0, 0.4, "Ja. <de-DE>", "de-DE", 0.9, (word,))
    assert "Ja. &lt;de-DE&gt;" in to_vtt([tagged])
    assert "Ja. <de-DE>" in to_srt([tagged])


def talk(*parts: tuple[float, float], until: float | None = None) -> list[list[str]]:
    """Cues of clauses that are said one after the other, each within so many seconds and followed by a pause."""
    words: list[Word] = []
    clock = 0.0
    for number, (seconds, pause) in enumerate(parts):
        for word in f"{'abc'[number]}bcd efgh ijkl mnop qrst uvwx yzab cde,".split():
            words.append(Word(word, clock, clock + seconds / 8, 0.9))
            clock += seconds / 8
        clock += pause
    text = " ".join(word.word for word in words)
    made = [Segment(0.0, words[-1].end, text, "en-US", 0.9, tuple(words))]
    if until is not None:
        made.append(segment("And on.", start=until))
    return [[line[0] for line in lines] for _, _, lines in srt_cues(to_srt(made)) if lines != ["And on."]]


def test_what_is_said_fast_is_shown_with_what_is_said_slowly() -> None:
    assert talk((1, 0.0), (3.5, 0.0), (3.5, 0.0)) == [["a", "b"], ["c"]]
    assert talk((3.5, 0.0), (3.5, 0.0), (1, 0.0), until=8.0) == [["a"], ["b", "c"]]


def test_a_pause_is_a_good_place_to_cut() -> None:
    assert talk((2, 0.7), (2, 0.0), (2, 0.0)) == [["a"], ["b", "c"]]
    assert talk((2, 0.0), (2, 0.7), (2, 0.0)) == [["a", "b"], ["c"]]


def test_the_last_cue_stays_within_the_audio() -> None:
    text = "These are about forty columns of speech."
    made = [segment(text, per_word=0.1, pause=0.0)]
    assert [srt_cues(to_srt(made, duration))[0][1] for duration in (None, 1.0, 60.0)] == [700, 1000, 2353]


def test_speakers_in_turn() -> None:
    one = replace(segment("Good morning.", start=0.0), speaker="channel 0")
    other = replace(segment("Good morning, who is it & why?", start=4.0), speaker="channel 1")
    assert [lines for _, _, lines in srt_cues(to_srt([one, other]))] == [
        ["channel 0: Good morning."],
        ["channel 1: Good morning, who is it & why?"],
    ]
    assert "<v channel 1>Good <00:00:04.320>morning, " in to_vtt([one, other])
    assert "&amp; <00:00:05.920>why?</v>" in to_vtt([one, other])


def test_speakers_at_once_have_a_line_each() -> None:
    one = replace(segment("Shall we begin?", start=0.0), speaker="channel 0")
    other = replace(segment("Yes.", start=0.5), speaker="channel 1")
    assert srt_cues(to_srt([one, other], 9.0)) == [(0, 2000, ["channel 0: Shall we begin?", "channel 1: Yes."])]
    assert to_vtt([one, other], 9.0).endswith(
        "<v channel 0>Shall <00:00:00.320>we <00:00:00.640>begin?</v>\n<v channel 1>Yes.</v>\n"
    )


def test_a_long_name_leaves_room() -> None:
    said = replace(segment("It is what it is."), speaker="Her Majesty's Ambassador")
    assert srt_cues(to_srt([said]))[0][2] == ["Her Majesty's Am: It is what it is."]
