"""New sentences from old recordings: where letters are heard, where words are cut apart, how they are put together."""

import random
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest

from nemotron_asr.config import SAMPLE_RATE
from recipes.tiny.align import align
from recipes.tiny.splice import FADE, LEAD_SECONDS, LENGTH_SECONDS, PAUSE_SECONDS, Piece, Splicer, join, pieces


@pytest.mark.parametrize("seed", range(10))
def test_letters_are_heard_where_the_best_path_says_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    letters, slots = [1, 2, 1, 3], sorted(rng.choice(np.arange(0, 12, 2), 4, replace=False).tolist())
    likely = np.full((12, 4), 0.03)
    likely[:, 0] = 0.91
    for slot, letter in zip(slots, letters, strict=True):
        likely[slot] = 0.03
        likely[slot, letter] = 0.91
    assert align(np.log(likely).astype(np.float32), letters) == slots


@pytest.mark.parametrize("seed", range(10))
def test_the_path_is_as_likely_as_any(seed: int) -> None:
    letters, slots = [2, 1, 1], 7
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), slots)).astype(np.float32)
    heard = align(log_probs, letters)
    assert score(log_probs, letters, heard) == pytest.approx(
        max(score(log_probs, letters, list(slot)) for slot in combinations(range(slots), 3) if slot[2] > slot[1] + 1)
    )


def score(log_probs: np.ndarray, letters: Sequence[int], slots: Sequence[int]) -> float:
    """Of the best path on which each letter is heard in its slot: between two slots there is blank or either letter."""
    bounds = [-1, *slots, len(log_probs)]
    around = [0, *letters, 0]
    total = float(sum(log_probs[slot, letter] for slot, letter in zip(slots, letters, strict=True)))
    for (left, right), (before, after) in zip(pairwise(bounds), pairwise(around), strict=True):
        total += best_between(log_probs[left + 1 : right], before, after)
    return total


def best_between(log_probs: np.ndarray, before: int, after: int) -> float:
    """First the letter before goes on, then there is blank, then the letter after; blank must part equal letters."""
    n = len(log_probs)
    ways = [
        log_probs[:i, before].sum() + log_probs[i:j, 0].sum() + log_probs[j:, after].sum()
        for i in range(n + 1)
        for j in range(i + (before == after != 0), n + 1)
    ]
    return float(max(ways))


def test_a_letter_said_twice_has_a_blank_between() -> None:
    log_probs = np.log(np.array([[0.1, 0.9], [0.2, 0.8], [0.1, 0.9]], dtype=np.float32))
    assert align(log_probs, [1, 1]) == [0, 2]


def tone(seconds: float, level: float) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def test_words_are_cut_apart_where_it_is_quiet_and_nowhere_else() -> None:
    samples = np.concatenate((tone(0.5, 0.5), tone(0.1, 0.001), tone(1.0, 0.5)))
    cut = list(pieces(samples, ["One", "two", "three."], [(0.1, 0.45), (0.65, 1.0), (1.1, 1.5)]))
    assert [piece.words for piece in cut] == [("One",), ("two", "three.")]
    assert 0.5 <= len(cut[0].samples) / SAMPLE_RATE <= 0.6
    assert np.array_equal(np.concatenate([piece.samples for piece in cut]), samples)


def test_joined_pieces_overlap_by_the_fade_and_keep_their_insides() -> None:
    first, second = np.full(1000, 0.25, np.float32), np.full(2000, 0.5, np.float32)
    whole = join([first, second])
    assert len(whole) == 3000 - FADE
    assert np.all(whole[: 1000 - FADE] == 0.25)
    assert np.all(whole[1000:] == 0.5)
    assert np.all(np.diff(whole) >= 0)


def test_a_sentence_has_the_words_of_its_pieces_a_capital_and_one_stop() -> None:
    stock = [
        Piece(("Das", "ist"), tone(0.6, 0.5)),
        Piece(("ein", "Haus."), tone(0.7, 0.5)),
        Piece(("und", "das,"), tone(0.5, 0.5)),
        Piece(("das", "Haus?"), tone(0.5, 0.5)),
    ]
    splicer = Splicer(stock, random.Random(0))
    for _ in range(50):
        sentence = splicer.draw()
        assert sentence.words[0][0].isupper()
        assert sentence.words[-1][-1] in ".?"
        assert not any(word[-1] in ".?" for word in sentence.words[:-1])
        assert {word.rstrip(".?,").lower() for word in sentence.words} <= {"das", "ist", "ein", "haus", "und"}
        assert "haus" not in [word.rstrip(".?") for word in sentence.words[1:]]
        longest = LENGTH_SECONDS[1] + 0.7 + LEAD_SECONDS[1] + 14 * PAUSE_SECONDS[1]
        assert LENGTH_SECONDS[0] - 0.2 <= len(sentence.samples) / SAMPLE_RATE <= longest
