"""Subword regularization (Kudo 2018; Provilkov et al. 2020): the same words in other pieces.

A model that always sees a word in the same pieces learns to write the words it has read. One that also sees them in
smaller pieces learns to spell what it hears (Lakomkin et al. 2020).
"""

from collections.abc import Sequence

from numpy.random import Generator

from nemotron_asr.tokenizer import Tokenizer


class SubwordSplitter:
    """Splits pieces into two that exist, again and again.

    Attributes:
        halves: per token, the pairs of tokens with the same text; none for language tags.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        pieces = [tokenizer.piece(token) for token in range(tokenizer.vocab_size)]
        ids = {piece: token for token, piece in enumerate(pieces) if tokenizer.text(token)}
        self.halves = [
            []
            if token in tokenizer.language_tags
            else [(ids[a], ids[b]) for a, b in _cuts(piece) if a in ids and b in ids]
            for token, piece in enumerate(pieces)
        ]

    def __call__(self, tokens: Sequence[int], probability: float, most: int, rng: Generator) -> list[int]:
        """Other tokens of the same text.

        Args:
            tokens: of an utterance.
            probability: of each of them to be split, and of its halves again.
            most: tokens that there may be in the end.
            rng: the source of all chance.
        """
        result: list[int] = []
        waiting = list(reversed(tokens))
        while waiting:
            token = waiting.pop()
            halves = self.halves[token] if len(result) + len(waiting) + 2 <= most else []
            if halves and rng.random() < probability:
                waiting += reversed(halves[rng.integers(len(halves))])
            else:
                result.append(token)
        return result


def _cuts(piece: str) -> list[tuple[str, str]]:
    return [(piece[:i], piece[i:]) for i in range(1, len(piece))]
