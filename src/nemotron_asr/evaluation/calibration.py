"""Whether a word's confidence is the chance that it is right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Words of about the same confidence.

    Attributes:
        low: the least confidence of words in it; the next bin begins 1 / `BINS` above.
        words: how many.
        confidence: their mean.
        right: the share of them that was said.
    """

    low: float
    words: int
    confidence: float
    right: float


def reliability(words: Iterable[tuple[float, bool]]) -> tuple[Bin, ...]:
    """The reliability table of (confidence, right) pairs; bins without words are left out."""
    binned: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in words:
        binned.setdefault(min(int(confidence * BINS), BINS - 1), []).append((confidence, right))
    return tuple(
        Bin(index / BINS, len(rows), sum(c for c, _ in rows) / len(rows), sum(r for _, r in rows) / len(rows))
        for index, rows in sorted(binned.items())
    )


def expected_calibration_error(bins: Sequence[Bin]) -> float | None:
    """The mean distance between confidence and truth, over words; None if there are none.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), equation 3.
    """
    words = sum(b.words for b in bins)
    return sum(b.words * abs(b.confidence - b.right) for b in bins) / words if words else None


def pool(tables: Iterable[Sequence[Bin]]) -> tuple[Bin, ...]:
    """Several reliability tables as one."""
    binned: dict[float, list[Bin]] = {}
    for b in chain.from_iterable(tables):
        binned.setdefault(b.low, []).append(b)
    return tuple(_merged(bins) for _, bins in sorted(binned.items()))


def _merged(bins: Sequence[Bin]) -> Bin:
    words = sum(b.words for b in bins)
    confidence = sum(b.words * b.confidence for b in bins) / words
    return Bin(bins[0].low, words, confidence, sum(b.words * b.right for b in bins) / words)
