"""Batches: decoded once, few shapes, and every draw a function of seed and step."""

import json
import pickle
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nemotron_asr.audio import load
from nemotron_asr.config import HOP, SAMPLE_RATE, ModelConfig
from nemotron_asr.corpus import parts
from nemotron_asr.corpus.manifest import read_manifest
from nemotron_asr.errors import ManifestError, printable
from nemotron_asr.features import WINDOW, mel_frames, window_samples, window_start
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.augment import AugmentConfig
from nemotron_asr.training.cache import AudioCache
from nemotron_asr.training.data import Batch, Batches, Bucket, DataConfig, Source, collate, make_buckets
from tests.training.conftest import Line, write_manifest


@pytest.fixture
def options(tmp_path: Path, manifest: Path) -> DataConfig:
    return DataConfig((Source(manifest),), tmp_path / "cache", batch_seconds=12, bucket_seconds=(2, 3.5, 5))


def same(a: Batch, b: Batch) -> bool:
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in fields(Batch)]
    return all(torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in pairs)


def test_the_cache_holds_what_the_decoder_gives_and_decodes_once(
    tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = read_manifest(manifest)
    first = AudioCache(clips, tmp_path, "clips")
    monkeypatch.setattr(parts, "load", None)  # a second decoding would fail
    second = AudioCache(clips, tmp_path, "clips")
    for row, clip in enumerate(clips):
        np.testing.assert_allclose(first[row], load(clip.path), atol=0.5001 / 32768)
        np.testing.assert_array_equal(first[row], second[row])


def test_manifests_whose_names_have_dots_keep_their_own_audio(
    tmp_path: Path, lines: list[Line], tokenizer: Tokenizer, config: ModelConfig
) -> None:
    for name, line in (("x.train", lines[2]), ("x.dev", lines[3])):
        path = write_manifest(tmp_path / f"{name}.jsonl", [line])
        [bucket] = Batches(DataConfig((Source(path),), tmp_path / "cache"), tokenizer, config).buckets
        np.testing.assert_allclose(bucket.items[0].load(), load(line["audio_filepath"]), atol=0.5001 / 32768)


def test_parts_of_a_recording_are_cut_out_of_it(
    tmp_path: Path, lines: list[Line], tokenizer: Tokenizer, config: ModelConfig, caplog: pytest.LogCaptureFixture
) -> None:
    whole = load(lines[0]["audio_filepath"])
    length = len(whole) / SAMPLE_RATE
    times = [(0.5, 1.0), (1.5, round(length - 1.5 + 0.09, 3)), (0, 1.0), (length - 1, 1.2), (length + 0.01, 0.02)]
    parts = [{**lines[0], "text": "Neben.", "offset": begin, "duration": seconds} for begin, seconds in times]
    path = write_manifest(tmp_path / "m.jsonl", [lines[0], *parts])
    with caplog.at_level("INFO"):
        buckets = Batches(DataConfig((Source(path),), tmp_path / "cache"), tokenizer, config).buckets
    found = {item.example.clip.row: item.load() for bucket in buckets for item in bucket.items}
    expected = [whole, whole[8000:24000], whole[24000:], whole[:16000]]
    assert sorted(found) == [0, 1, 2, 3]
    for row, samples in enumerate(expected):
        np.testing.assert_allclose(found[row], samples, atol=0.5001 / 32768)
    assert "left out, unreadable: 2" in caplog.text
    assert f"#t={length + 0.01}," in caplog.text


def test_another_part_is_another_cache(tmp_path: Path, lines: list[Line]) -> None:
    paths = [write_manifest(tmp_path / f"{i}.jsonl", [{**lines[0], "offset": i, "duration": 1}]) for i in range(2)]
    first, second = (AudioCache(read_manifest(path), tmp_path, "clips")[0] for path in paths)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("line", ["{", '{"audio_filepath": "a.wav", "text": "\\ud800", "target_lang": "de-DE"}'])
@pytest.mark.parametrize("name", ["a" * 300 + ".wav", "a\x00.wav", "a\ud800.wav"], ids=["long", "zero", "half"])
def test_a_line_or_a_name_that_cannot_be_is_left_out(
    tmp_path: Path,
    lines: list[Line],
    tokenizer: Tokenizer,
    config: ModelConfig,
    name: str,
    line: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write_manifest(tmp_path / "m.jsonl", [lines[2]])
    bad = json.dumps({**lines[0], "audio_filepath": name})
    path.write_text("\n".join([line, bad, path.read_text(encoding="utf-8")]), encoding="utf-8")
    with caplog.at_level("INFO"):
        [bucket] = Batches(DataConfig((Source(path),), tmp_path / "cache"), tokenizer, config).buckets
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert [item.example.clip.text for item in bucket.items] == [lines[2]["text"]]
    [named] = (tmp_path / "cache").glob("*-left-out.jsonl")
    rejected = [json.loads(entry) for entry in named.read_text(encoding="utf-8").splitlines()]
    assert rejected[0]["reason"].startswith(printable(str(path.parent / name)))
    assert f"{path}, line 1: " in rejected[1]["reason"]


def test_unreadable_audio_is_left_out_not_fatal(
    tmp_path: Path, lines: list[Line], tokenizer: Tokenizer, config: ModelConfig, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "noise.wav").write_bytes(b"this is not audio")
    broken = [{**lines[0], "audio_filepath": "noise.wav"}, {**lines[1], "audio_filepath": "missing.wav"}]
    path = write_manifest(tmp_path / "m.jsonl", [broken[0], lines[2], broken[1], lines[3]])
    with caplog.at_level("INFO"):
        batches = Batches(DataConfig((Source(path),), tmp_path, augment=None), tokenizer, config)
    items = [item for bucket in batches.buckets for item in bucket.items]
    assert sorted(item.example.clip.text for item in items) == sorted(line["text"] for line in lines[2:4])
    for item in items:
        np.testing.assert_allclose(item.load(), load(item.example.clip.path), atol=0.5001 / 32768)
    assert "left out, unreadable: 2" in caplog.text
    assert "missing.wav" in caplog.text
    for _ in range(2):  # it is known in a run that goes on, too
        [named] = tmp_path.glob("*-left-out.jsonl")
        reasons = [json.loads(line)["reason"] for line in named.read_text(encoding="utf-8").splitlines()]
        assert "this is not audio or video that can be decoded" in reasons[0]
        assert reasons[1].endswith("missing.wav: No such file or directory")
        named.unlink()
        Batches(DataConfig((Source(path),), tmp_path, augment=None), tokenizer, config)


def test_nothing_usable_is_an_error(
    tmp_path: Path, lines: list[Line], tokenizer: Tokenizer, config: ModelConfig
) -> None:
    path = write_manifest(tmp_path / "m.jsonl", [{**lines[0], "audio_filepath": "missing.wav"}])
    (tmp_path / "text.jsonl").write_text("{")  # not even a clip
    for manifest in (path, tmp_path / "text.jsonl"):
        with pytest.raises(ManifestError, match="no usable clip"):
            Batches(DataConfig((Source(manifest),), tmp_path), tokenizer, config)


def test_a_batch_is_a_function_of_seed_and_step(options: DataConfig, tokenizer: Tokenizer, config: ModelConfig) -> None:
    batches, again = Batches(options, tokenizer, config), Batches(options, tokenizer, config)
    assert all(same(batches[step], again[step]) for step in (7, 3, 0))
    assert not same(batches[0], batches[1])
    assert not same(batches[0], Batches(replace(options, seed=1), tokenizer, config)[0])


def test_a_process_that_is_started_maps_the_audio_itself(options: DataConfig, manifest: Path) -> None:
    clips = read_manifest(manifest)
    cache = AudioCache(clips, options.cache, "some")
    sent = pickle.dumps(cache)
    assert np.array_equal(cache[0], pickle.loads(sent)[0])  # noqa: S301 - our own
    assert len(pickle.dumps(cache)) == len(sent) < 2 * cache.lengths.sum() / 10


def test_a_worker_makes_the_same_batches(options: DataConfig, tokenizer: Tokenizer, config: ModelConfig) -> None:
    batches = Batches(options, tokenizer, config)
    made = list(batches.loader(2, 6, workers=1))
    assert len(made) == 4
    assert all(same(batch, batches[step]) for step, batch in enumerate(made, 2))


def test_shapes_are_those_of_the_buckets(options: DataConfig, tokenizer: Tokenizer, config: ModelConfig) -> None:
    batches = Batches(options, tokenizer, config)
    shapes = {(b.rows, 1 + window_samples(b.frames), b.tokens) for b in batches.buckets}
    assert len(shapes) == 2
    drawn = [batches[step] for step in range(40)]
    assert {(*batch.samples.shape, batch.tokens.shape[1]) for batch in drawn} == shapes
    assert all(int(batch.lengths.max()) <= 5 * SAMPLE_RATE for batch in drawn)
    assert {batch.lookahead for batch in drawn} == {0, 3, 6, 13}


def test_rows_hold_audio_text_and_prompt(options: DataConfig, tokenizer: Tokenizer, config: ModelConfig) -> None:
    batches = Batches(replace(options, augment=None), tokenizer, config)
    items = {item.example.tokens: item for bucket in batches.buckets for item in bucket.items}
    prompts: Counter[bool] = Counter()
    for batch in (batches[step] for step in range(40)):
        for row in range(len(batch.lengths)):
            item = items[tuple(batch.tokens[row, : batch.token_lengths[row]].tolist())]
            start = 1 - window_start(0)
            audio = batch.samples[row, start : start + int(batch.lengths[row])]
            np.testing.assert_array_equal(audio.numpy(), item.load())
            assert batch.samples[row].count_nonzero() == audio.count_nonzero()
            assert int(batch.prompts[row]) in {101, item.example.prompt}
            prompts[int(batch.prompts[row]) == 101] += 1
    assert 0.4 < prompts[True] / prompts.total() < 0.6


@pytest.mark.parametrize("samples", [16_000, 16_896, 16_897, 17_919, 73_273])
def test_the_longest_clip_of_a_batch_may_end_anywhere(samples: int) -> None:
    """In some lengths the last samples lie behind the windows of all frames: nobody hears them."""
    clip = np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)
    batch = collate([clip], [[1]], [0], Bucket(samples, 1, 1, []), 0)
    held = batch.samples[0, 1 - window_start(0) :].numpy()
    valid = mel_frames(samples)
    assert batch.lengths.tolist() == [samples]
    assert len(held) >= min(samples, (valid - 1) * HOP + WINDOW // 2)  # all that the last mel frame is made of
    assert np.array_equal(held[:samples], clip[: len(held)])


def test_weights_say_how_often_a_clip_is_drawn(
    tmp_path: Path, lines: list[Line], tokenizer: Tokenizer, config: ModelConfig
) -> None:
    rare, often = write_manifest(tmp_path / "a.jsonl", lines[:2]), write_manifest(tmp_path / "b.jsonl", lines[2:3])
    options = DataConfig(
        (Source(rare), Source(often, weight=3)),
        tmp_path,
        batch_seconds=8,
        bucket_seconds=(3.5, 5),
        language_weights={lines[1]["target_lang"]: 2},
        augment=None,
    )
    batches = Batches(options, tokenizer, config)
    drawn: Counter[int] = Counter()
    for step in range(400):
        batch = batches[step]
        drawn.update(int(row[n - 1]) for row, n in zip(batch.tokens, batch.token_lengths, strict=True))
    shares = {tokenizer.language_tags[tag]: n / drawn.total() for tag, n in drawn.items()}
    expected = {line["target_lang"]: weight / 6 for line, weight in zip(lines[:3], (1, 2, 3), strict=True)}
    assert shares == pytest.approx(expected, abs=0.06)


def test_talkative_clips_go_to_a_longer_bucket(options: DataConfig, tokenizer: Tokenizer, config: ModelConfig) -> None:
    item = Batches(options, tokenizer, config).buckets[0].items[0]
    talkative = replace(item, example=replace(item.example, tokens=(1,) * 40))
    calm = [replace(item, example=replace(item.example, tokens=(1,) * 10)) for _ in range(40)]
    short, long = make_buckets([*calm, talkative], (3.5, 5.0), 10.0)
    assert (short.tokens, len(short.items), short.rows) == (12, 40, 2)
    assert (long.tokens, long.items, long.rows) == (40, [talkative], 2)


def test_some_clips_give_way_to_noise_and_have_no_text(
    options: DataConfig, tokenizer: Tokenizer, config: ModelConfig
) -> None:
    """The others stay as they are without: nothing else is drawn differently."""
    never = Batches(replace(options, augment=AugmentConfig()), tokenizer, config)
    often = Batches(replace(options, augment=AugmentConfig(non_speech_probability=0.4)), tokenizer, config)
    silent = 0
    for step in range(12):
        spoken, mixed = never[step], often[step]
        quiet = mixed.token_lengths == 0
        silent += int(quiet.sum())
        assert not mixed.tokens[quiet].any()
        assert bool((mixed.lengths[quiet] == mixed.lengths.max()).all())
        assert torch.equal(mixed.samples[~quiet], spoken.samples[~quiet])
        assert torch.equal(mixed.tokens[~quiet], spoken.tokens[~quiet])
    rows = sum(len(never[step].lengths) for step in range(12))
    assert 0.25 < silent / rows < 0.55
