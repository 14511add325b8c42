"""Alignments, what they count, and how sure a rate is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Pair:
    """One place of an alignment; a side that is None has nothing there."""

    reference: int | None
    hypothesis: int | None
    equal: bool


@dataclass(frozen=True)
class Counts:
    """Units of a reference, by what became of them, and those that nobody said."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def units(self) -> int:
        """Units of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        """What is wrong, of all kinds."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per unit of the reference; may be above 1."""
        return self.errors / self.units if self.units else 0.0


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of counts."""
    rows = [(c.hits, c.substitutions, c.deletions, c.insertions) for c in counts]
    return Counts(*map(sum, zip(*rows, strict=True)))


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """The alignment with the fewest errors, in order; units must not contain spaces."""
    if not reference:
        return [Pair(None, place, equal=False) for place in range(len(hypothesis))]
    found = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    return [pair for chunk in found.alignments[0] for pair in _pairs(chunk)]


def _pairs(chunk: jiwer.AlignmentChunk) -> Iterable[Pair]:
    said = range(chunk.ref_start_idx, chunk.ref_end_idx)
    heard = range(chunk.hyp_start_idx, chunk.hyp_end_idx)
    if chunk.type == "insert":
        return (Pair(None, place, equal=False) for place in heard)
    if chunk.type == "delete":
        return (Pair(place, None, equal=False) for place in said)
    return (Pair(r, h, chunk.type == "equal") for r, h in zip(said, heard, strict=True))


def count(alignment: Iterable[Pair]) -> Counts:
    """What an alignment counts."""
    pairs = list(alignment)
    hits = sum(pair.equal for pair in pairs)
    deletions = sum(pair.hypothesis is None for pair in pairs)
    insertions = sum(pair.reference is None for pair in pairs)
    return Counts(hits, len(pairs) - hits - deletions - insertions, deletions, insertions)


def resample(clips: Sequence[Counts], chance: np.random.Generator) -> NDArray[np.float64]:
    """Rates of as many clips drawn with replacement, `RESAMPLES` times.

    Whole clips are drawn, as the errors within one depend on each other (Bisani and Ney, "Bootstrap estimates for
    confidence intervals in ASR performance evaluation", 2004).
    """
    errors, units = np.array([c.errors for c in clips]), np.array([c.units for c in clips])
    draws = (chance.integers(len(clips), size=len(clips)) for _ in range(RESAMPLES))
    return np.array([errors[drawn].sum() / units[drawn].sum() for drawn in draws])


def interval(rates: NDArray[np.float64]) -> tuple[float, float]:
    """Between which two of resampled rates `CONFIDENCE` of them lie."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    return float(low), float(high)
