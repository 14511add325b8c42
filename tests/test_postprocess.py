"""Words and text agree whatever is done to a segment; bad words and spoken numbers in many languages."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.errors import LanguageError, MissingExtraError, OptionError
from nemotron_asr.events import Segment, Word
from nemotron_asr.postprocess import (
    Edit,
    Postprocessor,
    by_language,
    chain,
    mask_words,
    read_words,
    replace_text,
    rewrite,
    shown,
    spoken_numbers,
)

LISTED = ["darn", "son of a gun", "Größe", "他媽", "क", "heck"]


def segment(text: str, language: str | None = "en-US", *, spaced: bool = True) -> Segment:
    """A segment whose words last 400 ms, one every half a second; a language tag in the text is no word."""
    said = text.partition(" <")[0].split() if spaced else list(text)
    words = tuple(Word(word, i / 2, i / 2 + 0.4, 0.5 + i / 1000) for i, word in enumerate(said))
    return Segment(words[0].start, words[-1].end, text, language, 0.9, words)


NUMBERS = (
    "one five twenty twenty-one hundred thousand and point second third o'clock ein hundertfünf zwei et vingt".split()
)
WORDS = st.sampled_from(
    [*NUMBERS, *LISTED[-1], "darn", "Darn,", "(son", "of", "a", "gun)", "GRÖSSE!", "他", "媽", "कि"]
)
TEXTS = st.lists(WORDS | st.text("ab-'.,é½Ⅻ", min_size=1, max_size=5), min_size=1, max_size=30).map(" ".join)
SEGMENTS = st.builds(
    lambda text, tag, language: segment(text + tag, language),
    TEXTS,
    st.sampled_from(["", " <en-US>"]),
    st.sampled_from(["en-US", "de-DE", "fr-CA", "ru-RU", None]),
)


def letters(text: str) -> str:
    return "".join(text.partition(" <")[0].split())


def check(made: Segment, of: Segment) -> None:
    """What holds for every segment."""
    assert letters(made.text) == "".join(word.word for word in made.words)
    assert (made.start, made.end, made.language) == (of.start, of.end, of.language)
    assert (made.words[0].start, made.words[-1].end) == (of.words[0].start, of.words[-1].end)
    times = [time for word in made.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert set(times) <= {time for word in of.words for time in (word.start, word.end)}
    assert all(0 < word.confidence <= 1 for word in made.words)
    assert made.text.endswith("<en-US>") == of.text.endswith("<en-US>")


@settings(deadline=None)
@given(SEGMENTS, st.data())
def test_rewritten_words_and_text_agree(of: Segment, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(of.words)), max_size=6)))
    edits: list[Edit] = [(first, last, "x" * last) for first, last in zip(cuts[::2], cuts[1::2], strict=False)]
    made = rewrite(of, edits)
    check(made, of)
    assert len(made.words) == len(of.words) - sum(last - first - 1 for first, last, _ in edits)


@settings(deadline=None)
@given(SEGMENTS)
def test_masked_words_and_text_agree(of: Segment) -> None:
    made = mask_words(LISTED)(of)
    check(made, of)
    assert [(word.start, word.end) for word in made.words] == [(word.start, word.end) for word in of.words]
    assert len(made.text) == len(of.text)
    assert all(new in {old, "*"} for new, old in zip(made.text, of.text, strict=True))
    assert mask_words(LISTED)(made) == made


@settings(deadline=None)
@given(SEGMENTS)
def test_numbers_and_text_agree(of: Segment) -> None:
    check(spoken_numbers()(of), of)


def test_merged_words_last_as_long_as_they_did() -> None:
    made = spoken_numbers()(segment("It took (twenty one), not 3."))
    assert made.text == "It took (21), not 3."
    assert made.words[2] == Word("(21),", 1.0, 1.9, round((0.502 * 0.503) ** 0.5, 4))
    assert made.words[3].start == 2.0


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Darn, that's DARN heavy, darn's undarned!", "D***, that's D*** heavy, d***'s undarned!"),
        ("You son of  a gun. A gun.", "You s** **  * ***. A gun."),
        ("Sons of a gun", "Sons of a gun"),
        ("What the heck-darn", "What the h***-d***"),
        ("Welche GRÖSSE, welche größen?", "Welche G*****, welche größen?"),
        ("कि क", "कि क"),
    ],
)
def test_whole_words_are_masked_in_any_case(said: str, shown: str) -> None:
    assert mask_words(LISTED)(segment(said)).text == shown


def test_letters_with_marks_are_one_letter_long_or_not_at_all() -> None:
    assert mask_words(["e\u0301tat"])(segment("Un état d'etat")).text == "Un é*** d'etat"


def test_scripts_without_spaces_are_masked_wherever_they_occur() -> None:
    assert mask_words(LISTED)(segment("你他媽的。", "zh-CN", spaced=False)).text == "你他*的。"


def beginning(of: Segment, length: int) -> Segment | None:
    """What a partial has of a segment, its last word perhaps cut short."""
    text, words, position = of.text.partition(" <")[0][:length].rstrip(), [], 0
    for word in of.words:
        position = of.text.index(word.word, position) + len(word.word)
        written = text[position - len(word.word) : position]
        words += [replace(word, word=written)] if written else []
    return replace(of, text=text, words=tuple(words), end=words[-1].end) if words else None


@settings(deadline=None)
@given(SEGMENTS)
def test_partials_only_grow_into_their_final_and_show_no_listed_word(of: Segment) -> None:
    mask, said = mask_words(LISTED), ""
    for length in range(len(of.text) + 1):
        so_far = beginning(of, length)
        if so_far and (seen := shown(mask, so_far)):
            check(seen, replace(so_far, words=so_far.words[: len(seen.words)], end=seen.end))
            assert seen.text.startswith(said)
            assert mask(seen) == seen
            said = seen.text
    assert mask(of).text.startswith(said)


def partials(mask: Postprocessor, text: str) -> list[str | None]:
    """What is seen of a text as its letters come."""
    so_far = [beginning(segment(text), length) for length in range(1, len(text) + 1)]
    return [seen.text if (seen := shown(mask, each)) else None for each in so_far if each]


def test_partials_end_before_what_may_become_a_listed_word() -> None:
    mask = mask_words(["darn", "so what"])
    assert partials(mask, "A dark") == ["A", "A", "A", "A", "A", "A dark"]
    assert partials(mask, "darn it") == [None] * 5 + ["d*** i", "d*** it"]
    assert partials(mask, "so why") == [None] * 5 + ["so why"]
    assert partials(chain(marking("!"), mask), "A dar") == ["A", "A", "A", "A", "A"]
    assert partials(marking("!"), "A dar")[-1] == "A dar"
    assert partials(by_language({"en": mask}), "dar") == [None] * 3
    assert partials(by_language({"de": mask}), "dar") == ["d", "da", "dar"]


def test_a_language_may_be_the_model_s_own() -> None:
    step = by_language({"cy-GB": marking("!")}, {"en-US": 0, "cy-GB": 1, "auto": 2})
    assert step(replace(segment("Bore da"), language="cy-GB")).text == "Bore! da"
    with pytest.raises(LanguageError, match="'cy-GB' is unknown"):
        by_language({"cy-GB": marking("!")})


def test_words_do_not_meet_across_a_space() -> None:
    assert mask_words(["penis"])(segment("The pen is mightier.")).text == "The pen is mightier."


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(OptionError, match="empty"):
        mask_words([" "])


def test_a_list_of_words_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeff# mild ones\n\n darn \r\nson of a gun  # said of nobody\n  # rude ones\nf#ck\n".encode())
    assert read_words(path) == ["darn", "son of a gun", "f#ck"]


def test_a_list_that_is_none_is_named(tmp_path: Path) -> None:
    for name, content, problem in (("empty.txt", b"\n# none\n", "no words"), ("bytes.txt", b"\xff\xfe\xfa", "UTF-8")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OptionError, match=rf"{name}: .*{problem}"):
            read_words(tmp_path / name)
    with pytest.raises(OptionError, match=r"missing\.txt: No such file"):
        read_words(tmp_path / "missing.txt")


@pytest.mark.parametrize(
    ("language", "said", "shown"),
    [
        ("en-US", "On May twenty-third I bought twenty five cows.", "On May 23rd I bought 25 cows."),
        ("en-GB", "One hundred and five point two, or zero zero seven", "105.2, or 007"),
        ("en-US", "I am the one, in second place.", "I am the one, in second place."),
        ("en-US", "Call five five five, one two.", "Call 5 5 5, 1 2."),
        ("en-US", "In nineteen ninety-five, not twenty twenty.", "In 1995, not 2020."),
        ("en-US", "From nineteen eighty four, thirty", "From 1984, 30"),
        ("de-DE", "Das sind einundzwanzig Kühe und hundert fünf Komma zwei.", "Das sind 21 Kühe und 105,2."),
        ("fr-CA", "Vingt et un chats, quatre-vingt-dix-neuf chiens", "21 chats, 99 chiens"),
        ("nl-NL", "Het zijn er eenentwintig.", "Het zijn er 21."),
        ("da-DK", "Det er enogtyve.", "Det er 21."),
        ("it-IT", "Sono ventuno.", "Sono 21."),
        ("pt-BR", "São vinte e um.", "São 21."),
        ("es-US", "Son ciento veinticinco vacas.", "Son 125 vacas."),
        ("ru-RU", "двадцать один", "двадцать один"),
        (None, "twenty one", "twenty one"),
    ],
)
def test_numbers_in_digits(language: str | None, said: str, shown: str) -> None:
    assert spoken_numbers()(segment(said, language)).text == shown


def test_small_numbers_alone_stay_words() -> None:
    said = segment("Two cows. Wait for three dogs.")
    assert spoken_numbers()(said) == said
    assert spoken_numbers(threshold=3)(said).text == "Two cows. Wait for 3 dogs."


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "text_to_num", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nemotron-asr\[itn\]'"):
        spoken_numbers()


def test_parts_of_the_text_are_replaced_with_their_words() -> None:
    of = segment("It costs twenty three dollars, not ten percent.")
    made = replace_text(of, [(9, 29, "$23"), (35, 46, "10 %")])
    assert made.text == "It costs $23, not 10 %."
    assert [word.word for word in made.words] == ["It", "costs", "$23,", "not", "10 %."]
    assert (made.words[2].start, made.words[2].end) == (of.words[2].start, of.words[4].end)


@given(cuts=st.lists(st.integers(0, 40), max_size=8), written=st.sampled_from(["", "7", "seven"]))
def test_whatever_parts_are_replaced_words_say_what_the_text_says(cuts: list[int], written: str) -> None:
    of, places = segment("It costs twenty three dollars, not more."), sorted(set(cuts))
    made = replace_text(of, [(a, b, written) for a, b in zip(places[::2], places[1::2], strict=False)])
    assert "".join(made.text.split()) == "".join(word.word for word in made.words)
    assert [word.start for word in made.words] == sorted(word.start for word in made.words)
    assert (made.start, made.end) == (of.start, of.end)


def marking(mark: str) -> Callable[[Segment], Segment]:
    return lambda segment: rewrite(segment, [(0, 1, segment.words[0].word + mark)])


@pytest.mark.parametrize(
    ("gone", "left"),
    [((1, 2), "Well, yes, indeed!"), ((0, 1), "um, yes, indeed!"), ((3, 4), "Well, um, yes,"), ((0, 4), "")],
)
def test_words_can_be_left_out(gone: tuple[int, int], left: str) -> None:
    made = rewrite(segment("Well, um, yes, indeed!"), [(*gone, "")])
    assert made.text == left
    assert [word.word for word in made.words] == left.split()


def test_two_words_apart_can_be_left_out() -> None:
    made = rewrite(segment("Um, well, um, yes!"), [(0, 1, ""), (2, 3, "")])
    assert (made.text, [word.word for word in made.words]) == ("well, yes!", ["well,", "yes!"])


@pytest.mark.parametrize("edit", [(1, 1, "x"), (1, 3, "x"), (-1, 1, "x")])
def test_an_edit_is_of_words(edit: tuple[int, int, str]) -> None:
    with pytest.raises(ValueError, match="none of the 2 of this segment"):
        rewrite(segment("Well, yes!"), [edit])


def test_a_postprocessor_for_each_language() -> None:
    choose = by_language({"en": marking("1"), "de_de": marking("2"), "en-GB": marking("3")})
    shown = [choose(segment("a", locale)).text for locale in ("en-US", "en-GB", "de-DE", "fr-FR", None)]
    assert shown == ["a1", "a3", "a2", "a", "a"]
    aliases = by_language({"enGB": marking("1"), " DE ": marking("2")})
    assert [aliases(segment("a", locale)).text for locale in ("en-GB", "de-DE", "en-US")] == ["a1", "a2", "a"]


def test_one_for_all_languages() -> None:
    assert by_language(marking("!"))(segment("a", None)).text == "a!"


@pytest.mark.parametrize(("language", "said"), [("xx", "unknown"), ("de-DX", "unknown"), ("auto", "give one function")])
def test_an_unknown_language_is_named(language: str, said: str) -> None:
    with pytest.raises(LanguageError, match=f"'{language}'.* {said}"):
        by_language({language: marking("!")})


def test_steps_in_order() -> None:
    assert chain(marking("1"), marking("2"))(segment("a b")).text == "a12 b"
    assert chain()(segment("a b")) == segment("a b")
