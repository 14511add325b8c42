"""Writes numbers, years, months and weekdays in words, as sentences for synthesize.py.

    /usr/bin/python3 -m recipes.tiny.numbers --output WORK/numbers

Needs PyICU (Debian's python3-icu), whose rules spell numbers in every locale. Writes `OUTPUT/<locale>.txt`.
"""

import argparse
import random
from pathlib import Path

import icu

from recipes.tiny.text import ALPHABETS, clean


def lines(locale: str) -> list[str]:
    """Returns some 150 lines for `locale`: the same ones every time."""
    dice = random.Random(locale)
    region = icu.Locale(locale.replace("-", "_"))
    cardinal = icu.RuleBasedNumberFormat(icu.URBNFRuleSetTag.SPELLOUT, region)
    names = icu.DateFormatSymbols(region)
    words = [cardinal.format(n) for n in range(21)]
    words += [cardinal.format(dice.randrange(10**digits)) for digits in (2, 3, 4, 6) for _ in range(12)]
    words += [cardinal.format(dice.randrange(1000) / 10) for _ in range(15)]
    words += [cardinal.format(dice.randint(1800, 2030), "%spellout-numbering-year") for _ in range(25)]
    words += [" ".join(cardinal.format(dice.randrange(10)) for _ in range(dice.randint(3, 7))) for _ in range(25)]
    words += [*names.getMonths(icu.DateFormatSymbols.STANDALONE, icu.DateFormatSymbols.WIDE), *names.getWeekdays()[1:]]
    return [_sentence(clean(x), region) for x in dict.fromkeys(words)]


def _sentence(words: str, region: icu.Locale) -> str:
    # ICU's capitals, because a Turkish i has a dot.
    return str(icu.UnicodeString(words[0]).toUpper(region)) + words[1:] + "."


def main() -> None:
    """Reads the command line and writes a file per locale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for <locale>.txt")
    parser.add_argument("--locales", nargs="+", choices=ALPHABETS, default=[x for x in ALPHABETS if x != "ja-JP"])
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for locale in options.locales:
        text = "\n".join(lines(locale)) + "\n"
        (options.output / f"{locale}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
