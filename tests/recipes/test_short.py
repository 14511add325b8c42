"""Utterances of a few words."""

import random
from pathlib import Path

import pytest

from recipes.tiny import short


def test_numbers_are_single_words_and_names_keep_their_capital() -> None:
    lines = ["Sieben.", "Dezember.", "Eins Komma vier.", "Dreizehn."]
    assert short.single_words(lines, {"Dezember"}) == ["Dezember", "dreizehn", "sieben"]
    assert short.single_words(["\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}ki."], set()) == ["iki"]


def test_words_stand_inside_of_sentences() -> None:
    lines = ["Der Hund bellt, so laut es geht.", "Zwei Hunde: drei 4711!"]
    assert short.words_of(lines, "de-DE") == ["Hund", "Hunde", "bellt", "drei", "geht", "laut"]


def test_one_to_three_words_each_utterance_once() -> None:
    numbers, words = ["eins", "zwei", "drei"], ["laut", "Hund", "geht", "Katze"]
    made = short.utterances(numbers, words, random.Random(1), 60)
    assert len(set(made)) == 60
    for line in made:
        inside = set(line.split())
        assert 1 <= len(line.split()) <= 3
        assert inside <= set(numbers) or inside <= set(words)
    assert made == short.utterances(numbers, words, random.Random(1), 60)


def test_a_sentence_begins_with_a_capital_and_ends_with_a_stop() -> None:
    assert short.as_sentence("acht Katzen", "de-DE") == "Acht Katzen."
    assert short.as_sentence("iki", "tr-TR") == "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}ki."
    assert short.as_sentence("ieri", "it-IT") == "Ieri."


def test_a_file_per_locale_of_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, text in {"sentences": "Een hond blaft heel hard daar.\n", "numbers": "Zeven.\nAcht.\nMei.\n"}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "nl-NL.txt").write_text(text, encoding="utf-8")
    folders = ["--sentences", str(tmp_path / "sentences"), "--numbers", str(tmp_path / "numbers")]
    monkeypatch.setattr("sys.argv", ["short", *folders, "--output", str(tmp_path / "out"), "--count", "20"])
    short.main()
    assert len((tmp_path / "out" / "nl-NL.txt").read_text(encoding="utf-8").splitlines()) == 20
