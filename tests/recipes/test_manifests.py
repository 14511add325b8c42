"""What is measured is not trained on."""

import json
import sys
from pathlib import Path

import pytest

from recipes.tiny import manifests
from recipes.tiny.make_tokenizer import train
from recipes.tiny.units import new_texts


def write(path: Path, *said: tuple[str, str]) -> Path:
    """A manifest of a locale and a text per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {"audio_filepath": f"{i}.flac", "duration": 1.0, "text": text, "target_lang": locale, "source": "espeak-ng"}
        for i, (locale, text) in enumerate(said)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_units_say_nothing_that_dev_says(tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.jsonl", ("it-IT", "Sei."))
    assert new_texts(["Sei.", "sei", "Sette.", "Sei sette."], "it-IT", dev) == ["Sette.", "Sei sette."]
    assert new_texts(["Sei."], "en-US", dev) == ["Sei."]


def test_numbers_may_be_said_in_eval_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.tiny.make_tokenizer.VOCABULARY_SIZE", 57)
    train(["Sei.", "Sette.", "Una casa.", "Otto case."], tmp_path / "tokenizer")
    speech = tmp_path / "speech"
    write(speech / "train.jsonl", ("it-IT", "Otto case."))
    write(speech / "dev.jsonl", ("it-IT", "Sei."))
    write(speech / "eval.jsonl", ("it-IT", "Sette."), ("it-IT", "Una casa."))
    everything = [("it-IT", "Sei."), ("it-IT", "Sette."), ("it-IT", "Una casa."), ("it-IT", "Otto case.")]
    write(tmp_path / "sentences" / "it-IT.jsonl", *everything)
    write(tmp_path / "counting" / "it-IT.jsonl", *everything[:2])
    folders = ["--synthetic", tmp_path / "sentences", "--counting", tmp_path / "counting"]
    options = ["--tokenizer", tmp_path / "tokenizer.model", "--speech", speech, *folders, "--output", tmp_path]
    monkeypatch.setattr(sys, "argv", ["manifests", *map(str, options)])
    manifests.main()
    kept = [json.loads(line) for line in (tmp_path / "synthetic.jsonl").read_text().splitlines()]
    said = [(Path(entry["audio_filepath"]).parent.name, entry["text"]) for entry in kept]
    assert sorted(said) == [("counting", "Sette."), ("sentences", "Otto case.")]
