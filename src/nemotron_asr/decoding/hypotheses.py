"""What a beam holds: hypotheses in tensors, and which of their tokens are settled."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from nemotron_asr.decoding.greedy import Emission, Variant, initial_state
from nemotron_asr.model import Transducer

PENDING = 64
"""Tokens that a hypothesis may hold back; the best one's are settled before there are more."""

MOST_SYMBOLS = PENDING - 10
"""Tokens that a model may say in a frame, if there is to be room for those of frames before."""

NOTHING = -1
"""Stands behind the last token."""

DEAD = -torch.inf
"""The score where there is no hypothesis."""


@dataclass
class Hypotheses:
    """What may have been said: axis 0 is the streams, axis 1 the hypotheses of one."""

    out: Tensor  # (B, K, d_joint) the prediction, projected for the joint
    h: Tensor  # (B, K, layers, d_pred)
    c: Tensor  # (B, K, layers, d_pred)
    score: Tensor  # (B, K) natural logarithm of the probability, against the best one's at the end of the last frame
    worth: Tensor  # (B, K) what a word model will add when the word is complete
    phrase: Tensor  # (B, K, 2) where it is within likely phrases, see `Bias.place`
    done: Tensor  # (B, K) has left the current frame
    symbols: Tensor  # (B, K) tokens said in the current frame
    length: Tensor  # (B, K) tokens that are not settled
    tokens: Tensor  # (B, K, PENDING) these
    frames: Tensor  # (B, K, PENDING) where they were said
    logprobs: Tensor  # (B, K, PENDING) natural logarithms of their probabilities
    confidence: Tensor  # (B, K, PENDING) the model's confidence in them

    @property
    def live(self) -> Tensor:
        """(B, K) where there is a hypothesis."""
        return self.score > DEAD

    def tensors(self) -> list[Tensor]:
        """The parts in a fixed order."""
        return [getattr(self, field.name) for field in fields(self)]

    def at(self, *index: Tensor) -> Self:
        """A copy of some streams, or of some hypotheses of each."""
        return type(self)(*(part[index] for part in self.tensors()))

    def put(self, rows: Tensor, new: "Hypotheses") -> None:
        """Write `new` into `rows`, in place."""
        for part, row in zip(self.tensors(), new.tensors(), strict=True):
            part[rows] = row

    def pending(self) -> list[Tensor]:
        """(B, K, PENDING) each: what an emission consists of, in its order."""
        return [self.tokens, self.frames, self.logprobs, self.confidence]

    def append(self, place: tuple[Tensor, Tensor], *emission: Tensor) -> None:
        """Say one more token at some places: its number, frame, log-probability and confidence."""
        end = (*place, self.length[place])
        for part, value in zip(self.pending(), emission, strict=True):
            part[end] = value
        self.length[place] += 1
        self.symbols[place] += 1

    def forget(self, count: Tensor) -> None:
        """Drop the first `count` (B,) tokens of every hypothesis."""
        place = torch.arange(PENDING, device=count.device) + count[:, None]
        behind = (place >= PENDING)[:, None]
        index = place.clamp(max=PENDING - 1)[:, None].expand_as(self.tokens)
        self.tokens, self.frames, self.logprobs, self.confidence = (part.gather(2, index) for part in self.pending())
        self.tokens = self.tokens.masked_fill(behind, NOTHING)
        self.length = (self.length - count[:, None]).clamp(min=0)


@dataclass(frozen=True)
class Alternative:
    """One of the hypotheses of a stream, from the last settled token on."""

    score: float  # natural logarithm of its probability, against the best one's, with the word model's share
    emissions: list[Emission]


def nothing_said(transducer: Transducer, batch: int, width: int) -> Hypotheses:
    """One hypothesis for each of `batch` new streams, and room for `width`."""
    start = initial_state(transducer, batch)
    out, h, c = (part[:, None].repeat(1, width, *[1] * (part.dim() - 1)) for part in start.tensors())
    score = torch.full((batch, width), DEAD, device=out.device, dtype=torch.promote_types(out.dtype, torch.float32))
    score[:, 0] = 0
    count = torch.zeros(batch, width, dtype=torch.long, device=out.device)
    tokens = torch.full((batch, width, PENDING), NOTHING, device=out.device)
    zeros = score.new_zeros(tokens.shape)
    pending = count, tokens, tokens.clone(), zeros, zeros.clone()
    phrase = count[..., None].repeat(1, 1, 2)
    return Hypotheses(out, h, c, score, torch.zeros_like(score), phrase, count.bool(), count.clone(), *pending)


