"""Batched beam search in which what was said is never taken back.

The hypotheses of a stream leave every frame together. Within a frame each is continued by blank, which leaves it, or by
a token, which stays; after every symbol the best are kept, among those that have left and those that have not. So the
beam of one hypothesis is greedy search, and every frame is a place where a stream may be cut into chunks. It is a
modified adaptive expansion search (Kim et al. 2020): a hypothesis far below the best one is dropped, so that clear
speech is followed by one or two, and equal ones are merged, which adds their probabilities.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nemotron_asr.decoding.bias import Bias
from nemotron_asr.decoding.fusion import Fusion, Words
from nemotron_asr.decoding.greedy import Emission, certainty
from nemotron_asr.decoding.hypotheses import (
    DEAD,
    NOTHING,
    PENDING,
    Hypotheses,
    commit,
    merged,
    nothing_said,
    settle,
    with_variants,
)
from nemotron_asr.model import PredictorState, Transducer

MARGIN = 5.0
"""How much less likely than the best a hypothesis may be, as a natural logarithm."""

PATIENCE = 10
"""Frames after which a token of the best hypothesis is settled: as long as the pause that ends a segment."""


@dataclass(frozen=True)
class Beam:
    """How a stream is searched; one hypothesis is greedy search."""

    width: int
    fusion: Fusion | None = None


GREEDY = Beam(1)

Settled = list[list[Emission]]
"""Per stream, the tokens that are settled now."""


@dataclass
class BeamState:
    """Streams after their last frame; axis 0 is the batch."""

    hypotheses: Hypotheses
    last: Tensor  # (B,) the frame of the last settled token, counted from the end of the frames decoded so far
    words: Words  # the word models
    completing: Tensor  # (vocab_size + 1,) 1 for tokens that complete the word before them

    def gather(self, rows: Tensor) -> "BeamState":
        """A copy of some rows."""
        hypotheses, words = self.hypotheses.at(rows), self.words.gather(rows)
        return BeamState(hypotheses, self.last[rows], words, self.completing)

    def scatter(self, rows: Tensor, new: "BeamState") -> None:
        """Write `new` into `rows`, in place."""
        self.hypotheses.put(rows, new.hypotheses)
        self.last[rows] = new.last
        self.words.scatter(rows, new.words)
        self.completing = torch.maximum(self.completing, new.completing)

    def grown(self) -> "BeamState":
        """Twice as many rows; the new ones hold nothing of use."""
        return self.gather(torch.arange(2 * len(self.last), device=self.last.device) % len(self.last))

    def lag(self) -> Tensor:
        """(B,) how many of the last frames are not settled: some hypothesis has a token there."""
        waiting = self.hypotheses.live & (self.hypotheses.length > 0)
        return -self.hypotheses.frames[..., 0].masked_fill(~waiting, 0).amin(1)

    def shift(self, frames: Tensor) -> None:
        """Count from `frames` (B,) earlier."""
        self.hypotheses.frames += frames[:, None, None]
        self.last += frames


def initial_beam(transducer: Transducer, batch: int, search: Beam) -> BeamState:
    """Streams that have said nothing."""
    hypotheses = nothing_said(transducer, batch, search.width)
    last = torch.zeros(batch, dtype=torch.long, device=hypotheses.score.device)
    words = Words.begin([search.fusion] * batch, search.width)
    size = transducer.config.vocab_size + 1
    completing = search.fusion.completing if search.fusion else torch.zeros(size)
    return BeamState(hypotheses, last, words, completing.to(hypotheses.score))


def beam(
    transducer: Transducer,
    frames: Tensor,
    valid: Tensor,
    state: BeamState,
    first: Tensor | None = None,
    ends: Tensor | None = None,
    bias: Bias | None = None,
) -> tuple[list[list[Emission]], BeamState]:
    """The tokens that all likely hypotheses agree on.

    Args:
        transducer: predictor and joint.
        frames: (B, T, d_model) encoder frames, language fused in.
        valid: (B,) how many of them exist.
        state: where the streams stand; not modified.
        first: (B,) the frame to begin with; 0 unless given.
        ends: (B,) whose likeliest hypothesis is settled after the last frame; nobody's unless given.
        bias: what the streams prefer and rule out; where their hypotheses are within phrases is part of `state`.

    Returns:
        Per row the newly settled tokens in order, and the new state. A token that was heard in earlier frames has a
        negative `frame`.
    """
    enc, time = transducer.project(frames), torch.zeros_like(valid) if first is None else first.clone()
    said: list[list[Emission]] = [[] for _ in range(len(frames))]
    state = state.gather(torch.arange(len(frames), device=frames.device))
    state.shift(time)
    rows = (time < valid).nonzero()[:, 0]
    while len(rows):
        part = state.gather(rows)
        liked = bias and bias.of_hypotheses(rows, bias.place[rows])
        part.hypotheses = _next_symbols(transducer, enc[rows, time[rows]], time[rows], part, liked)
        state.scatter(rows, part)
        left = rows[part.hypotheses.done.all(1)]
        if len(left):
            _settle(said, state, left, partial(_leave_frame, time=time[left], most=transducer.config.max_symbols))
            time[left] += 1
            rows = rows[time[rows] < valid[rows]]
    if ends is not None and ends.any():
        _settle(said, state, ends.nonzero()[:, 0], _end)
    state.shift(-time)
    return said, state


def _settle(said: Settled, state: BeamState, rows: Tensor, how: Callable[[BeamState], Settled]) -> None:
    """Append the tokens of `rows` that some way to settle them finds."""
    part = state.gather(rows)
    for row, more in zip(rows.tolist(), how(part), strict=True):
        said[row] += more
    state.scatter(rows, part)


def _next_symbols(transducer: Transducer, enc: Tensor, time: Tensor, state: BeamState, bias: Bias | None) -> Hypotheses:
    """Continue every hypothesis that is still in the frame by blank and by tokens; keep the best.

    Args:
        transducer: predictor and joint.
        enc: (B, d_joint) the frame that each stream is in, projected.
        time: (B,) its index.
        state: of these streams; its words move on.
        bias: what these streams prefer.
    """
    hypotheses, capacity = state.hypotheses, state.hypotheses.score.shape[1]
    follow = _continuations(transducer, enc, hypotheses, state.completing, bias)
    stay = merged(hypotheses.score + follow.blank, hypotheses.tokens)
    go = hypotheses.score[..., None] + follow.gain
    score, choice = torch.cat([stay, go.flatten(1)], 1).topk(capacity)
    score = score.masked_fill(score < score[:, :1] - MARGIN, DEAD)
    said = (choice - capacity).clamp(min=0)
    parent = torch.where(choice < capacity, choice, said // follow.gain.shape[2])
    speaks = (choice >= capacity) & (score > DEAD)
    token = follow.token.flatten(1).gather(1, said)
    new = hypotheses.at(torch.arange(len(enc), device=score.device)[:, None], parent)
    new.score, new.done = score, ~speaks
    if speaks.any():
        row, slot = place = _places(speaks)
        logprob, confidence = follow.logprob.flatten(1)[row, said[place]], follow.confidence[row, parent[row, slot]]
        _say(transducer, new, place, token[place])
        if bias:
            liked = bias.of_hypotheses(row, new.phrase[place])
            liked.said(torch.arange(len(row), device=row.device), token[place])
            new.phrase[place] = liked.place
        new.append(place, token[place], time[row], logprob, confidence)
    state.words.follow(parent, token.masked_fill(~speaks, NOTHING), new.worth)
    return new


@dataclass(frozen=True)
class _Continuations:
    """What may follow in the current frame."""

    blank: Tensor  # (B, K) the log-probability of leaving the frame, 0 for those that have
    confidence: Tensor  # (B, K) the model's confidence
    gain: Tensor  # (B, K, W) what the best tokens add to the score
    token: Tensor  # (B, K, W) these tokens
    logprob: Tensor  # (B, K, W) their log-probabilities


def _continuations(
    transducer: Transducer, enc: Tensor, hypotheses: Hypotheses, completing: Tensor, bias: Bias | None
) -> _Continuations:
    config, shape = transducer.config, hypotheses.score.shape
    place = _places(hypotheses.live & ~hypotheses.done)
    logprobs = transducer.joint(enc[place[0]], hypotheses.out[place]).to(hypotheses.score.dtype).log_softmax(-1)
    preferred = bias.of_hypotheses(place[0], hypotheses.phrase[place]).preferred(logprobs) if bias else logprobs
    gains = preferred + hypotheses.worth[place][:, None] * completing
    gains[:, config.blank] = DEAD
    gains[hypotheses.symbols[place] >= config.max_symbols] = DEAD
    best, token = gains.topk(min(shape[1], config.vocab_size))

    def spread(values: Tensor, elsewhere: float) -> Tensor:
        whole = values.new_full((*shape, *values.shape[1:]), elsewhere)
        whole[place] = values
        return whole

    return _Continuations(
        spread(logprobs[:, config.blank], 0), spread(certainty(logprobs), 0),
        spread(best, DEAD), spread(token, 0), spread(logprobs.gather(1, token), 0),
    )  # fmt: skip


def _places(where: Tensor) -> tuple[Tensor, Tensor]:
    """The rows and columns where something is true."""
    row, slot = where.nonzero().T
    return row, slot


def _say(transducer: Transducer, hypotheses: Hypotheses, place: tuple[Tensor, Tensor], token: Tensor) -> None:
    """Advance the predictor of the hypotheses at some places by one token each, in place."""
    memory = PredictorState(hypotheses.h[place], hypotheses.c[place])
    out, memory = transducer.predict(token[:, None], memory)
    hypotheses.out[place], hypotheses.h[place], hypotheses.c[place] = out[:, 0], memory.h, memory.c


def _leave_frame(part: BeamState, time: Tensor, most: int) -> Settled:
    """All hypotheses have left a frame (B,) and go on to the next; `most` is how many tokens one frame may bring.

    Returns:
        The tokens that are settled now: those agreed on, when whoever disagrees with the best on old ones is dropped.
    """
    hypotheses, room = part.hypotheses, PENDING - most
    best, length = hypotheses.score.argmax(1, keepdim=True), hypotheses.length
    said = torch.arange(PENDING, device=time.device) < length[..., None]
    old = (said & (hypotheses.frames <= time[:, None, None] - PATIENCE)).sum(-1)
    due = torch.maximum(old.gather(1, best), length.gather(1, best) - room)
    settled = _choose(part, torch.maximum(old, due))
    score = hypotheses.score.masked_fill(hypotheses.length > room, DEAD)
    hypotheses.score = score - score.amax(1, keepdim=True)
    hypotheses.done, hypotheses.symbols = torch.zeros_like(hypotheses.done), torch.zeros_like(hypotheses.symbols)
    return settled


def _end(part: BeamState) -> Settled:
    """Only the best hypotheses are left, and all their tokens settled."""
    part.hypotheses.score = part.hypotheses.score + part.hypotheses.worth  # the last word is complete, too
    return _choose(part, torch.full_like(part.hypotheses.length, PENDING))


def _choose(part: BeamState, due: Tensor) -> Settled:
    """Drop whoever disagrees with the best on its first `due` (B, K) tokens; settle what the others agree on."""
    chosen = commit(part.hypotheses, due)
    settled = settle(part.hypotheses, part.last)
    return [with_variants(*each) for each in zip(settled, chosen, strict=True)]
