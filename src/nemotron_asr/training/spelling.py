"""What CTC is taught: the letters of the tokens, for letters are heard long before pieces of words are."""

import torch
from torch import Tensor

from nemotron_asr.tokenizer import Tokenizer

SLOTS = 3
"""Letters that one encoder frame may hold: fast speech has 20 in a second, the encoder 12.5 frames."""


class Spelling:
    """The letters of every token, without case and punctuation. A language tag is a letter of its own.

    Attributes:
        letters: (vocab_size, longest) ids of letters, from 1 on; 0, CTC's blank, fills up.
        size: number of letters, blank included.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        spelled = [_letters(tokenizer, token) for token in range(tokenizer.vocab_size)]
        alphabet = {letter: i for i, letter in enumerate(sorted({x for word in spelled for x in word}), start=1)}
        self.size = len(alphabet) + 1
        self.letters = torch.zeros(tokenizer.vocab_size, max(map(len, spelled)), dtype=torch.long)
        for token, word in enumerate(spelled):
            self.letters[token, : len(word)] = torch.tensor([alphabet[letter] for letter in word], dtype=torch.long)

    def targets(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The letters of a batch of tokens (B, U), one after the other (N,), and their number per row (B,)."""
        said = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        letters = self.letters.to(tokens.device)[tokens] * said[..., None]
        return letters[letters > 0], (letters > 0).sum((1, 2))

    def first(self, tokens: Tensor) -> Tensor:
        """The first letter of every token, 0 where it has none."""
        return self.letters.to(tokens.device)[:, 0][tokens]


def _letters(tokenizer: Tokenizer, token: int) -> list[str]:
    if token in tokenizer.language_tags:
        return [tokenizer.piece(token)]
    return [character for character in tokenizer.text(token).lower() if character.isalpha()]
