"""Greedy search as a loop of a fixed number of turns, so that it can be captured in a graph.

It is label-looping (Bataev et al. 2024) in two kinds of turns, over as many rows as the turn has room for. Rows that
listen look for their next token among the next frames; rows that have found one tell it to the predictor, and then
listen again. The rows of a turn are brought together without the host knowing who they are, so that later turns, which
few rows need, are small. Whoever is not served waits for a later turn: the tokens depend on neither room nor turns.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nemotron_asr.decoding.greedy import WINDOW, DecoderState, initial_state
from nemotron_asr.engine.gpu.encoder import Kernels
from nemotron_asr.model import Transducer

FEW = 16
"""Rows that a turn has room for at least."""

TALK = 0.4
"""Tokens a frame for which the first turns are made: a little more than fluent speech has."""

FIELDS = 4
"""Of a token: its number, frame, log-probability and confidence."""


def rooms(streams: int, frames: int) -> list[int]:
    """For how many rows the turns of a step have room; one turn is to listen and to speak."""
    window = min(WINDOW, frames)
    full = -(-frames // window) + int(TALK * frames)
    return [streams] * full + [max(min(FEW, streams), streams >> i) for i in (1, 2, 2, 3)]


@dataclass(frozen=True)
class Search:
    """The rows of a step on their way; one more entry in each than there are rows, for those that only fill a turn.

    Everything is written in place, so that a graph may go on where another one ended.
    """

    enc: Tensor  # (B + 1, T, d_joint) the frames, projected
    valid: Tensor  # (B + 1,) how many of them exist
    time: Tensor  # (B + 1,) the frame that a row is at
    symbols: Tensor  # (B + 1,) tokens said there
    pending: Tensor  # (B + 1,) a token that the predictor has not heard of, or -1
    out: Tensor  # (B + 1, d_joint) predictions
    h: Tensor  # (layers, B + 1, d_pred)
    c: Tensor  # (layers, B + 1, d_pred)
    said: Tensor  # (B + 1, most + 1, FIELDS) float32
    count: Tensor  # (B + 1,) tokens said
    active: Tensor  # () rows that are not done, as of the last turn

    @classmethod
    def new(cls, transducer: Transducer, streams: int, frames: int) -> "Search":
        """Memory for the search of a step."""
        config, like, lines = transducer.config, transducer.head.bias, streams + 1
        whole = torch.zeros(4, lines, dtype=torch.long, device=like.device).unbind()
        h, c = like.new_zeros(2, config.pred_layers, lines, config.d_pred).unbind()
        said = like.new_zeros(lines, frames * config.max_symbols + 1, FIELDS, dtype=torch.float32)
        enc, out = like.new_zeros(lines, frames, config.d_joint), like.new_zeros(lines, config.d_joint)
        valid, time, symbols, count = whole
        return cls(enc, valid, time, symbols, torch.full_like(time, -1), out, h, c, said, count, time.new_zeros(()))


class GreedySearch:
    """The turns of the search."""

    def __init__(self, transducer: Transducer, kernels: Kernels) -> None:
        self.transducer, self.kernels = transducer, kernels
        self.gates = _gates(transducer.lstm)
        self.fresh = initial_state(transducer, 1)
        self.final = _final(transducer)

    def begin(self, search: Search, frames: Tensor, first: Tensor, valid: Tensor, memory: DecoderState) -> None:
        """Put (B, T, d_model) frames and the memory (B rows) of their streams in place."""
        search.enc[:-1] = self.transducer.project(frames)
        search.valid[:-1], search.time[:-1] = valid, torch.minimum(first, valid)
        search.symbols.zero_()
        search.count.zero_()
        search.pending.fill_(-1)
        search.out[:-1] = memory.out
        search.h[:, :-1], search.c[:, :-1] = memory.h.transpose(0, 1), memory.c.transpose(0, 1)

    def turns(self, search: Search, capacities: list[int]) -> None:
        """As many turns as there are capacities; `search.active` says how many rows are not done then."""
        for rows in capacities:
            self._listen(search, rows)
            self._speak(search, rows)
        search.active.copy_(((search.time < search.valid) | (search.pending >= 0)).sum())

    def memory(self, search: Search) -> DecoderState:
        """What the streams remember afterwards."""
        h, c = (part[:, :-1].transpose(0, 1) for part in (search.h, search.c))
        return DecoderState(search.out[:-1], h, c)

    def _listen(self, search: Search, room: int) -> None:
        """Rows look for their next token; all frames before it are done."""
        who = _together((search.time < search.valid) & (search.pending < 0), room)
        window, time = min(WINDOW, search.enc.shape[1]), search.time[who]
        frame = time[:, None] + torch.arange(window, device=who.device)
        exists = frame < search.valid[who][:, None]
        enc = search.enc[who[:, None], frame.clamp(max=search.enc.shape[1] - 1)]
        head = self.transducer.head
        hidden = F.relu(enc + search.out[who][:, None]).flatten(0, 1)
        found = self.kernels.most_likely(hidden, head.weight, cast("Tensor", head.bias))
        token, logprob, sure = (part.view(-1, window) for part in found)
        speaking = (token != self.transducer.config.blank) & exists
        speaks, at = speaking.any(1), speaking.int().argmax(1)
        silent = torch.where(speaks, at, exists.sum(1))
        search.time[who] = time + silent
        search.symbols[who] = torch.where(silent > 0, 0, search.symbols[who])
        emission = torch.stack([part.gather(1, at[:, None])[:, 0].float() for part in (token, frame, logprob, sure)], 1)
        place = who, torch.where(speaks, search.count[who], search.said.shape[1] - 1)
        search.said[place] = emission
        search.count[who] += speaks
        search.pending[who] = torch.where(speaks, token.gather(1, at[:, None])[:, 0], -1)

    def _speak(self, search: Search, room: int) -> None:
        """The predictor hears of the tokens that were found."""
        who = _together(search.pending >= 0, room)
        token = search.pending[who].clamp(min=0)  # whoever only fills the turn has none
        ended = None if self.final is None else self.final[token]
        below = self.transducer.embed(token)
        for layer, (weight, bias) in enumerate(self.gates):
            gates = F.linear(torch.cat([below, search.h[layer, who]], 1), weight, bias)
            below, cell = self.kernels.lstm(gates, search.c[layer, who])
            search.h[layer, who] = _unless(ended, below, self.fresh.h[:, layer])
            search.c[layer, who] = _unless(ended, cell, self.fresh.c[:, layer])
        search.out[who] = _unless(ended, self.transducer.pred(below), self.fresh.out)
        search.pending.index_fill_(0, who, -1)
        symbols = search.symbols[who] + 1
        full = symbols >= self.transducer.config.max_symbols
        search.time[who] += full
        search.symbols[who] = torch.where(full, 0, symbols)


def _together(wanted: Tensor, room: int) -> Tensor:
    """(room,) the first rows among (B + 1,) that are wanted; the last row, which nobody is, fills what is left."""
    wanted = wanted[:-1]
    place = wanted.cumsum(0) - 1
    place = torch.where(wanted & (place < room), place, room)
    rows = torch.full((room + 1,), len(wanted), device=wanted.device)
    return rows.scatter_(0, place, torch.arange(len(wanted), device=wanted.device))[:room]


def _final(transducer: Transducer) -> Tensor | None:
    """(vocab_size + 1,) which tokens end an utterance: a table, for `isin` asks the host when there are many."""
    finals = set(transducer.config.final_tokens)
    tokens = range(transducer.config.blank + 1)
    return torch.tensor([i in finals for i in tokens], device=transducer.head.bias.device) if finals else None


def _unless(ended: Tensor | None, value: Tensor, fresh: Tensor) -> Tensor:
    """A value, or what a new stream has where an utterance has ended."""
    return value if ended is None else torch.where(ended[:, None], fresh.to(value.dtype), value)


def _gates(lstm: nn.LSTM) -> list[tuple[Tensor, Tensor]]:
    """Per layer all gates as one linear over the input and the hidden state."""
    return [
        (torch.cat([of_input.data, of_hidden.data], 1), bias.data + bias_hidden.data)
        for of_input, of_hidden, bias, bias_hidden in lstm.all_weights
    ]
