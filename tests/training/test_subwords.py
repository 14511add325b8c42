"""The same text in other pieces."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nemotron_asr.checkpoint import load_checkpoint
from nemotron_asr.config import ModelConfig
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import Batches, DataConfig, Source
from nemotron_asr.training.subwords import SubwordSplitter

TEXT = "Sie sah die Sonne und die Wiese. <de-DE>"


@pytest.fixture
def ids(tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode(TEXT)


def test_the_text_stays_and_so_does_its_tag(tokenizer: Tokenizer, ids: list[int]) -> None:
    split, rng = SubwordSplitter(tokenizer), np.random.default_rng(0)
    drawn = [split(ids, 0.5, 100, rng) for _ in range(200)]
    assert {tokenizer.decode(each) for each in drawn} == {tokenizer.decode(ids)}
    assert {each[-1] for each in drawn} == {ids[-1]}
    assert len({tuple(each) for each in drawn}) > 100


def test_without_probability_nothing_changes_and_with_certainty_nothing_is_left_to_split(
    tokenizer: Tokenizer, ids: list[int]
) -> None:
    split, rng = SubwordSplitter(tokenizer), np.random.default_rng(0)
    assert split(ids, 0.0, 100, rng) == ids
    letters = split(ids, 1.0, 100, rng)
    assert len(letters) > len(ids)
    assert not any(split.halves[token] for token in letters)


def test_each_piece_is_split_as_often_as_asked_and_in_all_ways() -> None:
    split, rng = SubwordSplitter(load_checkpoint("tiny").tokenizer), np.random.default_rng(0)
    whole = next(token for token, halves in enumerate(split.halves) if len(halves) > 1)
    drawn = Counter(tuple(split([whole], 0.2, 2, rng)) for _ in range(5000))
    assert drawn.pop((whole,)) / 5000 == pytest.approx(0.8, abs=0.03)
    assert set(drawn) == set(split.halves[whole])


def test_there_are_never_more_tokens_than_fit(tokenizer: Tokenizer, ids: list[int]) -> None:
    split, rng = SubwordSplitter(tokenizer), np.random.default_rng(0)
    for most in (len(ids), len(ids) + 2):
        assert len(split(ids, 1.0, most, rng)) == most


def test_batches_are_written_in_many_ways_and_say_the_same(
    tmp_path: Path, manifest: Path, tokenizer: Tokenizer, config: ModelConfig
) -> None:
    options = DataConfig((Source(manifest),), tmp_path / "cache", batch_seconds=12, bucket_seconds=(5,), augment=None)
    ways: list[set[tuple[int, ...]]] = []
    for probability in (0.0, 0.3):
        batches = Batches(replace(options, split_probability=probability), tokenizer, config)
        rows = [row for step in range(20) for row in _rows(batches, step)]
        ways.append(set(rows))
    whole, split = ways
    assert len(split) > len(whole)
    assert {tokenizer.decode(row) for row in split} == {tokenizer.decode(row) for row in whole}


def _rows(batches: Batches, step: int) -> list[tuple[int, ...]]:
    batch = batches[step]
    return [tuple(row[:n].tolist()) for row, n in zip(batch.tokens, batch.token_lengths, strict=True)]
