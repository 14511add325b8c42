"""Words that are not to be read: whole words of a list, of which only the first letter stays."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from nemotron_asr.errors import OptionError
from nemotron_asr.events import Segment, Word
from nemotron_asr.postprocess.hooks import Postprocessor, is_letter, places


def mask_words(unwanted: Iterable[str]) -> Postprocessor:
    """Leave only the first letter of words of a list: `f***`.

    Whole words are masked, in any case, and parts that a hyphen or an apostrophe sets apart; phrases of several words
    too. In a script without spaces, wherever the characters occur. A partial ends before what may become such a word.

    Args:
        unwanted: words and phrases.

    Raises:
        OptionError: there are none.
    """
    return _Mask(unwanted)


class _Mask:
    def __init__(self, unwanted: Iterable[str]) -> None:
        self._listed = frozenset(folded for entry in unwanted if (folded := _folded(entry)))
        if not self._listed:
            raise OptionError("the list of words to mask is empty")
        self._longest = max(map(len, self._listed))
        self._beginnings = {entry[:end] for entry in self._listed for end in range(1, len(entry) + 1)}

    def __call__(self, segment: Segment, /) -> Segment:
        text = segment.text
        for start, end in self._found(segment):
            text = text[: start + 1] + "".join(map(_masked, text[start + 1 : end])) + text[end:]
        return _cut(segment, text)

    def partial(self, segment: Segment, /) -> Segment | None:
        cut = _cut(segment, self(segment).text[: self._undecided(segment)].rstrip())
        return cut if cut.words else None

    def _undecided(self, segment: Segment) -> int:
        """Where that begins which may become an entry, or go on after one."""
        rests = ((start, _folded(segment.text[start:])) for start, _ in reversed(list(_parts(segment))))
        short = takewhile(lambda rest: len(rest[1]) <= self._longest, rests)
        return min((start for start, rest in short if rest in self._beginnings), default=len(segment.text))

    def _found(self, segment: Segment) -> Iterator[tuple[int, int]]:
        """Where the text has an entry, the longest that begins there; none within another."""
        parts, done = list(_parts(segment)), 0
        for number, (start, _) in enumerate(parts):
            if start < done:
                continue
            spans = ((end, _folded(segment.text[start:end])) for _, end in parts[number:])
            fitting = takewhile(lambda span: len(span[1]) <= self._longest, spans)
            found = [end for end, span in fitting if span in self._listed]
            if found:
                done = found[-1]
                yield start, done


def _cut(segment: Segment, text: str) -> Segment:
    """A segment with another text, as long or shorter, and what words it has of that."""
    words: list[Word] = []
    for word, place in zip(segment.words, places(segment), strict=True):
        if written := text[place.start : place.stop]:
            words.append(replace(word, word=written))
    end = words[-1].end if words and len(text) < len(segment.text) else segment.end
    return replace(segment, text=text, words=tuple(words), end=end)


def read_words(path: str | Path) -> list[str]:
    """The entries of a list: one a line, in UTF-8; a `#` at its beginning or after a space begins a comment.

    Raises:
        OptionError: there is no such file, it is no text, or nothing is in it.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: {getattr(error, 'strerror', None) or 'not a text in UTF-8'}") from error
    entries = [entry for line in lines if (entry := re.sub(r"(^|\s)#.*", "", line).strip())]
    if not entries:
        raise OptionError(f"{path}: no words in it; one a line is expected")
    return entries


def _parts(segment: Segment) -> Iterator[tuple[int, int]]:
    """Runs of letters and digits within words."""
    for place in places(segment):
        start = place.start
        for position in (*place, place.stop):
            if position == place.stop or not is_letter(segment.text[position]):
                if start < position:
                    yield start, position
                start = position + 1


def _masked(character: str) -> str:
    return "*" if is_letter(character) else character


def _folded(text: str) -> str:
    """A text without case and ways of writing the same; what begins a text also begins its folded form."""
    return " ".join(unicodedata.normalize("NFKD", text).casefold().split())
