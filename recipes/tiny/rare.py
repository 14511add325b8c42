"""Writes sentences of unlikely words, so that a model has to listen to them.

    python -m recipes.tiny.rare --sentences DATA/text --output WORK/rare --locales de-DE nl-NL en-US

In every sentence half of the longer words are replaced by others of the same language, drawn evenly from all that there
are, not by how common they are; in languages that join words, by two joined ones. No sense is made.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from recipes.tiny.units import sentences

LONG = 5  # letters of a word that may be replaced
SHARE = 0.5  # of those that are
JOINED = {"de-DE": 0.4, "nl-NL": 0.3}  # how many of the replacements are two words joined
STOPS = ".,?!:;"


class Words:
    """The longer words inside of sentences, each once, as they are written there."""

    def __init__(self, lines: Sequence[str], locale: str, dice: random.Random) -> None:
        inside = {word.strip(STOPS) for line in lines for word in line.split()[1:]}
        known = sorted(word for word in inside if len(word) >= LONG and word.replace("'", "").isalpha())
        self.capital, self.small = [w for w in known if w[0].isupper()], [w for w in known if w.islower()]
        self.joined, self.dice = JOINED.get(locale, 0.0), dice
        self.joins = self.capital if locale == "de-DE" else self.small  # German writes its nouns with capitals

    def instead_of(self, word: str) -> str:
        """Another word with a capital or without, as `word` has one."""
        stock = self.capital if word[0].isupper() else self.small
        if stock is self.joins and self.dice.random() < self.joined:
            return self.dice.choice(stock) + self.dice.choice(stock).lower()
        return self.dice.choice(stock)

    def vary(self, line: str) -> str:
        """A sentence with other words in it; its first word and all stops stay."""
        first, *rest = line.split()
        return " ".join([first, *(self._varied(word) for word in rest)])

    def _varied(self, word: str) -> str:
        bare = word.rstrip(STOPS)
        if len(bare) < LONG or not bare.isalpha() or self.dice.random() > SHARE:
            return word
        return self.instead_of(bare) + word[len(bare) :]


def main() -> None:
    """Reads the command line and writes `OUTPUT/<locale>.txt`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, required=True, help="folder of <locale>.txt, a sentence a line")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--locales", nargs="+", required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for locale in options.locales:
        dice = random.Random(locale)
        lines = sentences(options.sentences, locale, dice)
        words = Words(lines, locale, dice)
        text = "".join(words.vary(line) + "\n" for line in lines)
        (options.output / f"{locale}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
