"""Words as their script has them, with times on the grid."""

import math
from dataclasses import replace

import pytest

from tests.transcript.pieces import events, finals, said, transcript


def spelled(text: str) -> list[str]:
    return [word.word for word in transcript(text).words]


def test_characters_are_words_where_the_script_has_no_spaces() -> None:
    assert spelled("日 本 語 を .") == ["日", "本", "語", "を."]
    assert spelled("▁กา ี น") == ["กาี", "น"]
    assert spelled("▁한 국 어 ▁Hal lo") == ["한국어", "Hallo"]
    assert spelled("▁Hal lo 日 本") == ["Hallo", "日", "本"]


def test_opening_brackets_belong_to_what_follows() -> None:
    assert spelled("日 「 本 」 語") == ["日", "「本」", "語"]


def test_vowels_stay_with_the_consonant_that_they_are_written_around() -> None:
    assert spelled("▁ ท ำ น้ ำ เ ป็ น") == ["ทำ", "น้ำ", "เป็", "น"]
    assert spelled("▁ ປ ຳ ໄ ປ . 「 เ ป็ 」") == ["ປຳ", "ໄປ.", "「เป็」"]


def test_a_vowel_that_is_written_first_begins_the_word() -> None:
    (segment,) = finals(events(said("▁ ท เ ป็ น"), 40, 1))
    assert [(w.word, w.start) for w in segment.words] == [("ท", 0.56), ("เป็", 0.72), ("น", 1.04)]


def test_marks_stay_with_their_letter() -> None:
    assert spelled("▁naï ve ▁geht ’ s ▁wel e\u0301") == ["naïve", "geht’s", "wele\u0301"]


def test_words_of_one_token_follow_each_other() -> None:
    (segment,) = finals(events(said("日本語", start=5), 30, 1))
    assert [(w.word, w.start, w.end) for w in segment.words] == [
        ("日", 0.4, 0.48), ("本", 0.48, 0.56), ("語", 0.56, 0.64)
    ]  # fmt: skip


def test_words_of_one_frame_follow_each_other() -> None:
    (segment,) = finals(events(said("▁Hal lo ▁wel t ▁wie", gap=0), 30, 1))
    assert [(w.word, w.start) for w in segment.words] == [("Hallo", 0.4), ("welt", 0.48), ("wie", 0.56)]


def test_a_word_ends_before_its_punctuation_when_that_is_late() -> None:
    (segment,) = finals(events(said("▁Hal lo 5 , ▁wel t"), 40, 1))
    assert [(w.word, w.end) for w in segment.words] == [("Hallo,", 0.64), ("welt", pytest.approx(1.52))]


def test_a_language_that_was_found_has_the_probability_of_its_tag() -> None:
    tokens = said("▁Hal lo <de-DE>", logprob=-0.5)
    (found,), (given,) = (finals(events(tokens, 30, 1, language=language)) for language in ("auto", "de-DE"))
    assert found.language_confidence == pytest.approx(0.6065, abs=1e-4)
    assert given.language_confidence is None


def test_the_model_is_no_surer_of_what_was_chosen_for_it_than_it_was_probable() -> None:
    first, second = said("▁Hal lo")
    (segment,) = finals(events([first, replace(second, confidence=0.9, logprob=math.log(0.02))], 30, 1))
    assert segment.words[0].confidence == 0.02


def test_confidence_is_that_of_the_token_least_sure() -> None:
    tokens = [
        replace(token, confidence=sure)
        for token, sure in zip(said("▁Hal lo ▁wel t"), (0.9, 0.5, 0.7, 0.8), strict=True)
    ]
    (segment,) = finals(events(tokens, 30, 1))
    assert [word.confidence for word in segment.words] == [0.5, 0.7]
    assert segment.confidence == pytest.approx(0.6)
