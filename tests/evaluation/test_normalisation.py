"""What is compared, language by language."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.evaluation.normalisation import metric, normalise, units
from nemotron_asr.languages import LANGUAGES

LOCALES = [language.locale for language in LANGUAGES]


@pytest.mark.parametrize(
    ("locale", "written", "spoken"),
    [
        ("de-DE", "Die Straße, bitte!", "die straße bitte"),
        ("en-US", "Mr. Miller doesn't like colour.", "mister miller does not like color"),
        ("en-US", "We\u2019re at twenty-one [laughs] cats (three)", "we are at 21 cats"),
        ("en-US", "Well\u2026 I... think....so. 3.5% of $20", "well i think so 3.5% of $20"),
        ("fr-FR", "L\u2019été, c'est beau\u00a0!", "l été c est beau"),
        ("tr-TR", "IŞIK İstanbul", "ışık istanbul"),
        ("tr-TR", "I\u0307stanbul", "istanbul"),
        ("es-ES", "¿Qué? ¡Mañana, niño!", "qué mañana niño"),
        ("ar-AR", "أَحْمَد إلى", "احمد الي"),
        ("he-IL", "שָׁלוֹם", "שלום"),
        ("hi-IN", "मैं हिन्दी बोलता हूँ।", "मैं हिन्दी बोलता हूँ"),
        ("ru-RU", "Ёлка, ещё!", "елка еще"),
        ("vi-VN", "Tiếng Việt.", "tiếng việt"),
        ("mt-MT", "Għandi ħobż", "għandi ħobż"),
    ],
)
def test_each_language_has_its_rules(locale: str, written: str, spoken: str) -> None:
    assert normalise(written, locale) == unicodedata.normalize("NFC", spoken)


@pytest.mark.parametrize(
    ("locale", "text", "characters"),
    [
        ("zh-CN", "你好,世界。", "你好世界"),
        ("ja-JP", "カタカナ、 漢字!", "カタカナ漢字"),
        ("ko-KR", "안녕 하세요?", "안녕하세요"),
        ("th-TH", "สิบ\u200bสี่", "สิบสี่"),
    ],
)
def test_languages_without_spaces_are_compared_by_characters(locale: str, text: str, characters: str) -> None:
    assert metric(locale) == "CER"
    assert units(text, locale) == list(characters)


def test_a_korean_word_is_the_same_however_it_is_composed() -> None:
    assert units(unicodedata.normalize("NFD", "안녕"), "ko-KR") == units("안녕", "ko-KR")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("text", ["...", "\u2026", ". .", "- ! \u2013", "[laughs]"])
def test_marks_are_no_words(locale: str, text: str) -> None:
    assert units(text, locale) == []


def test_all_other_languages_are_compared_by_words() -> None:
    assert [locale for locale in LOCALES if metric(locale) == "CER"] == ["ja-JP", "ko-KR", "zh-CN", "th-TH"]
    assert units("ein Haus", "de-DE") == ["ein", "haus"]


@settings(deadline=None, max_examples=50)
@given(st.text(), st.sampled_from(LOCALES))
def test_units_are_words_without_spaces(text: str, locale: str) -> None:
    assert all(unit and not any(c.isspace() for c in unit) for unit in units(text, locale))
