"""Writes numbers, years, months, weekdays and dates in words, as sentences for synthesize.py.

    /usr/bin/python3 -m recipes.tiny.numbers --output WORK/numbers
    /usr/bin/python3 -m recipes.tiny.numbers --output WORK/counting --count-to 100

Needs PyICU (Debian's python3-icu), whose rules spell numbers in every locale. Writes `OUTPUT/<locale>.txt`.
"""

import argparse
import random
from datetime import date
from pathlib import Path

import icu

from recipes.tiny.text import ALPHABETS, clean, fill_date

_NUMBER = "%spellout-numbering"
DAYS = {
    "de-DE": ("%spellout-ordinal-r", "%spellout-ordinal-r"),
    "en-US": ("%spellout-ordinal", "%spellout-ordinal"),
    "nl-NL": (_NUMBER, _NUMBER),
    "it-IT": ("%spellout-ordinal-masculine", _NUMBER),
    "ru-RU": ("%spellout-ordinal-neuter", "%spellout-ordinal-neuter"),
    "fr-FR": ("%spellout-ordinal-masculine", _NUMBER),
    "es-ES": (_NUMBER, _NUMBER),
    "pt-BR": ("%spellout-ordinal-masculine", _NUMBER),
    "sv-SE": ("%spellout-ordinal-reale", "%spellout-ordinal-reale"),
    "tr-TR": (_NUMBER, _NUMBER),
}
"""ICU's rules for the first day of a month and for the others, as they are read in a date.

Polish and Ukrainian are left out: they read ordinals, for which ICU has no rules there.
"""

FIRST, LAST = date(1800, 1, 1), date(2030, 12, 31)


def lines(locale: str) -> list[str]:
    """Returns some 150 lines for `locale`, and 40 dates where there are rules for them: the same ones every time."""
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
    words += dates(locale)
    return [_sentence(clean(x), region) for x in dict.fromkeys(words)]


def counting(locale: str, last: int) -> list[str]:
    """Returns every number from zero to `last`, one a line."""
    region = icu.Locale(locale.replace("-", "_"))
    cardinal = icu.RuleBasedNumberFormat(icu.URBNFRuleSetTag.SPELLOUT, region)
    return [_sentence(clean(cardinal.format(number)), region) for number in range(last + 1)]


def dates(locale: str, count: int = 40) -> list[str]:
    """Returns dates of two centuries, the same ones every time; none for a locale that is not in `DAYS`."""
    dice = random.Random(f"dates {locale}")
    drawn = [date.fromordinal(dice.randint(FIRST.toordinal(), LAST.toordinal())) for _ in range(count)]
    return [spell_date(day, locale) for day in drawn] if locale in DAYS else []


def spell_date(day: date, locale: str) -> str:
    """Returns a date in words: CLDR's long pattern with the month's name and ICU's words for day and year.

    Raises:
        KeyError: if `locale` is not in `DAYS`.
    """
    region = icu.Locale(locale.replace("-", "_"))
    number = icu.RuleBasedNumberFormat(icu.URBNFRuleSetTag.SPELLOUT, region)
    month = icu.DateFormatSymbols(region).getMonths(icu.DateFormatSymbols.FORMAT, icu.DateFormatSymbols.WIDE)
    pattern = icu.DateFormat.createDateInstance(icu.DateFormat.LONG, region).toPattern()
    year = number.format(day.year, "%spellout-numbering-year")
    return fill_date(pattern, number.format(day.day, DAYS[locale][day.day > 1]), month[day.month - 1], year)


def _sentence(words: str, region: icu.Locale) -> str:
    # ICU's capitals, because a Turkish i has a dot.
    return str(icu.UnicodeString(words[0]).toUpper(region)) + words[1:] + "."


def main() -> None:
    """Reads the command line and writes a file per locale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for <locale>.txt")
    parser.add_argument("--locales", nargs="+", choices=ALPHABETS, default=[x for x in ALPHABETS if x != "ja-JP"])
    parser.add_argument("--count-to", type=int, help="only the numbers from zero to this one, each alone")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for locale in options.locales:
        chosen = counting(locale, options.count_to) if options.count_to else lines(locale)
        text = "\n".join(chosen) + "\n"
        (options.output / f"{locale}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
