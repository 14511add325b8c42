"""A word model beside the transducer: shallow fusion, word by word.

A word is scored when it is complete, by whatever begins the next one. What completing its word will add is known of
every hypothesis beforehand, so it is one number that is added to all tokens which do that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from nemotron_asr.decoding.ngram import WordModel, spoken
from nemotron_asr.tokenizer import Tokenizer


@dataclass(frozen=True)
class Context:
    """Where one hypothesis is in the word model."""

    state: Any
    word: str = ""  # so far
    after: Any = None  # the state when it is complete
    worth: float = 0.0  # what that adds to the score


@dataclass(frozen=True, eq=False)
class Fusion:
    """A word model and how much it counts.

    Attributes:
        model: knows which words follow each other.
        tokenizer: writes the words.
        weight: of the model's log-probabilities against the transducer's.
        bonus: added for every word, so that a model does not make texts short.
    """

    model: WordModel
    tokenizer: Tokenizer
    weight: float
    bonus: float

    @cached_property
    def completing(self) -> Tensor:
        """(vocab_size + 1,) 1 for tokens that complete the word before them, 0 for others."""
        tags, tokens = self.tokenizer.language_tags, range(self.tokenizer.vocab_size)
        return torch.tensor([*(i in tags or self.tokenizer.text(i).startswith(" ") for i in tokens), False]).float()

    def begin(self) -> Context:
        """Nothing was said."""
        return Context(self.model.start())

    def follow(self, context: Context, token: int) -> Context:
        """One more token was said. A language tag ends a sentence, and the next begins."""
        if token in self.tokenizer.language_tags:
            return self.begin()
        text = self.tokenizer.text(token)
        if not text.startswith(" "):
            return self._with(context.state, context.word + text)
        return self._with(context.state if not spoken(context.word) else context.after, text[1:])

    def _with(self, state: Any, word: str) -> Context:
        if not spoken(word):
            return Context(state, word)
        after, logprob = self.model.score(state, word)
        return Context(state, word, after, self.weight * logprob + self.bonus)


@dataclass
class Words:
    """The word models of some streams, and where their hypotheses are; a stream without one has None."""

    fusions: list[Fusion | None]
    contexts: list[list[Context]] = field(default_factory=list)

    @classmethod
    def begin(cls, fusions: Sequence[Fusion | None], width: int) -> "Words":
        """Streams of `width` hypotheses that have said nothing."""
        return cls(list(fusions), [[fusion.begin()] * width if fusion else [] for fusion in fusions])

    def gather(self, rows: Tensor) -> "Words":
        """Those of some rows."""
        chosen = rows.tolist()
        return Words([self.fusions[row] for row in chosen], [self.contexts[row] for row in chosen])

    def scatter(self, rows: Tensor, new: "Words") -> None:
        """Write `new` into `rows`, in place."""
        for row, fusion, contexts in zip(rows.tolist(), new.fusions, new.contexts, strict=True):
            self.fusions[row], self.contexts[row] = fusion, contexts

    def follow(self, parent: Tensor, token: Tensor, worth: Tensor) -> None:
        """Every hypothesis comes from one before it, some by a token.

        Args:
            parent: (B, K) which one that was.
            token: (B, K) what was said, or a negative number.
            worth: (B, K) what completing its word will add to each; written where there is a model.
        """
        if not any(self.fusions):
            return
        parents, tokens = parent.tolist(), token.tolist()
        for row, fusion in enumerate(self.fusions):
            if fusion:
                before = [self.contexts[row][k] for k in parents[row]]
                after = [fusion.follow(c, t) if t >= 0 else c for c, t in zip(before, tokens[row], strict=True)]
                self.contexts[row] = after
                worth[row] = torch.tensor([context.worth for context in after])
