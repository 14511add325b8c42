import math
from pathlib import Path

import pytest

from nemotron_asr.decoding.ngram import NGram, spoken
from nemotron_asr.errors import OptionError

pytest.importorskip("flashlight.lib.text", reason="flashlight-text has no wheels for Python 3.13")

ARPA = """\\data\\
ngram 1=6
ngram 2=3

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.3
-0.7\t</s>
-0.5\tthe\t-0.2
-0.6\tcat\t-0.1
-0.9\tCologne

\\2-grams:
-0.2\t<s> the
-0.1\tthe cat
-0.4\tcat </s>

\\end\\
"""


@pytest.fixture
def model(tmp_path: Path) -> NGram:
    path = tmp_path / "words.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return NGram(path)


def total(model: NGram, *words: str) -> float:
    """The logarithm to base 10 of the words' probability."""
    state, sum_ = model.start(), 0.0
    for word in words:
        state, logprob = model.score(state, word)
        sum_ += logprob
    return sum_ / math.log(10)


def test_scores_are_those_of_the_file(model: NGram) -> None:
    assert total(model, "the", "cat") == pytest.approx(-0.2 - 0.1)
    assert total(model, "cat") == pytest.approx(-0.3 - 0.6)
    assert total(model, "the", "the") == pytest.approx(-0.2 - 0.2 - 0.5)
    assert total(model, "dog") == pytest.approx(-0.3 - 1.0)


def test_words_are_looked_up_as_written_and_as_spoken(model: NGram) -> None:
    assert total(model, "“The", "CAT!”") == total(model, "the", "cat")
    assert total(model, "Cologne") > total(model, "cologne") == total(model, "dog")


@pytest.mark.parametrize(
    ("word", "form"),
    [("Don't,", "don't"), ("(É", "é"), ("...", ""), ("3.5%", "3.5"), ("Straße.", "straße"), ("ΛΌΓΟΣ", "λόγος"),
     ("हिन्दी।", "हिन्दी")],
)  # fmt: skip
def test_spoken(word: str, form: str) -> None:
    assert spoken(word) == form


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe", b"\\data\\\nngram 1=2\n\n\\1-grams:\nx y\n"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "words.arpa"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=r"words\.arpa"):
        NGram(path)
    with pytest.raises(OptionError, match=r"missing\.arpa"):
        NGram(tmp_path / "missing.arpa")
