"""Inverse text normalisation of numbers: spoken ones in digits, by the optional package text2num."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from nemotron_asr.errors import needs_extra
from nemotron_asr.events import Segment
from nemotron_asr.languages import language_of
from nemotron_asr.postprocess.hooks import Edit, Postprocessor, is_letter, rewrite

NUMBER_LANGUAGES = frozenset({"da", "de", "en", "es", "fr", "it", "nl", "pt"})
"""Languages whose numbers are known."""

_YEAR = re.compile(r"(1[7-9]|20) [1-9]\d")


def spoken_numbers(threshold: float = 10) -> Postprocessor:
    """Write numbers in digits in Danish, Dutch, English, French, German, Italian, Portuguese and Spanish.

    Cardinals, ordinals and decimals: `twenty-one` -> `21`, `vingt et unième` -> `21ème`, `zwei Komma fünf` -> `2,5`.

    Args:
        threshold: a number that stands alone is left in words if it is smaller.

    Raises:
        MissingExtraError: the package text2num is not installed.
    """
    find_numbers = _text_to_num().find_numbers

    def convert(segment: Segment) -> Segment:
        language = language_of(segment.language or "")
        if language not in NUMBER_LANGUAGES:
            return segment
        tokens = [token for number, word in enumerate(segment.words) for token in _tokens(word.word, number)]
        numbers = [(found.start, found.end, found.text) for found in find_numbers(tokens, language, threshold)]
        if language == "en":
            numbers = list(_with_years(numbers))
        return rewrite(segment, [_edit(tokens, *number) for number in numbers])

    return convert


def _with_years(numbers: Sequence[Edit]) -> Iterator[Edit]:
    """Nineteen ninety-five is 1995 and not 19 95; only English reads years in pairs."""
    rest = iter([*numbers, None])
    number = next(rest)
    while number is not None:
        following = next(rest)
        if following and number[1] == following[0] and _YEAR.fullmatch(f"{number[2]} {following[2]}"):
            number, following = (number[0], following[1], number[2] + following[2]), next(rest)
        yield number
        number = following


@dataclass(frozen=True)
class _Token:
    """What text2num looks at: a word without its punctuation, or the punctuation; its names are theirs."""

    written: str
    word: int

    def text(self) -> str:
        return self.written

    def nt_separated(self, _previous: "_Token") -> bool:
        return False

    def not_a_number_part(self) -> bool:
        return False


def _tokens(word: str, number: int) -> Iterator[_Token]:
    letters = [place for place, character in enumerate(word) if is_letter(character)] or [0, -1]
    inner = slice(letters[0], letters[-1] + 1)
    return (_Token(part, number) for part in (word[: inner.start], word[inner], word[inner.stop :]) if part)


def _edit(tokens: list[_Token], start: int, end: int, written: str) -> Edit:
    """A number among the tokens, with the punctuation around it."""
    first, last = tokens[start].word, tokens[end - 1].word
    before = "".join(token.written for token in tokens[:start] if token.word == first)
    after = "".join(token.written for token in tokens[end:] if token.word == last)
    return first, last + 1, before + written + after


def _text_to_num() -> ModuleType:
    try:
        return import_module("text_to_num")
    except ImportError:
        raise needs_extra("writing numbers in digits", "itn") from None
