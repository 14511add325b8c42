"""Writes utterances of one to three words, so that a model does not hear a sentence in every word.

    python -m recipes.tiny.short --sentences DATA/text --numbers WORK/numbers --output WORK/short

Six of ten are made of the single words in `NUMBERS/<locale>.txt` (numbers, months, weekdays), the others of words of
the sentences, drawn evenly from all that there are.
"""

import argparse
import random
from collections.abc import Collection, Sequence
from pathlib import Path

from recipes.tiny.text import clean, is_native

STOPS = ".,?!:;"
DOTTED = "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}"  # of which `lower` makes two characters
NUMBER_SHARE = 0.6
LENGTHS, OFTEN = (1, 2, 3), (0.4, 0.4, 0.2)  # words of an utterance, and how often
SHORTEST = 3  # letters of a sentence's word


def single_words(lines: Sequence[str], proper: Collection[str]) -> list[str]:
    """The lines that are one word, without stop and, unless they are among the `proper` names, without capital."""
    single = {line.strip(STOPS) for line in lines if len(line.split()) == 1}
    return sorted({word if word in proper else word.replace(DOTTED, "i").lower() for word in single})


def words_of(lines: Sequence[str], locale: str) -> list[str]:
    """The words inside of sentences, each once."""
    inside = {word.strip(STOPS) for line in lines for word in clean(line).split()[1:]}
    return sorted(word for word in inside if len(word) >= SHORTEST and word.isalpha() and is_native(word, locale))


def as_sentence(line: str, locale: str) -> str:
    """With a capital, of which Turkish has its own for an i, and a full stop."""
    capital = DOTTED if locale == "tr-TR" and line[0] == "i" else line[0].upper()
    return capital + line[1:] + "."


def utterances(numbers: Sequence[str], words: Sequence[str], dice: random.Random, count: int) -> list[str]:
    """Up to `count` utterances, each once, in words alone."""
    made: dict[str, None] = {}
    for _ in range(20 * count):
        if len(made) == count:
            break
        stock = numbers if dice.random() < NUMBER_SHARE else words
        length = dice.choices(LENGTHS, OFTEN)[0]
        made[" ".join(dice.choice(stock) for _ in range(length))] = None
    return list(made)


def main() -> None:
    """Reads the command line and writes `OUTPUT/<locale>.txt`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, required=True, help="folder of <locale>.txt, a sentence a line")
    parser.add_argument("--numbers", type=Path, required=True, help="folder that numbers.py has written")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=900, help="utterances of a locale")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for file in sorted(options.numbers.glob("*.txt")):
        locale, dice = file.stem, random.Random(file.stem)
        words = words_of((options.sentences / file.name).read_text(encoding="utf-8").splitlines(), locale)
        numbers = single_words(file.read_text(encoding="utf-8").splitlines(), set(words))
        lines = [as_sentence(line, locale) for line in utterances(numbers, words, dice, options.count)]
        (options.output / file.name).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
