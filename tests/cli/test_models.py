"""`nemotron-asr info`, `convert` and `languages`."""

from pathlib import Path

import pytest

from nemotron_asr import load
from nemotron_asr.checkpoint import load_checkpoint
from nemotron_asr.checkpoint.adapter import fingerprint, write_adapter
from nemotron_asr.languages import LANGUAGES
from tests.cli.conftest import CONFIG, Run
from tests.conftest import PIECES, Sample


def test_info_says_what_the_model_is(run: Run, model: str) -> None:
    status, out, err = run("info", "MODEL")
    facts = dict(line.split("\t") for line in out.splitlines())
    assert (status, err) == (0, "")
    assert facts["model"] == model
    assert facts["vocabulary"] == f"{len(PIECES)} pieces"
    assert facts["encoder"] == f"{CONFIG.n_layers} layers of {CONFIG.d_model}, {CONFIG.n_mels} mel bins"
    assert facts["latencies"] == "80, 320, 560, 1120 ms; 160 ms works, but was not trained"
    assert facts["language tags"] == "de-DE, en-US, ja-JP"


def test_info_says_of_what_an_adapter_is(run: Run, model: str, tmp_path: Path) -> None:
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": model}
    write_adapter({}, tmp_path, settings, fingerprint(load_checkpoint(model).weights), "notes")
    status, out, err = run("info", tmp_path)
    assert (status, err) == (0, "")
    assert f"adapter\tLoRA of rank 4 for {model}, merged\n" in out


def test_an_adapter_called_tiny_is_not_the_embedded_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "x"}
    write_adapter({}, tmp_path / "tiny", settings, "0", "notes")
    status, out, _ = run("info", "tiny")
    assert (status, "adapter" in out) == (0, False)


@pytest.mark.parametrize(("layout", "name"), [("huggingface", "hf"), ("nemo", "new.nemo"), ("native", "ours")])
def test_a_converted_model_says_the_same(
    run: Run, model: str, samples: list[Sample], tmp_path: Path, layout: str, name: str
) -> None:
    target = tmp_path / name
    assert run("convert", "MODEL", target, "--to", layout) == (0, "", f"{model} written to {target}\n")
    status, out, err = run("transcribe", samples[0].path, "--model", target)
    assert (status, err) == (0, "")
    assert out == f"{load(model).transcribe(samples[0].path).text}\n"


def test_convert_overwrites_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("mine")
    for target in (tmp_path, tmp_path / "keep.txt"):
        status, out, err = run("convert", "MODEL", target, "--to", "native")
        assert (status, out, err) == (2, "", f"error: {target} exists already; give a new name\n")
    assert [path.name for path in tmp_path.iterdir()] == ["keep.txt"]


def test_languages_are_the_40(run: Run) -> None:
    status, out, _ = run("languages")
    assert status == 0
    assert [tuple(line.split("\t")) for line in out.splitlines()] == [
        (language.locale, language.name, language.tier.value) for language in LANGUAGES
    ]
    assert len(LANGUAGES) == 40
