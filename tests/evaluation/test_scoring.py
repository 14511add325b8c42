"""Alignments and what they count."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.evaluation.scoring import RESAMPLES, Counts, align, count, interval, resample, total

WORDS = st.lists(st.sampled_from(["a", "b", "c", "é"]), max_size=8)


def distance(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein's, as textbooks have it."""
    row = list(range(len(hypothesis) + 1))
    for i, said in enumerate(reference, 1):
        above, row = row, [i]
        for j, heard in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (said != heard)))
    return row[-1]


def test_counts_what_is_wrong_by_kind() -> None:
    assert count(align("a b c d e f".split(), "z a x c e f".split())) == Counts(4, 1, 1, 1)
    assert count(align(["a"], [])) == Counts(deletions=1)
    assert count(align([], ["a"])) == Counts(insertions=1)


@settings(deadline=None, max_examples=50)
@given(WORDS, WORDS)
def test_has_as_few_errors_as_can_be(reference: list[str], hypothesis: list[str]) -> None:
    counts = count(align(reference, hypothesis))
    assert counts.errors == distance(reference, hypothesis)
    assert counts.units == len(reference)


@settings(deadline=None, max_examples=50)
@given(WORDS, WORDS)
def test_an_alignment_has_every_word_once_and_in_order(reference: list[str], hypothesis: list[str]) -> None:
    pairs = align(reference, hypothesis)
    assert [p.reference for p in pairs if p.reference is not None] == list(range(len(reference)))
    assert [p.hypothesis for p in pairs if p.hypothesis is not None] == list(range(len(hypothesis)))
    for pair in pairs:
        same = (
            pair.reference is not None
            and pair.hypothesis is not None
            and reference[pair.reference] == hypothesis[pair.hypothesis]
        )
        assert pair.equal == same


def test_counts_add_up_and_rates_may_exceed_one() -> None:
    both = total([Counts(hits=3, deletions=1), Counts(substitutions=1, insertions=6)])
    assert both == Counts(3, 1, 1, 6)
    assert both.rate == 8 / 5


def test_an_interval_holds_the_rate_and_narrows_with_more_clips() -> None:
    some = [Counts(hits=8, substitutions=n % 5) for n in range(20)]
    rates = resample(some, np.random.default_rng(1))
    low, high = interval(rates)
    assert rates.shape == (RESAMPLES,)
    assert low < total(some).rate < high
    more = interval(resample(some * 25, np.random.default_rng(1)))
    assert 3 < (high - low) / (more[1] - more[0]) < 7  # the square root of 25


def test_clips_that_are_all_alike_leave_no_doubt() -> None:
    rates = resample([Counts(hits=3, substitutions=1)] * 5, np.random.default_rng(0))
    assert interval(rates) == (0.25, 0.25)
