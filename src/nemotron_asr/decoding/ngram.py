"""Word n-gram models in ARPA files, read by KenLM (Heafield 2011) as it comes with flashlight-text."""

import math
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from nemotron_asr.errors import OptionError, needs_extra
from nemotron_asr.postprocess.hooks import is_letter

UNKNOWN = "<unk>"

MAX_WORDS = 10_000_000
"""Words that a model may know."""


class WordModel(Protocol):
    """What tells how likely a word is after others."""

    def start(self) -> Any:
        """The state before the first word."""

    def score(self, state: Any, word: str) -> tuple[Any, float]:
        """The state after a word, and the natural logarithm of its probability."""


def spoken(word: str) -> str:
    """A word as language models have it: lower case, no punctuation around it."""
    edge = [i for i, character in enumerate(word) if is_letter(character)]
    return word[edge[0] : edge[-1] + 1].lower() if edge else ""  # not casefold: "ß" is no "ss" there


class NGram:
    """An n-gram model of words.

    Words are looked up as they are written, then as `spoken` has them; others are unknown, which the model scores, too.
    """

    def __init__(self, path: str | Path) -> None:
        """Read an ARPA file.

        Raises:
            MissingExtraError: flashlight-text is not installed.
            OptionError: the file is missing or no ARPA file.
        """
        try:
            kenlm = import_module("flashlight.lib.text.decoder.kenlm")
            dictionary = import_module("flashlight.lib.text.dictionary")
        except ImportError:
            raise needs_extra("a language model, with Python 3.11 or 3.12,", "lm") from None
        words = dict.fromkeys([UNKNOWN, *_words(Path(path))])
        self._numbers = {word: number for number, word in enumerate(words)}
        try:
            self._model = kenlm.KenLM(str(path), dictionary.Dictionary(list(words)))
        except RuntimeError as error:
            raise OptionError(f"language model {path} is not an ARPA file: {str(error).splitlines()[-1]}") from None

    def start(self) -> Any:
        """The state at the beginning of a sentence."""
        return self._model.start(False)

    def score(self, state: Any, word: str) -> tuple[Any, float]:
        """The state after a word, and the natural logarithm of its probability."""
        number = self._numbers.get(word)
        number = self._numbers.get(spoken(word), self._numbers[UNKNOWN]) if number is None else number
        after, log10 = self._model.score(state, number)
        return after, log10 * math.log(10)


def _words(path: Path) -> Iterator[str]:
    """The words of an ARPA file."""
    try:
        with path.open(encoding="utf-8") as file:
            entries = iter(file)
            if not any(line.startswith("\\1-grams:") for line in islice(entries, 1000)):
                raise OptionError(f"language model {path} is not an ARPA file: it has no 1-grams")
            for line in islice(entries, MAX_WORDS):
                if line.startswith("\\"):
                    break
                if len(parts := line.split()) > 1:
                    yield parts[1]
    except OSError as error:
        raise OptionError(f"language model {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise OptionError(f"language model {path} is not an ARPA file: it is no text in UTF-8") from None
