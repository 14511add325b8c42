"""A recognition beside what was said."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nemotron_asr.evaluation.normalisation import units, words
from nemotron_asr.evaluation.recognition import Recognition
from nemotron_asr.evaluation.scoring import Counts, Pair, align, count


@dataclass(frozen=True)
class Judged:
    """A recognition and what it is worth.

    Attributes:
        reference: the words or characters that were said.
        hypothesis: those that were heard.
        alignment: of the two.
        counts: of the alignment.
        confidences: of each word of the transcript, and whether it is right.
        delays: seconds from the end of a word to its first appearance, of the right words whose end is known.
    """

    recognition: Recognition
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]
    alignment: tuple[Pair, ...]
    counts: Counts
    confidences: tuple[tuple[float, bool], ...]
    delays: tuple[float, ...]


def judge(recognition: Recognition) -> Judged:
    """Compare what was heard with what was said."""
    reference, hypothesis = (
        units(recognition.reference, recognition.locale),
        units(recognition.text, recognition.locale),
    )
    alignment, right = align(reference, hypothesis), _right_words(recognition)
    return Judged(
        recognition=recognition,
        reference=tuple(reference),
        hypothesis=tuple(hypothesis),
        alignment=tuple(alignment),
        counts=count(alignment),
        confidences=tuple((word.confidence, place in right) for place, word in enumerate(recognition.words)),
        delays=tuple(_delays(recognition, right)),
    )


def _right_words(recognition: Recognition) -> dict[int, int]:
    """Places of the transcript's right words -> places of the reference's words that they are.

    Words are normalised one by one, so that each keeps its own confidence and time.
    """
    said = _owned(words(recognition.reference, recognition.locale), recognition.locale)
    heard = _owned([word.word for word in recognition.words], recognition.locale)
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


def _delays(recognition: Recognition, right: Mapping[int, int]) -> Iterator[float]:
    first = _count_timed(recognition) - len(recognition.ends)
    for word, place in right.items():
        if place >= first:
            yield recognition.words[word].shown - recognition.ends[place - first]


def _count_timed(recognition: Recognition) -> int:
    """Words of the reference up to the one that ends with the last of `ends`.

    Where one end alone is known, it is that of speech, and nobody says a mark that stands behind the last word.
    """
    said = words(recognition.reference, recognition.locale)
    places = [place for _, place in _owned(said, recognition.locale)]
    return 1 + places[-1] if places and len(recognition.ends) == 1 else len(said)
