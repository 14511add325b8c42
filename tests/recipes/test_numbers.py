"""Dates in words. ICU is Debian's, for its own interpreter."""

import subprocess
from pathlib import Path

import pytest

from recipes.tiny.text import ALPHABETS, fill_date, is_native

PYTHON = "/usr/bin/python3"
REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("d. MMMM y", "dritter Mai zweitausendvier"),
        ("MMMM d, y", "Mai dritter, zweitausendvier"),
        ("d 'de' MMMM 'de' y", "dritter de Mai de zweitausendvier"),
        ("d MMMM y 'г'.", "dritter Mai zweitausendvier года"),
    ],
)
def test_patterns_are_filled(pattern: str, expected: str) -> None:
    assert fill_date(pattern, "dritter", "Mai", "zweitausendvier") == expected


def with_icu(code: str) -> str:
    """What Debian's Python prints."""
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout


def has_icu() -> bool:
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", "import icu"], capture_output=True, check=False).returncode == 0


needs_icu = pytest.mark.skipif(not has_icu(), reason="PyICU is built by distributions; python3-icu is not installed")


@needs_icu
@pytest.mark.parametrize(
    ("locale", "first", "twenty_first"),
    [
        ("de-DE", "erster Mai zweitausendvier", "einundzwanzigster März neunzehnhundertvierundachtzig"),
        ("en-US", "May first, two thousand four", "March twenty-first, nineteen eighty-four"),
        ("nl-NL", "een mei tweeduizendvier", "eenentwintig maart negentienvierentachtig"),
        ("it-IT", "primo maggio duemilaquattro", "ventuno marzo millenovecentottantaquattro"),
        (
            "ru-RU",
            "первое мая две тысячи четвертого года",
            "двадцать первое марта одна тысяча девятьсот восемьдесят четвертого года",
        ),
        ("fr-FR", "premier mai deux mille quatre", "vingt-et-un mars dix-neuf-cent quatre-vingt-quatre"),
        ("es-ES", "uno de mayo de dos mil cuatro", "veintiuno de marzo de mil novecientos ochenta y cuatro"),
        ("pt-BR", "primeiro de maio de dois mil e quatro", "vinte e um de março de mil novecentos e oitenta e quatro"),
        ("sv-SE", "första maj tjugohundrafyra", "tjugoförsta mars nittonhundraåttiofyra"),
        ("tr-TR", "bir Mayıs iki bin dört", "yirmi bir Mart bin dokuz yüz seksen dört"),
    ],
)
def test_dates_are_read_as_each_language_reads_them(locale: str, first: str, twenty_first: str) -> None:
    code = (
        "from datetime import date; from recipes.tiny.numbers import clean, spell_date;"
        f"print(*(clean(spell_date(day, {locale!r})) for day in (date(2004, 5, 1), date(1984, 3, 21))), sep='\\n')"
    )
    assert with_icu(code).splitlines() == [first, twenty_first]


@needs_icu
def test_lines_are_the_same_every_time_and_can_be_written() -> None:
    locales = [locale for locale in ALPHABETS if locale != "ja-JP"]
    code = (
        f"from recipes.tiny.numbers import lines; print(*(x for y in {locales!r} for x in [y, *lines(y)]), sep='\\n')"
    )
    printed = with_icu(code)
    assert with_icu(code) == printed
    sections: dict[str, list[str]] = {}
    for line in printed.splitlines():
        if line in locales:
            sections[line] = lines = []
        else:
            lines.append(line)
    for locale, sentences in sections.items():
        assert len(sentences) > (140 if locale in {"pl-PL", "uk-UA"} else 180)
        assert [sentence for sentence in sentences if not is_native(sentence, locale)] == []
        assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in sentences)


@needs_icu
def test_counting_names_every_number_once() -> None:
    code = "from recipes.tiny.numbers import counting; print(*(x for y in ('it-IT', 'tr-TR') for x in counting(y, 20)))"
    printed = with_icu(code)
    assert printed.startswith("Zero. Uno. Due. Tre. Quattro.")
    assert "Venti. Sıfır. Bir. İki." in printed
    assert printed.count(".") == 2 * 21
