"""`nemotron-asr finetune`, from manifests on disk to a model that the other commands take."""

import json
import shutil
from pathlib import Path

import pytest

from nemotron_asr.errors import OptionError
from nemotron_asr.training.options import FinetuneConfig
from tests.cli.conftest import Run
from tests.conftest import Sample


@pytest.fixture
def manifest(tmp_path: Path, samples: list[Sample]) -> Path:
    """Three recordings and three clips that cannot be learnt from."""
    bad = [("missing.wav", "Gone."), (samples[0].path, ""), (samples[0].path, "ᚠᚢᚦ ᚨᚱᚲ.")]
    clips = [(sample.path, sample.text, sample.locale) for sample in samples[:3]]
    clips += [(path, text, "de-DE") for path, text in bad]
    rows = [{"audio_filepath": path, "duration": 3, "text": text, "target_lang": lang} for path, text, lang in clips]
    path = tmp_path / "clips.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path, samples: list[Sample]) -> Path:
    """A recording and its text, the language unsaid."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    shutil.copy(samples[1].path, folder / "a.opus")
    (folder / "a.txt").write_text(samples[1].text, encoding="utf-8")
    return folder


def test_fine_tunes_and_the_best_model_transcribes(
    run: Run, manifest: Path, folder: Path, samples: list[Sample], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    command = (
        *("finetune", "--train", f"{manifest}:2", folder, "--validation", folder, "--language", samples[1].locale),
        *("--replay", manifest, "--replay-share", "0.2", "--output", output, "--lora-rank", "2"),
        *("--steps", "2", "--batch-seconds", "5", "--latency", "80", "--no-augment"),
    )
    status, out, err = run(*command)
    assert status == 0, err
    for reason in ("unreadable: 1", "empty text: 1", "characters that the tokenizer lacks: 1"):
        assert f"left out, {reason}" in err
    table = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in table] == [samples[1].locale, "all", "language right"]
    assert all(" -> " in cell for cell in table[0][1:])
    assert str(output / "best") in err
    assert run(*command)[:2] == (0, out)  # done already

    heard = run("transcribe", samples[1].path, "--model", output / "best")
    assert heard[0] == 0
    assert run("convert", output / "best", tmp_path / "merged", "--to", "native")[0] == 0
    assert run("transcribe", samples[1].path, "--model", tmp_path / "merged") == heard

    status, _, err = run(*command, "--seed", "1")
    assert (status, "holds a run with seed 0" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--train", "none.jsonl", "--validation", "none.jsonl", "--model", "none"), "there is no model 'none'"),
        (("--train", "none.jsonl", "--validation", "none.jsonl"), "cannot read manifest"),
        (("--train", "calls", "--validation", "calls"), "say the language that is spoken"),
        (("--train", "calls", "--validation", "none.jsonl", "--language", "de"), "none.jsonl: there is no such file"),
        (("--train", "calls", "--validation", "calls", "--language", "xx"), "language 'xx' is unknown"),
        (("--train", "calls", "--validation", "calls", "--language", "auto"), "'auto' of"),
        (("--train", "calls", "--validation", "calls", "--language", "af-ZA"), "add it: --new-locale af-ZA"),
        (("--train", "calls", "--validation", "calls", "--replay", "calls"), "--replay 'calls' is a folder"),
        (("--train", "calls", "--validation", "calls", "--output", ""), "the name is empty"),
        (("--train", "calls", "--validation", "calls", "--seed", "-1"), "-1 is not in the range"),
        (("--train", "none.jsonl:0", "--validation", "none.jsonl"), "has the weight 0"),
        (("--train", "a.jsonl", "--validation", "none.jsonl:2"), "--validation 'none.jsonl:2' has a weight"),
        (("--train", "a.jsonl", "--validation", "b.jsonl", "--lr", "nan"), "lr is nan; it must be a finite number"),
        (("--validation", "none.jsonl"), "Missing option '--train'"),
        (("--train", "a.jsonl", "--validation", "b.jsonl", "--lora-rank", "2", "--freeze-encoder"), "is frozen"),
        (("--train", "a.jsonl", "--validation", "b.jsonl", "--device", "tpu"), "device 'tpu' is unknown"),
    ],
)
def test_what_cannot_work_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calls").mkdir()
    status, out, err = run("finetune", "--output", tmp_path / "run", *arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_options_reach_the_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latency, what weights of replay sources make of its share, and that they say their languages themselves."""
    told: list[FinetuneConfig] = []

    def stop(config: FinetuneConfig, _watchers: object) -> None:
        told.append(config)
        raise OptionError("stopped")

    monkeypatch.setattr("nemotron_asr.training.finetune.finetune", stop)
    run(
        *("finetune", "--train", "c.jsonl:5", "--validation", "c.jsonl", "--output", tmp_path / "run"),
        *("--replay", "b.jsonl:9", "a.jsonl:1", "--replay-share", "0.5", "--latency", "80", "--language", "de-DE"),
    )
    assert told[0].latency_ms == 80
    assert [source.share for source in told[0].train] == pytest.approx([0.0, 0.45, 0.05])
    assert [source.language for source in told[0].train] == ["de-DE", "", ""]
    assert [source.language for source in told[0].validation] == ["de-DE"]
