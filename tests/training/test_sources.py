"""Clips from manifests, folders and datasets, and how often each is drawn."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest

from nemotron_asr.audio import load
from nemotron_asr.config import ModelConfig
from nemotron_asr.corpus.manifest import Clip, read_manifest
from nemotron_asr.corpus.sources import fetch_dataset, read_clips
from nemotron_asr.errors import ManifestError
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import Batches, DataConfig, Source
from tests.training.conftest import Line, write_manifest


@pytest.fixture
def folder(tmp_path: Path, lines: list[Line]) -> Path:
    """Two recordings with their texts, one without, and a text without a recording."""
    folder = tmp_path / "recordings"
    (folder / "more").mkdir(parents=True)
    shutil.copy(lines[0]["audio_filepath"], folder / "a.opus")
    (folder / "a.txt").write_text(f" {lines[0]['text']}\n", encoding="utf-8")
    shutil.copy(lines[1]["audio_filepath"], folder / "more" / "b.opus")
    (folder / "more" / "b.txt").write_text(lines[1]["text"], encoding="utf-8")
    shutil.copy(lines[2]["audio_filepath"], folder / "silent.opus")
    (folder / "unheard.txt").write_text("Nobody said this.")
    (folder / "README.md").write_text("no recording")
    return folder


def test_a_folder_pairs_recordings_with_texts(folder: Path, lines: list[Line]) -> None:
    clips = [clip for clip in read_clips(folder, "de-DE") if isinstance(clip, Clip)]
    assert {clip.path.relative_to(folder).as_posix(): clip.text for clip in clips} == {
        "a.opus": lines[0]["text"],
        "more/b.opus": lines[1]["text"],
        "silent.opus": "",
        "unheard": "Nobody said this.",
    }
    assert {clip.language for clip in clips} == {"de-DE"}


def test_what_is_hidden_is_no_data(folder: Path) -> None:
    clips = read_clips(folder, "de-DE")
    shutil.copytree(folder / "more", folder / ".ipynb_checkpoints")
    shutil.copy(folder / "a.opus", folder / ".b.opus")
    assert read_clips(folder, "de-DE") == clips


def test_what_lies_beside_a_recording_does_not_stand_in_for_it(folder: Path) -> None:
    for name in ("a.xml", "a.srt", "a.wrd", "more/b.lab"):
        (folder / name).write_text("no recording")
    (folder / "silent.opus").rename(folder / "silent.sph")  # what no list has may be a recording
    found = [clip.path.name for clip in read_clips(folder, "de-DE") if isinstance(clip, Clip)]
    assert found == ["a.opus", "b.opus", "silent.sph", "unheard"]


def test_a_text_of_two_recordings_is_left_out(folder: Path) -> None:
    shutil.copy(folder / "a.opus", folder / "a.WAV")
    first, *others = read_clips(folder, "de-DE")
    assert f"{folder / 'a.WAV'}, {folder / 'a.opus'}: a text is that of one recording" in str(first)
    assert all(isinstance(clip, Clip) for clip in others)


def test_a_text_may_begin_with_a_byte_order_mark(folder: Path, lines: list[Line]) -> None:
    (folder / "a.txt").write_text(lines[0]["text"], encoding="utf-8-sig")
    clip = read_clips(folder, "de-DE")[0]
    assert isinstance(clip, Clip)
    assert clip.text == lines[0]["text"]


def left_out(cache: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted(cache.glob("*-left-out.jsonl")))


def test_what_a_folder_lacks_is_counted_and_named(
    folder: Path, tokenizer: Tokenizer, config: ModelConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = DataConfig((Source(folder, language="de-DE"),), tmp_path / "cache", augment=None)
    with caplog.at_level("INFO"):
        batches = Batches(data, tokenizer, config)
    assert sum(len(bucket.items) for bucket in batches.buckets) == 2
    assert "left out, empty text: 1" in caplog.text
    assert "left out, unreadable: 1" in caplog.text
    named = left_out(tmp_path / "cache")
    assert [name in named for name in ("silent.opus", "unheard", "a.opus")] == [True, True, False]


def test_a_text_that_cannot_be_read_is_left_out(
    folder: Path, lines: list[Line], tokenizer: Tokenizer, config: ModelConfig, tmp_path: Path
) -> None:
    """And what a folder of capital letters holds is found."""
    (folder / "a.opus").rename(folder / "A.OPUS")
    (folder / "a.txt").rename(folder / "A.TXT")
    (folder / "more" / "b.txt").write_bytes("Grüße".encode("latin-1"))
    data = DataConfig((Source(folder, language="de-DE"),), tmp_path / "cache", augment=None)
    [bucket] = Batches(data, tokenizer, config).buckets
    assert [item.example.clip.text for item in bucket.items] == [lines[0]["text"]]
    assert "b.txt: 'utf-8' codec" in left_out(tmp_path / "cache")


def test_manifests_of_one_name_have_their_own_lists_of_what_is_left_out(
    lines: list[Line], tokenizer: Tokenizer, config: ModelConfig, tmp_path: Path
) -> None:
    sources = []
    for name, line in zip("ab", lines, strict=False):
        (tmp_path / name).mkdir()
        bad = {**line, "audio_filepath": f"missing-{name}.wav"}
        sources.append(Source(write_manifest(tmp_path / name / "train.jsonl", [line, bad])))
    Batches(DataConfig(tuple(sources), tmp_path / "cache"), tokenizer, config)
    assert [f"missing-{name}.wav" in left_out(tmp_path / "cache") for name in "ab"] == [True, True]


def test_a_manifest_need_not_say_the_language(tmp_path: Path) -> None:
    bare = {"audio_filepath": "a.wav", "text": "Neben Deutsch."}
    path = write_manifest(tmp_path / "m.jsonl", [bare, {**bare, "lang": "en-US"}, {**bare, "target_lang": None}])
    assert [clip.language for clip in read_clips(path, "de-DE") if isinstance(clip, Clip)] == [
        "de-DE",
        "en-US",
        "de-DE",
    ]
    assert [isinstance(clip, Clip) for clip in read_clips(path)] == [False, True, False]


def test_folders_that_cannot_be_used_are_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="say the language"):
        read_clips(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="holds no recording"):
        read_clips(tmp_path / "empty", "de-DE")


@pytest.fixture
def dataset(tmp_path: Path, lines: list[Line]) -> Path:
    """A dataset of one table, as the hub keeps them."""
    (tmp_path / "set").mkdir()
    rows = {
        "audio": [{"bytes": Path(line["audio_filepath"]).read_bytes(), "path": "x.opus"} for line in lines],
        "sentence": [line["text"] for line in lines],
        "locale": [line["target_lang"] for line in lines],
    }
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "set" / "train.parquet")
    return tmp_path / "set"


def test_a_dataset_becomes_recordings_and_a_manifest_once(
    dataset: Path, tmp_path: Path, lines: list[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    manifest = fetch_dataset(f"hf:{dataset}", tmp_path / "datasets")
    clips = read_manifest(manifest)
    assert [(clip.text, clip.language) for clip in clips] == [(line["text"], line["target_lang"]) for line in lines]
    assert len(load(clips[0].path)) == len(load(lines[0]["audio_filepath"]))
    shutil.rmtree(dataset)
    assert fetch_dataset(f"hf:{dataset}", tmp_path / "datasets") == manifest


def test_a_dataset_keeps_its_own_languages(dataset: Path, tmp_path: Path, lines: list[Line]) -> None:
    """Whatever is said of other sources, or was said when it was fetched."""
    for language in ("Greek", "el-GR", ""):
        clips = read_clips(fetch_dataset(f"hf:{dataset}", tmp_path / "datasets", language), language)
        assert [clip.language for clip in clips if isinstance(clip, Clip)] == [line["target_lang"] for line in lines]


def write_dataset(folder: Path, **columns: list[Any]) -> str:
    """A dataset of one table; returns what it is called."""
    folder.mkdir()
    datasets.Dataset.from_dict(columns).to_parquet(folder / "train.parquet")
    return f"hf:{folder}"


@pytest.fixture
def audio(tmp_path: Path, lines: list[Line], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recording as a row has it."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    return {"bytes": Path(lines[0]["audio_filepath"]).read_bytes(), "path": "x.opus"}


def test_a_language_that_nobody_knows_is_what_is_said(audio: dict[str, Any], tmp_path: Path) -> None:
    """Not the first time alone: the manifest is written once."""
    told = ["German", "de", "cy-GB", None]
    name = write_dataset(tmp_path / "set", audio=[audio] * 4, text=["Neben."] * 4, language=told)
    for language, expected in (
        ("nl-NL", ["nl-NL", "de", "nl-NL", "nl-NL"]),
        ("de-DE", ["de-DE", "de", "de-DE", "de-DE"]),
        ("", ["German", "de", "cy-GB"]),
    ):
        clips = read_clips(fetch_dataset(name, tmp_path / "datasets", language), language)
        assert [clip.language for clip in clips if isinstance(clip, Clip)] == expected


def test_the_text_is_the_one_as_written(audio: dict[str, Any], tmp_path: Path) -> None:
    """FLEURS has both."""
    texts = {"transcription": ["who said this"], "raw_transcription": ["Who said this?"]}
    name = write_dataset(tmp_path / "set", audio=[audio], language=["en-US"], **texts)
    [clip] = read_clips(fetch_dataset(name, tmp_path / "datasets"))
    assert isinstance(clip, Clip)
    assert clip.text == "Who said this?"


def test_rows_of_a_dataset_may_be_empty(
    audio: dict[str, Any], tmp_path: Path, lines: list[Line], tokenizer: Tokenizer, config: ModelConfig
) -> None:
    broken = [None, {"bytes": None, "path": "/nowhere/x.opus"}, {"bytes": None, "path": None}]
    name = write_dataset(
        tmp_path / "set",
        audio=[audio, audio, audio, *broken],
        sentence=[lines[0]["text"], None, "Who said this?", *["Nobody said this."] * 3],
        locale=[lines[0]["target_lang"]] * 2 + [None] + [lines[0]["target_lang"]] * 3,
    )
    manifest = fetch_dataset(f"{name}::train[:6]", tmp_path / "datasets")
    [bucket] = Batches(DataConfig((Source(manifest),), tmp_path / "cache"), tokenizer, config).buckets
    assert [item.example.clip.text for item in bucket.items] == [lines[0]["text"]]
    named = left_out(tmp_path / "cache")
    assert [named.count(reason) for reason in ("empty text", "the file is empty", "line 3: target_lang is None")] == [
        1,
        3,
        1,
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"speech": [1], "text": ["a"], "lang": ["de-DE"]}, r"no column 'audio'; it has speech, text, lang$"),
        ({"audio": [{"bytes": b"", "path": None}], "lang": ["de-DE"]}, r"no column of a text .*; it has audio, lang$"),
        ({"audio": [{"bytes": b"", "path": None}], "text": ["a"]}, r"no column of a language; say it; it has audio"),
        ({"audio": [1], "text": ["a"], "lang": ["de-DE"]}, r"cannot be used: "),
    ],
)
def test_a_dataset_without_a_column_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: dict[str, list[Any]], message: str
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    with pytest.raises(ManifestError, match=message):
        fetch_dataset(write_dataset(tmp_path / "set", **columns), tmp_path / "datasets")


def test_a_dataset_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be used"):
        fetch_dataset(f"hf:{tmp_path}/nothing", tmp_path / "datasets")


def test_replay_gets_its_share_of_the_audio(
    tmp_path: Path, lines: list[Line], tokenizer: Tokenizer, config: ModelConfig
) -> None:
    """However long its clips are, and in whichever buckets."""
    parts = [{**line, "text": "Du.", "offset": 0.5, "duration": 0.2 + 0.1 * i} for i, line in enumerate(lines[1:4])]
    new, others = write_manifest(tmp_path / "a.jsonl", lines[:1]), write_manifest(tmp_path / "b.jsonl", parts)
    options = DataConfig(
        (Source(new, weight=7), Source(others, share=0.25)),
        tmp_path,
        batch_seconds=5,
        bucket_seconds=(0.3, 0.5, 5),
        augment=None,
    )
    batches = Batches(options, tokenizer, config)
    assert len(batches.buckets) == 3
    heard: Counter[str] = Counter()
    for batch in (batches[step] for step in range(1500)):
        for row, length, n in zip(batch.tokens, batch.lengths, batch.token_lengths, strict=True):
            heard[tokenizer.language_tags[int(row[n - 1])]] += int(length)
    assert heard[lines[0]["target_lang"]] / heard.total() == pytest.approx(0.75, abs=0.05)


def test_replay_is_not_trained_on_alone(
    manifest: Path, tmp_path: Path, lines: list[Line], tokenizer: Tokenizer, config: ModelConfig
) -> None:
    gone = write_manifest(tmp_path / "gone.jsonl", [{**lines[0], "audio_filepath": "missing.wav"}])
    with pytest.raises(ManifestError, match=r"no usable clip in .*gone\.jsonl$"):
        Batches(DataConfig((Source(gone), Source(manifest, share=0.3)), tmp_path), tokenizer, config)


def test_replay_alone_is_an_error(manifest: Path, tmp_path: Path, tokenizer: Tokenizer, config: ModelConfig) -> None:
    with pytest.raises(ManifestError, match="share below one"):
        Batches(DataConfig((Source(manifest, share=1.0),), tmp_path), tokenizer, config)
