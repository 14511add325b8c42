"""`nemotron-asr evaluate`, from manifests to what is printed, drawn and kept."""

import importlib.util
import json
from pathlib import Path

import pytest
import tokenizers
import torch
from tokenizers.models import Unigram

from nemotron_asr import load
from nemotron_asr.checkpoint import Checkpoint, save_checkpoint
from nemotron_asr.engine import devices
from nemotron_asr.tokenizer import Tokenizer
from tests.cli.conftest import Run
from tests.conftest import Sample, random_model, tiny_config

MODEL = ("--model", "MODEL", "--latency", "1120")


def write(path: Path, samples: list[Sample], *more: str) -> Path:
    entries = [
        {"audio_filepath": sample.path, "duration": 3.0, "text": sample.text, "target_lang": sample.locale}
        for sample in samples
    ]
    path.write_text("\n".join([*map(json.dumps, entries), *more]), encoding="utf-8")
    return path


@pytest.fixture
def manifest(samples: list[Sample], tmp_path: Path) -> Path:
    """Two recordings."""
    return write(tmp_path / "manifest.jsonl", samples[:2])


def test_prints_the_card_and_more(run: Run, manifest: Path) -> None:
    status, out, err = run("evaluate", manifest, *MODEL)
    assert (status, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "locale rate given 1120 ms auto 1120 ms" in lines
    assert any(line.startswith("en-US WER ") for line in lines)
    for heading in ("By latency", "By locale", "Languages found", "Confidence of words"):
        assert heading in out


def test_json_says_the_same_as_the_recognizer(run: Run, manifest: Path, samples: list[Sample], model: str) -> None:
    status, out, _ = run("evaluate", manifest, *MODEL, "--mode", "auto", "--format", "json")
    assert status == 0
    report = json.loads(out)
    [manner] = report["manners"]
    assert (manner["mode"], manner["latency_ms"], manner["clips"]) == ("auto", 1120, 2)
    loaded = load(model)
    right = [loaded.transcribe(sample.path).language == sample.locale for sample in samples[:2]]
    assert manner["language_right"] == sum(right) / 2
    assert {score["locale"] for score in report["locales"]} == {"de-DE", "en-US"}
    assert all(score["counts"]["hits"] < score["clips"] * 20 for score in report["locales"])


def test_several_manifests_latencies_and_markdown(run: Run, manifest: Path, samples: list[Sample]) -> None:
    other = write(manifest.with_name("other.jsonl"), samples[2:3])
    status, out, _ = run(
        "evaluate", manifest, other, *MODEL, "--latency", "560", "--mode", "language", "--format", "markdown"
    )
    assert status == 0
    lines = out.splitlines()
    assert "| locale | rate | given 560 ms | given 1120 ms |" in lines
    assert [line[2:7] for line in lines if line.count("|") == 5 and "WER" in line] == ["en-US", "nl-NL", "de-DE"]


def test_a_folder_of_recordings_and_texts(run: Run, samples: list[Sample], tmp_path: Path) -> None:
    sample = samples[0]
    recording = tmp_path / Path(sample.path).name
    recording.write_bytes(Path(sample.path).read_bytes())
    recording.with_suffix(".txt").write_text(sample.text, encoding="utf-8")
    status, out, err = run("evaluate", tmp_path, *MODEL, "--language", sample.locale, "--format", "json")
    assert (status, err) == (0, "")
    assert {(score["locale"], score["clips"]) for score in json.loads(out)["locales"]} == {(sample.locale, 1)}
    refused = "error: --language auto is none that is spoken; say which the recordings have\n"
    assert run("evaluate", tmp_path, *MODEL, "--language", "auto") == (2, "", refused)


def test_what_cannot_be_used_is_named_and_the_rest_evaluated(run: Run, samples: list[Sample], tmp_path: Path) -> None:
    gone = json.dumps({"audio_filepath": "gone.wav", "duration": 1, "text": "weg", "target_lang": "de-DE"})
    manifest = write(tmp_path / "m.jsonl", samples[:1], "{", gone)
    status, out, err = run("evaluate", manifest, *MODEL, "--format", "json")
    assert status == 1
    *named, counted = err.splitlines()
    assert [line.startswith("skipped: ") for line in named] == [True, True]
    assert counted == "2 skipped"
    assert "m.jsonl, line 2" in err
    assert "gone.wav" in err
    assert len(json.loads(out)["skipped"]) == 2
    assert json.loads(out)["manners"][0]["clips"] == 1


def test_nothing_to_evaluate_is_an_error(run: Run, tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.jsonl", [], "{")
    status, out, err = run("evaluate", manifest, *MODEL)
    assert (status, out) == (2, "")
    assert "no clip was heard" in err


def test_goes_on_where_it_stopped(run: Run, manifest: Path, samples: list[Sample], tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    arguments = (*MODEL, "--mode", "auto", "--results", results, "--format", "json")
    _, first, _ = run("evaluate", manifest, *arguments)
    before = results.read_bytes()
    status, again, _ = run("evaluate", manifest, *arguments)
    assert status == 0
    assert json.loads(again) == json.loads(first)  # times too: nothing was heard again
    assert results.read_bytes() == before
    run("evaluate", write(manifest, samples[:3]), *arguments)
    assert results.read_bytes().startswith(before)
    assert len(results.read_bytes().splitlines()) == 4


def test_what_is_named_twice_counts_once(run: Run, manifest: Path) -> None:
    arguments = ("--mode", "auto", "--format", "json")
    _, once, _ = run("evaluate", manifest, *MODEL, *arguments)
    _, twice, _ = run("evaluate", manifest, manifest, *MODEL, *MODEL[2:], *arguments)
    assert json.loads(twice)["locales"] == json.loads(once)["locales"]


@pytest.mark.parametrize("other", [("--dtype", "bfloat16"), ("--beam", "2")])
def test_results_of_another_precision_or_beam_are_refused(
    run: Run, manifest: Path, tmp_path: Path, other: tuple[str, str]
) -> None:
    results = tmp_path / "results.jsonl"
    run("evaluate", manifest, *MODEL, "--mode", "auto", "--results", results)
    status, _, err = run("evaluate", manifest, *MODEL, "--mode", "auto", "--results", results, *other)
    assert status == 2
    assert "give another file" in err


def test_results_know_what_auto_meant(
    run: Run, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It means another precision on another machine."""
    arguments = ("evaluate", manifest, *MODEL, "--mode", "auto", "--results", tmp_path / "results.jsonl")
    assert run(*arguments)[0] == 0
    assert run(*arguments, "--dtype", "float32")[0] == 0  # what auto is for a small model on a CPU
    monkeypatch.setattr(devices, "LARGE", 0)
    status, _, err = run(*arguments, "--device", "cpu")
    assert (status, "give another file" in err) == (2, True)


def test_a_model_without_tags_is_not_asked_for_languages(run: Run, samples: list[Sample], tmp_path: Path) -> None:
    with torch.no_grad():
        talker = random_model(tiny_config(vocab_size=2, n_prompts=0, d_prompt=0))
    pieces = tokenizers.Tokenizer(Unigram([("<unk>", -1.0), ("▁a", -1.0)], unk_id=0))
    save_checkpoint(Checkpoint(talker.config, Tokenizer(pieces), dict(talker.state_dict())), tmp_path / "english")
    manifest = write(tmp_path / "m.jsonl", samples[:2])
    status, out, err = run(
        "evaluate", manifest, "--model", tmp_path / "english", "--latency", "1120", "--format", "json"
    )
    assert status == 0, err
    assert [manner["language_right"] for manner in json.loads(out)["manners"]] == [None, None]
    assert json.loads(out)["detections"] == []


def test_the_report_says_which_beam(run: Run, manifest: Path) -> None:
    status, out, _ = run("evaluate", manifest, *MODEL, "--mode", "auto", "--format", "json", "--beam", "3")
    assert (status, json.loads(out)["beam"]) == (0, 3)


def test_draws_and_writes_a_page(run: Run, manifest: Path, samples: list[Sample], tmp_path: Path) -> None:
    plot, page = tmp_path / "plot.png", tmp_path / "worst.html"
    status, _, err = run("evaluate", manifest, *MODEL, "--plot", plot, "--html", page)
    assert (status, err) == (0, "")
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert all(Path(sample.path).name in page.read_text(encoding="utf-8") for sample in samples[:2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--plot", "plot.txt"), "plot.txt does not say what kind of picture"),
        (("--latency", "100"), "'100' is not one of"),
        (("--mode", "maybe"), "'maybe' is not one of"),
        (("--beam", "17"), "beam 17"),
        (("--language", "klingon"), "language 'klingon' is unknown"),
    ],
)
def test_wrong_usage_is_one_line(run: Run, manifest: Path, arguments: tuple[str, ...], message: str) -> None:
    status, out, err = run("evaluate", manifest, *MODEL, *arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert message in err


def test_a_missing_extra_is_named(run: Run, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jiwer" else find(name))
    status, _, err = run("evaluate", manifest, *MODEL)
    assert status == 2
    assert "pip install 'nemotron-asr[eval]'" in err


def test_a_picture_that_cannot_be_written_takes_nothing_with_it(run: Run, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = ("--model", "MODEL", "--latency", "80", "--mode", "language")
    status, out, errors = run("evaluate", manifest, *options, "--plot", tmp_path / "file/x.png")
    assert status == 1
    assert "given" in out
    assert "file" in errors
