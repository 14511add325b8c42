"""Text -> the words or characters that are compared: Whisper's normalisers, and rules for single languages."""

import re
import unicodedata
from collections.abc import Callable
from functools import cache

from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer
from whisper_normalizer.international import (
    ArabicTextNormalizer,
    FrenchTextNormalizer,
    RussianTextNormalizer,
    SpanishTextNormalizer,
)

from nemotron_asr.languages import language_of

Normaliser = Callable[[str], str]

CHARACTERS = frozenset({"zh", "ja", "ko", "th"})
"""Languages whose errors are counted in characters: most write no spaces, Korean writes them as it likes."""

_DOTTED_I = str.maketrans("I\u0130", "\u0131i")  # Turkish letters in lower case
_DOTS = re.compile(r"\.{2,}|[\u2025\u2026]")  # an ellipsis, however it is written, parts words
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc", "'''")

_OWN: dict[str, Callable[[], Normaliser]] = {
    "en": EnglishTextNormalizer,  # spelling, contractions, numbers
    "fr": FrenchTextNormalizer,  # numbers
    "es": SpanishTextNormalizer,  # numbers
    "ar": ArabicTextNormalizer,  # vowel signs, forms of alef, digits
    "ru": RussianTextNormalizer,  # ё
}


def metric(locale: str) -> str:
    """What is counted in a language: "WER" or "CER"."""
    return "CER" if language_of(locale) in CHARACTERS else "WER"


def normalise(text: str, locale: str) -> str:
    """Text without what nobody hears: case, punctuation, symbols, what is in brackets, invisible characters.

    As Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), appendix C, except that the
    combining marks of Indic scripts and Thai, which are vowels, stay (Manohar and Pillai, "What is lost in
    Normalization?", 2024).
    """
    language = language_of(locale)
    text = _DOTS.sub(" ", unicodedata.normalize("NFC", text)).translate(_APOSTROPHES)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    if language in {"tr", "az"}:
        text = text.translate(_DOTTED_I)
    if language == "he":  # vowel points, which are rarely written
        text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return " ".join(word for word in _normaliser(language)(text).split() if any(map(_is_heard, word)))


def _is_heard(character: str) -> bool:
    """Whether it is read aloud: the English normaliser leaves a full stop here and there."""
    return character.isalnum() or character == "%" or unicodedata.category(character) == "Sc"


def units(text: str, locale: str) -> list[str]:
    """The normalised words of a text, or its characters without spaces: what an error rate counts."""
    spoken = normalise(text, locale).split()
    return list("".join(spoken)) if metric(locale) == "CER" else spoken


def words(text: str, locale: str) -> list[str]:
    """The words of a text as they are written, or its characters where those are compared."""
    return text.split() if metric(locale) == "WER" else units(text, locale)


@cache
def _normaliser(language: str) -> Normaliser:
    return _OWN[language]() if language in _OWN else BasicTextNormalizer(preserve_marks=True)
