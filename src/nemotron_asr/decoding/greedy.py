"""Batched greedy search.

Every row walks its own frames: blank moves it to the next frame, a token to the next symbol (label-looping, Bataev et
al. 2024), so that nothing waits for a neighbour. While a row says nothing its predictor does not move either: the joint
is computed for a few frames at once, and all up to the first token are done.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nemotron_asr.decoding.bias import Bias
from nemotron_asr.model import PredictorState, Transducer

WINDOW = 4
"""Frames whose joint is computed at once: fluent speech has a token in every third frame, silence has none."""


@dataclass
class DecoderState:
    """The transducer after its last token; axis 0 is the batch."""

    out: Tensor  # (B, d_joint) the prediction, projected for the joint
    h: Tensor  # (B, layers, d_pred)
    c: Tensor  # (B, layers, d_pred)

    def tensors(self) -> list[Tensor]:
        """The parts in a fixed order."""
        return [self.out, self.h, self.c]

    def gather(self, rows: Tensor) -> "DecoderState":
        """A copy of some rows."""
        return DecoderState(self.out[rows], self.h[rows], self.c[rows])

    def scatter(self, rows: Tensor, new: "DecoderState") -> None:
        """Write `new` into `rows`, in place."""
        for pool, row in zip(self.tensors(), new.tensors(), strict=True):
            pool[rows] = row

    def grown(self) -> "DecoderState":
        """Twice as many rows; the new ones hold nothing of use."""
        return DecoderState(*(torch.cat([pool, pool]) for pool in self.tensors()))


@dataclass(frozen=True)
class Emission:
    """One token that was said."""

    token: int
    frame: int  # index into the frames that were decoded
    logprob: float  # natural logarithm of the token's probability
    confidence: float = 1.0  # how sure the model was, see `certainty`
    instead: tuple["Variant", ...] = ()  # what else was likely here, when a beam settled this token

    def later(self, frames: int) -> "Emission":
        """The same, counted from so many frames earlier."""
        others = tuple(
            replace(variant, emissions=tuple(each.later(frames) for each in variant.emissions))
            for variant in self.instead
        )
        return replace(self, frame=self.frame + frames, instead=others)


@dataclass(frozen=True)
class Variant:
    """What may have been said instead of some tokens."""

    score: float  # natural logarithm of its probability against what was said, when that was settled
    replaced: int  # how many tokens it takes the place of
    emissions: tuple[Emission, ...]


def initial_state(transducer: Transducer, batch: int) -> DecoderState:
    """Streams that have said nothing: the predictor has seen one blank."""
    blank = torch.full((batch, 1), transducer.config.blank, device=transducer.head.bias.device)
    out, memory = transducer.predict(blank, transducer.initial_state(batch))
    return DecoderState(out[:, 0], memory.h, memory.c)


def _say(transducer: Transducer, state: DecoderState, rows: Tensor, tokens: Tensor) -> None:
    """Advance the predictor of `rows` by one token each, in place."""
    out, memory = transducer.predict(tokens[:, None], PredictorState(state.h[rows], state.c[rows]))
    state.scatter(rows, DecoderState(out[:, 0], memory.h, memory.c))


def greedy(
    transducer: Transducer,
    frames: Tensor,
    valid: Tensor,
    state: DecoderState,
    first: Tensor | None = None,
    bias: Bias | None = None,
) -> tuple[list[list[Emission]], DecoderState]:
    """The most probable token at every step.

    Args:
        transducer: predictor and joint.
        frames: (B, T, d_model) encoder frames, language fused in.
        valid: (B,) how many of them exist.
        state: where the streams stand; not modified.
        first: (B,) the frame to begin with; 0 unless given.
        bias: what the streams prefer and rule out; moves on. Without it every token is the model's own choice.

    Returns:
        Per row the tokens in order, and the new state.
    """
    enc, limit = transducer.project(frames), transducer.config.max_symbols
    state = DecoderState(*(part.clone() for part in state.tensors()))
    said: list[list[Emission]] = [[] for _ in range(len(frames))]
    time, symbols = torch.zeros_like(valid) if first is None else first.clone(), torch.zeros_like(valid)
    rows = (time < valid).nonzero()[:, 0]
    while len(rows):
        silent, found, token, logprobs = _next_token(transducer, enc, state.out, rows, time, valid, bias)
        time[rows] += silent
        symbols[rows[silent > 0]] = 0
        if len(found):
            scores = logprobs.gather(1, token[:, None])[:, 0], certainty(logprobs)
            for row, *emission in zip(*(x.tolist() for x in (found, token, time[found], *scores)), strict=True):
                said[row].append(Emission(*emission))
            _say(transducer, state, found, token)
            symbols[found] += 1
            full = found[symbols[found] >= limit]
            time[full] += 1
            symbols[full] = 0
        rows = rows[time[rows] < valid[rows]]
    return said, state


def _next_token(
    transducer: Transducer, enc: Tensor, out: Tensor, rows: Tensor, time: Tensor, valid: Tensor, bias: Bias | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Look for the next token of `rows` within a window; the bias of those in which there is one moves on.

    Returns:
        How many silent frames come first in each row; the rows in which a token follows; the tokens; and (rows,
        vocab_size + 1) the model's log-probabilities there.
    """
    window = min(WINDOW, int((valid - time)[rows].max()))
    frame = time[rows, None] + torch.arange(window, device=rows.device)
    exists = frame < valid[rows, None]
    logits = transducer.joint(enc[rows[:, None], frame.clamp(max=enc.shape[1] - 1)], out[rows, None])
    allowed = bias.allowed(logits, rows) if bias else logits
    token = allowed.argmax(-1)
    speaking = (token != transducer.config.blank) & exists
    silent = torch.where(speaking.any(1), speaking.int().argmax(1), exists.sum(1))
    found = speaking.any(1).nonzero()[:, 0]
    place = found, silent[found]
    own, said = logits[place], token[place]
    if bias and len(found):
        said = bias.choose(own if allowed is logits else allowed[place], said, rows[found])
    return silent, rows[found], said, own.float().log_softmax(-1)


def certainty(logprobs: Tensor) -> Tensor:
    """(n, vocab_size + 1) log-probabilities -> (n,) from 0, a distribution that knows nothing, to 1, one that knows.

    It is exp(-entropy), rescaled (Laptev and Ginsburg 2022, "Fast entropy-based methods of word-level confidence
    estimation for end-to-end ASR").
    """
    size = logprobs.shape[-1]
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    return ((size * (-entropy).exp() - 1) / (size - 1)).clamp(0, 1)
