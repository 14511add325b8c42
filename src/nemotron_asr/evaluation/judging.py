"""A hearing beside what was said."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nemotron_asr.evaluation.listening import Hearing
from nemotron_asr.evaluation.normalisation import units, words
from nemotron_asr.evaluation.scoring import Counts, Pair, align, count


@dataclass(frozen=True)
class Judged:
    """A hearing and what it is worth.

    Attributes:
        reference: the words or characters that were said.
        hypothesis: those that were heard.
        alignment: of the two.
        counts: of the alignment.
        confidences: of each word of the transcript, and whether it is right.
        delays: seconds from the end of a word to its first appearance, of the right words whose end is known.
    """

    hearing: Hearing
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]
    alignment: tuple[Pair, ...]
    counts: Counts
    confidences: tuple[tuple[float, bool], ...]
    delays: tuple[float, ...]


def judge(hearing: Hearing) -> Judged:
    """Compare what was heard with what was said."""
    reference, hypothesis = units(hearing.reference, hearing.locale), units(hearing.text, hearing.locale)
    alignment, right = align(reference, hypothesis), _right_words(hearing)
    return Judged(
        hearing=hearing,
        reference=tuple(reference),
        hypothesis=tuple(hypothesis),
        alignment=tuple(alignment),
        counts=count(alignment),
        confidences=tuple((word.confidence, place in right) for place, word in enumerate(hearing.words)),
        delays=tuple(_delays(hearing, right)),
    )


def _right_words(hearing: Hearing) -> dict[int, int]:
    """Places of the transcript's right words -> places of the reference's words that they are.

    Words are normalised one by one, so that each keeps its own confidence and time.
    """
    said = _owned(words(hearing.reference, hearing.locale), hearing.locale)
    heard = _owned([word.word for word in hearing.words], hearing.locale)
    meant: dict[int, int] = {}
    wrong: set[int] = set()
    for pair in align([unit for unit, _ in said], [unit for unit, _ in heard]):
        if pair.equal and pair.hypothesis is not None and pair.reference is not None:
            meant[heard[pair.hypothesis][1]] = said[pair.reference][1]
        elif pair.hypothesis is not None:
            wrong.add(heard[pair.hypothesis][1])
    return {word: place for word, place in meant.items() if word not in wrong}


def _owned(spoken: Sequence[str], locale: str) -> list[tuple[str, int]]:
    """The units of words, each with the place of its word."""
    return [(unit, place) for place, word in enumerate(spoken) for unit in units(word, locale)]


def _delays(hearing: Hearing, right: Mapping[int, int]) -> Iterator[float]:
    first = _count_timed(hearing) - len(hearing.ends)
    for word, place in right.items():
        if place >= first:
            yield hearing.words[word].shown - hearing.ends[place - first]


def _count_timed(hearing: Hearing) -> int:
    """Words of the reference up to the one that ends with the last of `ends`.

    Where one end alone is known, it is that of speech, and nobody says a mark that stands behind the last word.
    """
    said = words(hearing.reference, hearing.locale)
    places = [place for _, place in _owned(said, hearing.locale)]
    return 1 + places[-1] if places and len(hearing.ends) == 1 else len(said)
