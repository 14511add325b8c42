"""Writes sentences of unlikely words, so that a model has to listen to them.

    python -m recipes.tiny.rare --sentences DATA/text --output WORK/rare --locales de-DE nl-NL en-US
    python -m recipes.tiny.rare --sentences DATA/text --output WORK/longer --locales de-DE --seed second --join 0.8
    python -m recipes.tiny.rare --sentences DATA/text --output WORK/wide --locales ru-RU --vocabulary WORK/vocabulary

In every sentence half of the longer words are replaced by others of the same language, drawn evenly from all that there
are, not by how common they are; or from those of `vocabulary.py` that no sentence has, the common ones more often. In
languages that join words, some are two joined ones. No sense is made. With `--join` short German sentences become the
clauses of long ones.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from recipes.tiny.text import is_native
from recipes.tiny.units import sentences

LONG = 5  # letters of a word that may be replaced
COMMON = 2.0  # skew: the most common quarter of a vocabulary is drawn half of the time
JOINED = {"de-DE": 0.4, "nl-NL": 0.3}  # how many of the replacements are two words joined
STOPS = ".,?!:;"
LONGEST = 130  # letters of two sentences that become one
AND = (", und ", " und ", ", aber ", ", weil ")
OPENERS = frozenset(
    "Der Die Das Ein Eine Es Er Sie Ich Wir Du Man In Im Den Dem Diese Dieser Dieses Am Auf Mit Nach Aber Für Von "
    "Viele Alle Wenn Nur Mein Meine Unser Seine Bei Zur Zum".split()
)  # what a clause may begin with that is written small inside of a sentence


def unheard(folder: Path, lines: Sequence[str], locale: str) -> list[str]:
    """The words of `<locale>.txt` that no sentence has, in their order: the most common ones first."""
    heard = {word.strip(STOPS).lower() for line in lines for word in line.split()}
    words = (folder / f"{locale}.txt").read_text(encoding="utf-8").split()
    return [word for word in words if word.lower() not in heard and is_native(word, locale)]


def words_inside(lines: Sequence[str]) -> list[str]:
    """The words of sentences as they are written there, in order; not the first ones, which have a capital."""
    return sorted({word.strip(STOPS) for line in lines for word in line.split()[1:]})


class Words:
    """The longer ones of some words, to stand in for one another; with a `skew` above 1 the first ones more often."""

    def __init__(
        self, stock: Sequence[str], locale: str, dice: random.Random, share: float = 0.5, skew: float = 1.0
    ) -> None:
        known = [word for word in stock if len(word) >= LONG and word.replace("'", "").isalpha()]
        self.capital, self.small = [w for w in known if w[0].isupper()], [w for w in known if w.islower()]
        self.joined, self.dice, self.share, self.skew = JOINED.get(locale, 0.0), dice, share, skew
        self.joins = self.capital if locale == "de-DE" else self.small  # German writes its nouns with capitals

    def instead_of(self, word: str) -> str:
        """Another word with a capital or without, as `word` has one."""
        stock = self.capital if word[0].isupper() else self.small
        if stock is self.joins and self.dice.random() < self.joined:
            return self._drawn(stock) + self._drawn(stock).lower()
        return self._drawn(stock)

    def _drawn(self, stock: Sequence[str]) -> str:
        return stock[int(len(stock) * self.dice.random() ** self.skew)]

    def vary(self, line: str) -> str:
        """A sentence with other words in it; its first word and all stops stay."""
        first, *rest = line.split()
        return " ".join([first, *(self._varied(word) for word in rest)])

    def _varied(self, word: str) -> str:
        bare = word.rstrip(STOPS)
        if len(bare) < LONG or not bare.isalpha() or self.dice.random() > self.share:
            return word
        return self.instead_of(bare) + word[len(bare) :]


def join(lines: Sequence[str], dice: random.Random, share: float) -> Iterator[str]:
    """German sentences, of which some become one with the next; so many of those that can."""
    place = 0
    while place < len(lines):
        first, second = lines[place], lines[place + 1] if place + 1 < len(lines) else ""
        if dice.random() < share and _joinable(first, second):
            yield first[:-1] + dice.choice(AND) + second[0].lower() + second[1:]
            place += 1
        else:
            yield first
        place += 1


def _joinable(first: str, second: str) -> bool:
    return first.endswith(".") and len(first) + len(second) < LONGEST and second.split(" ", maxsplit=1)[0] in OPENERS


def main() -> None:
    """Reads the command line and writes `OUTPUT/<locale>.txt`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path, required=True, help="folder of <locale>.txt, a sentence a line")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--locales", nargs="+", required=True)
    parser.add_argument("--seed", default="", help="another word gives other sentences")
    parser.add_argument(
        "--vocabulary", type=Path, help="folder of <locale>.txt, a word a line: of these, instead of the sentences'"
    )
    parser.add_argument("--share", type=float, default=0.5, help="of the longer words that are replaced")
    parser.add_argument("--join", type=float, default=0.0, help="share of the sentences that go on in the next; German")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for locale in options.locales:
        dice = random.Random(options.seed + locale)
        lines = sentences(options.sentences, locale, dice)
        skew = COMMON if options.vocabulary else 1.0
        stock = unheard(options.vocabulary, lines, locale) if options.vocabulary else words_inside(lines)
        words = Words(stock, locale, dice, options.share, skew)
        varied = [words.vary(line) for line in lines]
        if options.join and locale == "de-DE":
            varied = list(join(varied, dice, options.join))
        (options.output / f"{locale}.txt").write_text("\n".join(varied) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
