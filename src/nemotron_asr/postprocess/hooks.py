"""Functions that change finished segments: one after the other, or one for each language."""

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Protocol, runtime_checkable

from nemotron_asr.errors import LanguageError
from nemotron_asr.events import Segment, Word
from nemotron_asr.languages import AUTO, canonical, language_of

Postprocessor = Callable[[Segment], Segment]
"""What takes a finished segment and gives it back, changed or not."""

Postprocess = Postprocessor | Mapping[str, Postprocessor]
"""One for all segments, or one for each language or locale."""

Edit = tuple[int, int, str]
"""Words from the first up to, not including, the second number, and what is to be written instead."""


@runtime_checkable
class Hiding(Protocol):
    """A postprocessor that has a say in partials too."""

    def __call__(self, segment: Segment, /) -> Segment:
        """The finished segment, as it is to be read."""

    def partial(self, segment: Segment, /) -> Segment | None:
        """What may be seen of an unfinished segment, if anything: how the finished one will begin."""


def shown(step: Postprocessor, segment: Segment) -> Segment | None:
    """What may be seen of an unfinished segment: all of it, unless a postprocessor is `Hiding`."""
    return step.partial(segment) if isinstance(step, Hiding) else segment


def chain(*steps: Postprocessor) -> Postprocessor:
    """One after the other."""
    return _Chain(steps)


@dataclass(frozen=True)
class _Chain:
    steps: tuple[Postprocessor, ...]

    def __call__(self, segment: Segment, /) -> Segment:
        return reduce(lambda done, step: step(done), self.steps, segment)

    def partial(self, segment: Segment, /) -> Segment | None:
        left: Segment | None = segment
        for step in self.steps:
            left = shown(step, left) if left else None
        return left


def by_language(postprocess: Postprocess, prompts: Mapping[str, int] | None = None) -> Postprocessor:
    """Choose by the segment's language: its locale (`de-DE`), else its language (`de`), else leave it as it is.

    Args:
        postprocess: one postprocessor for all languages, or one for each.
        prompts: the model's own table, which may have other languages beside the known ones; see `languages.resolve`.

    Raises:
        LanguageError: a language that nobody knows.
    """
    if not isinstance(postprocess, Mapping):
        return postprocess
    return _ByLanguage({_key(language, prompts): step for language, step in postprocess.items()})


@dataclass(frozen=True)
class _ByLanguage:
    steps: Mapping[str, Postprocessor]

    def __call__(self, segment: Segment, /) -> Segment:
        return self._step(segment)(segment)

    def partial(self, segment: Segment, /) -> Segment | None:
        return shown(self._step(segment), segment)

    def _step(self, segment: Segment) -> Postprocessor:
        locale = segment.language or ""
        return self.steps.get(locale) or self.steps.get(language_of(locale)) or chain()


def _key(language: str, prompts: Mapping[str, int] | None) -> str:
    """The locale that a name means, or the language, if it names no country."""
    try:
        locale = canonical(language)
    except LanguageError:
        locale = canonical(language, prompts)
    if locale == AUTO:
        raise LanguageError(f"postprocess has {language!r}, which no segment's language is; give one function for all")
    plain = language.strip().lower()
    return plain if plain == language_of(locale) else locale


def rewrite(segment: Segment, edits: Iterable[Edit]) -> Segment:
    """Write words differently, in the text too.

    Args:
        segment: a segment.
        edits: in order and apart. What several words become is one word, which lasts from the start of the first to the
            end of the last; its confidence is their geometric mean. Words that become "" are left out.

    Raises:
        ValueError: an edit is of no word.
    """
    place = places(segment)
    words, text, done, position = list(segment.words[:0]), "", 0, 0
    for first, last, written in edits:
        if not 0 <= first < last <= len(place):
            raise ValueError(f"words {first} to {last} are none of the {len(place)} of this segment")
        words += segment.words[done:first]
        text += segment.text[position : place[first].start] + written
        done, position = last, place[last - 1].stop
        if written:
            words.append(_one(segment.words[first:last], written))
        elif segment.text[position : position + 1] == " " and text[-1:] in {"", " "}:
            position += 1  # one of the two spaces around it goes, too
    text += segment.text[position:]
    return replace(segment, text=text.rstrip() if len(words) < done else text, words=(*words, *segment.words[done:]))


def _one(spoken: Sequence[Word], written: str) -> Word:
    """What some words become."""
    confidence = round(math.prod(word.confidence for word in spoken) ** (1 / len(spoken)), 4)
    return replace(spoken[0], word=written, end=spoken[-1].end, confidence=confidence)


def replace_text(segment: Segment, parts: Iterable[Edit]) -> Segment:
    """Write parts of the text differently, which is how packages for text normalisation tell what they change.

    Args:
        segment: a segment.
        parts: in order, each from the first up to, not including, the second character of the text. It may begin and
            end within a word, the rest of which stays. Of parts that share a word only the first is written.
    """
    place, edits, done = places(segment), list[Edit](), 0
    for start, end, written in parts:
        first = sum(word.stop <= start for word in place)
        last = sum(word.start < end for word in place)
        if done <= first < last:
            before, after = segment.text[place[first].start : start], segment.text[end : place[last - 1].stop]
            edits.append((first, last, before + written + after))
            done = last
    return rewrite(segment, edits)


def places(segment: Segment) -> list[range]:
    """Where each word is in the text.

    Raises:
        ValueError: one is not.
    """
    found, position = [], 0
    for word in segment.words:
        start = segment.text.find(word.word, position)
        if start < 0:
            raise ValueError(f"word {word.word!r} is not in {segment.text[position:]!r}, the rest of the text")
        position = start + len(word.word)
        found.append(range(start, position))
    return found


def is_letter(character: str) -> bool:
    """Whether it is part of a word: a letter, a mark upon one, or a digit."""
    return unicodedata.category(character)[0] in "LMN"
