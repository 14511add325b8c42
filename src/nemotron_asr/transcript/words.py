"""Tokens -> words, with times on the clock of 80 ms."""

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import dropwhile

from nemotron_asr.config import FRAME_SECONDS
from nemotron_asr.decoding.greedy import Emission
from nemotron_asr.events import Word
from nemotron_asr.tokenizer import Tokenizer

_ONE_WORD_PER_CHARACTER = (
    (0x0E01, 0x0EDF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFF66, 0xFF9D),  # half-width Katakana
    (0x20000, 0x3FFFF),  # Han, further extensions
)

_OPENING = {"Ps", "Pi"}

_BEFORE_CONSONANTS, _AFTER_CONSONANTS = frozenset("เแโใไເແໂໃໄ"), frozenset("ะาำๅๆฯະາຳໆ")
"""Vowels and signs of Thai and Lao that are no word without the consonant, although Unicode calls them letters."""

_BEGINS_WORDS = frozenset(
    "\"'#%&*@/\\_\N{INVERTED QUESTION MARK}\N{INVERTED EXCLAMATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
)
"""Punctuation that may begin a word although Unicode does not call it opening; and so may dashes."""

_ENDS_SENTENCES = frozenset(
    ".?!\N{HORIZONTAL ELLIPSIS}\N{IDEOGRAPHIC FULL STOP}\N{FULLWIDTH FULL STOP}\N{FULLWIDTH QUESTION MARK}"
    "\N{FULLWIDTH EXCLAMATION MARK}\N{ARABIC QUESTION MARK}\N{ARABIC FULL STOP}\N{DEVANAGARI DANDA}"
)

_each_once = lru_cache(4096)
"""For what is asked of every character of every partial."""

Character = tuple[str, int]
"""A character and the index of the token that brought it."""


@_each_once
def is_spoken(text: str) -> bool:
    """Whether there is anything in a text that is heard: not spaces and punctuation alone."""
    return any(not character.isspace() and unicodedata.category(character)[0] != "P" for character in text)


def begins_word(text: str) -> bool:
    """Whether a token's text begins a word rather than going on with one."""
    return is_spoken(text) and _apart(text[0])


def goes_on(text: str) -> bool:
    """Whether a token's text goes on with the word before it."""
    return bool(text) and not _apart(text[0]) and not closes(text)


def closes(text: str) -> bool:
    """Whether a text ends what was before it: no part of it can begin a segment."""
    return bool(text.strip()) and all(map(_closes, text))


def ends_within_word(text: str) -> bool:
    """Whether a word that a text ends with may go on."""
    return bool(text) and not _closes(text[-1])


def ends_sentence(text: str) -> bool:
    """Whether a text ends where a sentence does."""
    return text.rstrip()[-1:] in _ENDS_SENTENCES


def characters(tokenizer: Tokenizer, tokens: Sequence[Emission]) -> list[Character]:
    """The text of a segment. Closing punctuation at its start belonged to the segment before, and is left out."""
    brought = [(c, i) for i, token in enumerate(tokens) for c in tokenizer.text(token.token)]
    space = [character for character in brought[:1] if character[0].isspace()]
    return space + list(dropwhile(lambda character: _closes(character[0]), brought))


def words(
    text: Sequence[Character], tokens: Sequence[Emission], language: str | None, floor: int, duration: float
) -> list[Word]:
    """Cut a segment into words, each at least a frame long and none before the end of the one before it.

    Args:
        text: the segment's characters.
        tokens: its tokens.
        language: of all its words.
        floor: the frame before which no word begins.
        duration: seconds of audio, in which all words lie.
    """
    placed, earliest = [], seconds(floor)
    for word in _split(text):
        said = tokens[word[0][1] : word[-1][1] + 1]
        first, last = _span(word, tokens)
        start = max(first, floor)
        floor = max(last, start) + 1
        spelt = "".join(c for c, _ in word)
        placed.append(Word(spelt, seconds(start), seconds(floor), confidence(said), language))
    return within(placed, earliest, duration)


def within(placed: Sequence[Word], earliest: float, duration: float) -> list[Word]:
    """Words of which the last may lie in a frame that reaches beyond the audio, or begins there, within the audio.

    Each keeps a frame, or the rest of one, while there is room: those before it make way.

    Args:
        placed: words on the clock of frames.
        earliest: the time before which none begins.
        duration: of the audio, in seconds.
    """
    moved: list[Word] = []
    for number, word in enumerate(reversed(placed)):
        if word.end <= duration:
            return [*placed[: len(placed) - number], *reversed(moved)]
        latest = max(seconds(frames_until(duration) - 1), min(earliest, duration))
        moved.append(replace(word, start=min(word.start, latest), end=duration))
        duration = moved[-1].start
    return moved[::-1]


def confidence(tokens: Sequence[Emission]) -> float:
    """How sure the model was of the token of a word that it was least sure of: of all means the one that tells most.

    The likeliest token is at least as probable as its distribution is certain. One that is less so was not the
    model's choice, but a boosted phrase's, say: the model was no surer of it than it was probable.
    """
    return round(min(min(token.confidence, math.exp(token.logprob)) for token in tokens), 4)


def seconds(frame: float) -> float:
    """The time at which a frame begins."""
    return round(frame * FRAME_SECONDS, 3)


def frames_until(time: float) -> int:
    """The first frame that does not begin before a time."""
    return math.ceil(round(time / FRAME_SECONDS, 3))


@_each_once
def alone(character: str) -> bool:
    """Whether a character is a word of its own, its script having no spaces."""
    return any(low <= ord(character) <= high for low, high in _ONE_WORD_PER_CHARACTER)


def _span(word: Sequence[Character], tokens: Sequence[Emission]) -> tuple[int, int]:
    """The first and the last frame in which a word was heard: punctuation is not, and may come long after it."""
    frames = [tokens[i].frame for c, i in word if is_spoken(c)] or [tokens[i].frame for _, i in word]
    return frames[0], frames[-1]


def _split(text: Iterable[Character]) -> Iterator[list[Character]]:
    """Cut at spaces, and around every character of a script that writes none."""
    word: list[Character] = []
    of_its_own = False  # one of its characters is a word
    for character, token in text:
        space = character.isspace()
        script_edge = not _attaches(character) and (of_its_own or alone(character))
        if word and (space or (script_edge and not _opens(word))):
            yield word
            word, of_its_own = [], False
        if not space:
            word.append((character, token))
            of_its_own = of_its_own or alone(character)
    if word:
        yield word


def _apart(character: str) -> bool:
    """Whether a character is no part of the word before it, whatever that is."""
    return character.isspace() or (alone(character) and not _attaches(character))


@_each_once
def _closes(character: str) -> bool:
    """Whether a character cannot begin a text: a space, or punctuation that ends something."""
    category = unicodedata.category(character)
    closing = category[0] == "P" and category not in {*_OPENING, "Pd"} and character not in _BEGINS_WORDS
    return closing or character.isspace()


@_each_once
def _attaches(character: str) -> bool:
    """Whether a character belongs to the one before it: marks, and punctuation that does not open anything."""
    category = unicodedata.category(character)
    return (category[0] in "MP" and category not in _OPENING) or character in _AFTER_CONSONANTS


def _opens(word: Sequence[Character]) -> bool:
    """Whether the end of a word so far belongs to what follows: a vowel, or opening punctuation that is all of it."""
    opening = all(unicodedata.category(character) in _OPENING for character, _ in word)
    return opening or word[-1][0] in _BEFORE_CONSONANTS
