"""Clips of manifests; what cannot be evaluated is named and the rest goes on."""

from pathlib import Path

import pytest

from nemotron_asr.config import ModelConfig
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.corpus.parts import Part
from nemotron_asr.errors import ManifestError
from nemotron_asr.evaluation.manifests import read_clips
from tests.conftest import Sample

LINE = '{"audio_filepath": "a.wav", "duration": 1, "text": "Ein Haus.", "target_lang": "de"}'


def test_what_cannot_be_evaluated_stands_in_its_place(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    lines = [
        LINE,
        "{",
        LINE.replace('"de"', '"xx-XX"'),
        LINE.replace("Ein Haus", "..."),
        LINE.replace('"de"', '"auto"'),
        LINE.replace("a.wav", "b.wav"),
    ]
    manifest.write_text("\n".join(lines), encoding="utf-8")
    first, *bad, last = read_clips([str(manifest)], ModelConfig())
    assert first == Clip(tmp_path / "a.wav", 0.0, "Ein Haus.", "de-DE")
    assert last == Clip(tmp_path / "b.wav", 0.0, "Ein Haus.", "de-DE")
    messages = [str(error) for error in bad if isinstance(error, ManifestError)]
    assert len(messages) == 4
    assert "m.jsonl, line 2: not JSON" in messages[0]
    assert "a.wav: language 'xx-XX' is unknown" in messages[1]
    assert "a.wav: '....' has no words" in messages[2]
    assert "a.wav: language 'auto' is none that is spoken" in messages[3]


def test_a_part_of_a_recording_is_named_as_such(tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    lines = [f'{LINE[:-1]}, "offset": 2.5}}', LINE.replace("Ein Haus", "..")[:-1] + ', "offset": 4}']
    manifest.write_text("\n".join(lines), encoding="utf-8")
    part, bad = read_clips([str(manifest)], ModelConfig())
    assert part == Clip(tmp_path / "a.wav", 0.0, "Ein Haus.", "de-DE", part=Part(2.5, 3.5))
    assert "a.wav#t=4.0,5.0: '...' has no words" in str(bad)


def test_a_model_without_prompts_may_know_any_language(tmp_path: Path) -> None:
    """It is told none; fine-tuning may have taught it German."""
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join([LINE, LINE.replace('"de"', '"klingon"')]), encoding="utf-8")
    german, bad = read_clips([str(manifest)], ModelConfig(n_prompts=0, d_prompt=0))
    assert isinstance(german, Clip)
    assert german.language == "de-DE"
    assert "language 'klingon' is unknown" in str(bad)


def test_a_folder_is_heard_in_the_language_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_text("Ein Haus.", encoding="utf-8")
    assert list(read_clips([str(tmp_path)], ModelConfig(), "de")) == [
        Clip(tmp_path / "a.wav", 0.0, "Ein Haus.", "de-DE")
    ]
    with pytest.raises(ManifestError, match="say the language"):
        list(read_clips([str(tmp_path)], ModelConfig()))


def test_a_file_that_is_no_manifest_is_said_to_be_none_in_one_line(samples: list[Sample]) -> None:
    with pytest.raises(ManifestError, match=r"is no manifest, which has a JSON object for each clip, one a line$"):
        list(read_clips([samples[0].path], ModelConfig()))


def test_ends_of_words_are_those_of_all_words(tmp_path: Path) -> None:
    manifest, ends = tmp_path / "m.jsonl", ([0.5, 1], [0.5])
    lines = [f'{LINE[:-1]}, "word_ends": {some}}}' for some in ends]
    manifest.write_text("\n".join(lines), encoding="utf-8")
    good, bad = read_clips([str(manifest)], ModelConfig())
    assert isinstance(good, Clip)
    assert good.ends == (0.5, 1.0)
    assert "the ends of 1 words are given, but its text has 2" in str(bad)


def test_a_manifest_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ManifestError, match=r"cannot read manifest none\.jsonl"):
        list(read_clips(["none.jsonl"], ModelConfig()))