def merged(score: Tensor, tokens: Tensor) -> Tensor:
    """Scores (B, K) in which of equal histories only the likeliest is left, with the probability of all."""
    same = (tokens[:, :, None] == tokens[:, None]).all(-1)
    equals = score[:, None].masked_fill(~same, DEAD)
    likeliest = equals.argmax(-1) == torch.arange(score.shape[1], device=score.device)
    return equals.logsumexp(-1).masked_fill(~likeliest, DEAD)


def commit(hypotheses: Hypotheses, due: Tensor) -> list[list[Alternative]]:
    """Drop the hypotheses that disagree with the best one on their first `due` (B, K) tokens.

    Returns:
        The best one of every stream, and those that were dropped; of streams that lose none, nothing.
    """
    best = hypotheses.score.argmax(1)
    tokens = hypotheses.tokens[torch.arange(len(best), device=best.device), best]
    undecided = torch.arange(PENDING, device=due.device) >= due[..., None]
    agrees = ((hypotheses.tokens == tokens[:, None]) | undecided).all(-1)
    dropped = hypotheses.live & ~agrees
    chosen: list[list[Alternative]] = [[] for _ in best]
    for row in dropped.any(1).nonzero()[:, 0].tolist():
        slots = torch.cat([best[row : row + 1], dropped[row].nonzero()[:, 0]])
        chosen[row] = alternatives(hypotheses, row, slots, hypotheses.score[row, slots])
    hypotheses.score = hypotheses.score.masked_fill(~agrees, DEAD)
    return chosen


def with_variants(settled: list[Emission], chosen: Sequence[Alternative]) -> list[Emission]:
    """Settled tokens, each with the hypotheses that were dropped because of it.

    Args:
        settled: the first tokens of a stream's best hypothesis.
        chosen: see `commit`.
    """
    settled = list(settled)
    for other in chosen[1:] if settled else ():
        ours, theirs = chosen[0].emissions, other.emissions
        first = min(_common(ours, theirs), len(settled) - 1)
        last = _common(ours[:first:-1], theirs[:first:-1])
        variant = Variant(other.score, len(ours) - last - first, tuple(theirs[first : len(theirs) - last]))
        settled[first] = replace(settled[first], instead=(*settled[first].instead, variant))
    return settled


def _common(ours: Sequence[Emission], theirs: Sequence[Emission]) -> int:
    """How many tokens are the same at the beginning."""
    differ = (place for place, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a.token != b.token)
    return next(differ, min(len(ours), len(theirs)))


def settle(hypotheses: Hypotheses, last: Tensor) -> list[list[Emission]]:
    """Take the tokens that all hypotheses begin with: they will be said, whichever wins.

    Args:
        hypotheses: lose these tokens.
        last: (B,) the frame of the last settled token, before which no other comes; moves on.

    Returns:
        The tokens per stream, at the likeliest hypothesis' frames.
    """
    place = torch.arange(len(last), device=last.device), hypotheses.score.argmax(1)
    tokens, length = hypotheses.tokens[place], hypotheses.length[place]
    same = ((hypotheses.tokens == tokens[:, None]) | ~hypotheses.live[..., None]).all(1)
    same &= torch.arange(PENDING, device=last.device) < length[:, None]
    count = same.cumprod(1).sum(1)
    counts = count.tolist()
    if not any(counts):
        return [[] for _ in counts]
    tokens, frames, *rest = (part[place] for part in hypotheses.pending())
    frames = torch.maximum(frames, last[:, None])
    last.copy_(torch.where(count > 0, frames.gather(1, (count - 1).clamp(min=0)[:, None])[:, 0], last))
    hypotheses.forget(count)
    return emissions([tokens, frames, *rest], counts)


def emissions(parts: Sequence[Tensor], counts: Sequence[int]) -> list[list[Emission]]:
    """The first tokens of some rows, from (B, PENDING) tensors of what an emission consists of."""
    rows = zip(*(part.tolist() for part in parts), strict=True)
    return [
        [Emission(*emission) for emission in zip(*(values[:count] for values in row), strict=True)]
        for row, count in zip(rows, counts, strict=True)
    ]


def alternatives(hypotheses: Hypotheses, row: int, slots: Tensor, score: Tensor) -> list[Alternative]:
    """Some hypotheses of a stream, scored against the first of them."""
    said = emissions([part[row, slots] for part in hypotheses.pending()], hypotheses.length[row, slots].tolist())
    return [Alternative(*pair) for pair in zip((score - score[0]).tolist(), said, strict=True)]
