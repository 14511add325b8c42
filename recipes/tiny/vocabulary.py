"""Lists the commonest words of a language, those that people write with a capital so, for `rare.py` to draw from.

    apt-get install hunspell hunspell-{de-de,en-us,it,nl,ru}
    pip install wordfreq
    python -m recipes.tiny.vocabulary --output WORK/vocabulary --locales de-DE en-US it-IT nl-NL ru-RU

`wordfreq` knows which words are common, in lower case; hunspell knows which are spelt well, and how.
"""

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path

DICTIONARIES = {"de-DE": "de_DE", "en-US": "en_US", "it-IT": "it_IT", "nl-NL": "nl", "ru-RU": "ru_RU"}


def correct(words: Sequence[str], dictionary: str) -> set[str]:
    """Those that hunspell's dictionary has."""
    command = ["hunspell", "-d", dictionary, "-i", "utf-8", "-G"]
    written = "\n".join(words).encode()
    done = subprocess.run(command, input=written, capture_output=True, check=True)  # noqa: S603 - no shell
    return set(done.stdout.decode().split())


def as_written(words: Sequence[str], locale: str) -> list[str]:
    """Words in lower case as they are written inside of a sentence; without those that are not spelt so."""
    dictionary = DICTIONARIES[locale]
    letters = [word for word in words if word.isalpha()]
    capitals = [word.capitalize() for word in letters]
    known = correct([*letters, *capitals], dictionary)
    pairs = zip(letters, capitals, strict=True)
    return [word if word in known else capital for word, capital in pairs if word in known or capital in known]


def main() -> None:
    """Reads the command line and writes `OUTPUT/<locale>.txt`, a word a line."""
    from wordfreq import top_n_list

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--locales", nargs="+", default=list(DICTIONARIES), choices=DICTIONARIES)
    parser.add_argument("--count", type=int, default=100_000, help="words that are looked at")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for locale in options.locales:
        words = as_written(top_n_list(locale[:2], options.count), locale)
        (options.output / f"{locale}.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
