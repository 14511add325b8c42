"""Recordings of a voice of Festival, as a manifest."""

import wave
from pathlib import Path

from recipes.tiny.festvox import entries

TEXTS = """( ru_0001 "Глаз+а ленивые, - с искоркой." )
( ru_0002 "Он сказал: "yes"." )
( ru_0003 "Окно, выходило в сад." )
"""


def test_texts_are_cleaned_and_those_in_other_letters_left_out(tmp_path: Path) -> None:
    for folder in ("etc", "wav"):
        (tmp_path / folder).mkdir()
    (tmp_path / "etc" / "txt.done.data").write_text(TEXTS, encoding="utf-8")
    for number in (1, 2, 3):
        with wave.open(str(tmp_path / "wav" / f"ru_000{number}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(bytes(2 * 8_000 * number))
    lines = list(entries(tmp_path))
    assert [line["text"] for line in lines] == ["Глаза ленивые, с искоркой.", "Окно, выходило в сад."]
    assert [line["duration"] for line in lines] == [0.5, 1.5]
    assert [Path(line["audio_filepath"]).name for line in lines] == ["ru_0001.wav", "ru_0003.wav"]
    assert {line["target_lang"] for line in lines} == {"ru-RU"}
