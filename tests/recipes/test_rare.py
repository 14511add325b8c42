"""Sentences with other words in them."""

import random
from collections import Counter
from pathlib import Path

import pytest

from recipes.tiny.rare import LONG, STOPS, Words, join, unheard, words_inside

LINES = [
    "Der Hund bellt laut in diesem Garten.",
    "Manche Häuser haben keine Fenster, aber eine Treppe.",
    "Wir sehen morgen einen Kirschbaum und gehen dann nach Hause.",
]


def bare(line: str) -> list[str]:
    return [word.strip(STOPS) for word in line.split()]


@pytest.mark.parametrize("locale", ["de-DE", "it-IT"])
def test_short_words_capitals_and_stops_stay(locale: str) -> None:
    words = Words(words_inside(LINES), locale, random.Random(1))
    changed = 0
    for line in LINES * 20:
        varied = words.vary(line)
        assert [word[-1] in STOPS for word in varied.split()] == [word[-1] in STOPS for word in line.split()]
        for before, after in zip(bare(line), bare(varied), strict=True):
            assert before[0].isupper() == after[0].isupper()
            assert len(before) >= LONG or before == after
            changed += before != after
        assert bare(varied)[0] == bare(line)[0]
    assert changed > 60


def test_only_languages_that_join_words_get_new_ones() -> None:
    known = {word for line in LINES for word in bare(line)}
    for locale, new in (("de-DE", True), ("en-US", False)):
        words = Words(words_inside(LINES), locale, random.Random(2))
        said = {word for line in LINES * 20 for word in bare(words.vary(line))}
        assert bool(said - known) is new
        assert all(word[1:].islower() for word in said - known)


def test_some_sentences_go_on_in_the_next() -> None:
    lines = ["Der Hund bellt.", "Die Katze schläft.", "Häuser haben Fenster.", "Ist das so?", "Es regnet."]
    assert list(join(lines, random.Random(1), 0.0)) == lines
    joined = list(join(lines, random.Random(1), 1.0))
    assert joined[0].startswith("Der Hund bellt")
    assert joined[0].endswith(" die Katze schläft.")
    assert joined[1:] == lines[2:]  # no clause begins with a noun, and a question does not go on


def test_words_of_a_vocabulary_stand_in_for_those_of_the_sentences() -> None:
    stock = ["Luftfahrt", "nutzen", "saaie", "bei"]
    varied = Words(stock, "it-IT", random.Random(3), share=1.0).vary(LINES[1])
    assert varied.startswith("Manche Luftfahrt ")
    assert set(bare(varied)) <= {"Manche", "aber", "eine", *stock} - {"bei"}


def test_of_a_vocabulary_what_no_sentence_says_is_said_the_common_words_more_often(tmp_path: Path) -> None:
    (tmp_path / "de-DE.txt").write_text("hund\ngehen\nlaufen\nhüpfen\nspringen\nžluť\nrennen\n", encoding="utf-8")
    stock = unheard(tmp_path, LINES, "de-DE")
    assert stock == ["laufen", "hüpfen", "springen", "rennen"]
    words = Words(stock, "de-DE", random.Random(4), skew=2.0)
    drawn = Counter(words.instead_of("bellen") for _ in range(2000))
    assert 900 < drawn["laufen"] < 1100
    assert drawn["laufen"] > drawn["hüpfen"] > drawn["springen"] > drawn["rennen"] > 200
