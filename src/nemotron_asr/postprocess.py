"""What may be done to a finished segment: Segment -> Segment, per language; a filter of words, numbers in digits.

Only finals are changed, never partials: their text must only grow. Whatever is done, the words still say what the text
says, and keep the times at which they were spoken.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from types import ModuleType

from nemotron_asr.errors import MissingExtraError, OptionError
from nemotron_asr.events import Segment
from nemotron_asr.languages import canonical

Postprocessor = Callable[[Segment], Segment]
"""What takes a finished segment and gives it back, changed or not."""

Postprocess = Postprocessor | Mapping[str, Postprocessor]
"""One for all segments, or one for each language or locale."""

_YEAR = re.compile(r"(1[7-9]|20) [1-9]\d")

Edit = tuple[int, int, str]
"""Words from the first up to, not including, the second number, and what is to be written instead."""

NUMBER_LANGUAGES = frozenset({"da", "de", "en", "es", "fr", "it", "nl", "pt"})
"""Languages whose numbers `spoken_numbers` knows."""


def chain(*steps: Postprocessor) -> Postprocessor:
    """One after the other."""
    return lambda segment: reduce(lambda done, step: step(done), steps, segment)


def by_language(postprocess: Postprocess) -> Postprocessor:
    """Choose by the segment's language: its locale (`de-DE`), else its language (`de`), else leave it as it is.

    Raises:
        LanguageError: a language that nobody knows.
    """
    if not isinstance(postprocess, Mapping):
        return postprocess
    table = {canonical(key) if "-" in key or "_" in key else _known(key): step for key, step in postprocess.items()}

    def choose(segment: Segment) -> Segment:
        locale = segment.language or ""
        step = table.get(locale) or table.get(_base(locale))
        return step(segment) if step else segment

    return choose


def _known(language: str) -> str:
    canonical(language)
    return language.lower()


def _base(locale: str) -> str:
    return locale.partition("-")[0]


def rewrite(segment: Segment, edits: Iterable[Edit]) -> Segment:
    """Write words differently, in the text too.

    Args:
        segment: a segment.
        edits: in order and apart. What several words become is one word, which lasts from the start of the first to the
            end of the last; its confidence is their geometric mean.
    """
    places = _places(segment)
    words, text, done, position = list(segment.words[:0]), "", 0, 0
    for first, last, written in edits:
        spoken = segment.words[first:last]
        confidence = round(math.prod(word.confidence for word in spoken) ** (1 / len(spoken)), 4)
        words += segment.words[done:first]
        words.append(replace(spoken[0], word=written, end=spoken[-1].end, confidence=confidence))
        text += segment.text[position : places[first].start] + written
        done, position = last, places[last - 1].stop
    return replace(segment, text=text + segment.text[position:], words=(*words, *segment.words[done:]))


def _places(segment: Segment) -> list[range]:
    """Where each word is in the text."""
    places, position = [], 0
    for word in segment.words:
        start = segment.text.index(word.word, position)
        position = start + len(word.word)
        places.append(range(start, position))
    return places


# Words that are not to be read


def mask_words(unwanted: Iterable[str]) -> Postprocessor:
    """Leave only the first letter of words of a list: `f***`.

    Whole words are masked, in any case, and parts that a hyphen or an apostrophe sets apart; phrases of several words
    too. In a script without spaces, wherever the characters occur.

    Args:
        unwanted: words and phrases.

    Raises:
        OptionError: there are none.
    """
    listed = frozenset(folded for entry in unwanted if (folded := _folded(entry)))
    if not listed:
        raise OptionError("the list of words to mask is empty")
    longest = max(map(len, listed))

    def mask(segment: Segment) -> Segment:
        text = segment.text
        for start, end in list(_found(segment, listed, longest)):
            text = text[: start + 1] + "".join(map(_masked, text[start + 1 : end])) + text[end:]
        words = (
            replace(word, word=text[place.start : place.stop])
            for word, place in zip(segment.words, _places(segment), strict=True)
        )
        return replace(segment, text=text, words=tuple(words))

    return mask


def read_words(path: str | Path) -> list[str]:
    """The entries of a list: one a line, in UTF-8; empty lines and those that begin with `#` do not count.

    Raises:
        OptionError: there is no such file, it is no text, or nothing is in it.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: {getattr(error, 'strerror', None) or 'not a text in UTF-8'}") from error
    entries = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not entries:
        raise OptionError(f"{path}: no words in it; one a line is expected")
    return entries


def _found(segment: Segment, listed: Collection[str], longest: int) -> Iterator[tuple[int, int]]:
    """Where the text has an entry, the longest that begins there; none within another."""
    parts, done = list(_parts(segment)), 0
    for number, (start, _) in enumerate(parts):
        if start < done:
            continue
        spans = ((end, _folded(segment.text[start:end])) for _, end in parts[number:])
        found = [end for end, span in takewhile(lambda it: len(it[1]) <= longest, spans) if span in listed]
        if found:
            done = found[-1]
            yield start, done


def _parts(segment: Segment) -> Iterator[tuple[int, int]]:
    """Runs of letters and digits within words."""
    for place in _places(segment):
        start = place.start
        for position in (*place, place.stop):
            if position == place.stop or not _is_letter(segment.text[position]):
                if start < position:
                    yield start, position
                start = position + 1


def _masked(character: str) -> str:
    return "*" if _is_letter(character) else character


def _is_letter(character: str) -> bool:
    """Whether it is part of a word: a letter, a mark upon one, or a digit."""
    return unicodedata.category(character)[0] in "LMN"


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


# Numbers in digits


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
        language = _base(segment.language or "")
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
    letters = [place for place, character in enumerate(word) if _is_letter(character)] or [0, -1]
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
        raise MissingExtraError("numbers in digits need an extra: pip install 'nemotron-asr[itn]'") from None
