"""Confidence against truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.evaluation.calibration import expected_calibration_error, pool, reliability

# Training in the same process has the processor take subnormal numbers for zero.
WORDS = st.lists(st.tuples(st.floats(0, 1, allow_subnormal=False), st.booleans()), min_size=1)


def test_a_table_by_hand() -> None:
    bins = reliability([(0.91, True), (0.99, False), (0.35, False), (1.0, True)])
    assert [(b.low, b.words) for b in bins] == [(0.3, 1), (0.9, 3)]
    assert bins[1].confidence == pytest.approx(2.9 / 3)
    assert bins[1].right == pytest.approx(2 / 3)
    assert expected_calibration_error(bins) == pytest.approx((0.35 + 3 * (2.9 / 3 - 2 / 3)) / 4)


def test_words_that_are_as_right_as_they_say_have_no_error() -> None:
    chance = np.random.default_rng(0)
    words = [(c, bool(chance.random() < c)) for c in chance.random(20_000)]
    found = expected_calibration_error(reliability(words))
    assert found is not None
    assert found < 0.02


def test_without_words_there_is_no_error() -> None:
    assert expected_calibration_error(reliability([])) is None


@settings(deadline=None, max_examples=50)
@given(WORDS, WORDS)
def test_tables_pool_to_the_table_of_all_words(
    some: list[tuple[float, bool]], others: list[tuple[float, bool]]
) -> None:
    pooled, together = pool([reliability(some), reliability(others)]), reliability([*some, *others])
    assert [(b.low, b.words) for b in pooled] == [(b.low, b.words) for b in together]
    assert all(math.isclose(p.confidence, t.confidence, abs_tol=1e-9) for p, t in zip(pooled, together, strict=True))
    assert all(math.isclose(p.right, t.right, abs_tol=1e-9) for p, t in zip(pooled, together, strict=True))
