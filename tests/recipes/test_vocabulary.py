"""Common words, spelt as inside of a sentence."""

import os
from pathlib import Path

import pytest

from recipes.tiny.vocabulary import as_written

DICTIONARY = "Hunde Luftfahrt laufen Laufen Berlin grün"
HUNSPELL = f"""#!/bin/sh
[ "$1 $2 $3 $4 $5" = "-d de_DE -i utf-8 -G" ] || exit 1
while read -r word || [ -n "$word" ]; do
    case " {DICTIONARY} " in *" $word "*) echo "$word" ;; esac
done
"""


def test_words_are_spelt_as_the_dictionary_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hunspell = tmp_path / "hunspell"
    hunspell.write_text(HUNSPELL, encoding="utf-8")
    hunspell.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    words = ["hunde", "laufen", "teh", "luftfahrt", "grün", "3d", "berlin", "'s"]
    assert as_written(words, "de-DE") == ["Hunde", "laufen", "Luftfahrt", "grün", "Berlin"]
