"""The joint's last linear, from which only the best token and its probability are wanted; and an LSTM's gates.

The logits of 13,088 tokens are never written: a program goes through its share of the vocabulary with a running maximum
and running sums (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax"), from which the probability
and the entropy follow. The oracles are in `plain`.
"""

import torch
from torch import Tensor

from nemotron_asr.engine.gpu.compiling import jit, power_of_2, product, tl

LOWEST = tl.constexpr(-1e30)

TOKENS = 128
"""Of the vocabulary at once."""

SHARES = {16: 128, 128: 32}
"""Rows at once, and into how many shares the vocabulary is cut for them, which keep a large GPU busy."""


@jit
def _share_of_vocabulary(
    hidden: tl.tensor, weight: tl.tensor, bias: tl.tensor, tops: tl.tensor, tokens: tl.tensor, sums: tl.tensor,
    weighted: tl.tensor, lines: tl.tensor,
    V: tl.constexpr, D: tl.constexpr, TILES: tl.constexpr,
    LINES: tl.constexpr, TOKENS: tl.constexpr, DEPTH: tl.constexpr,
) -> None:  # fmt: skip
    share, shares = tl.program_id(1), tl.num_programs(1)
    line, d = tl.program_id(0) * LINES + tl.arange(0, LINES), tl.arange(0, DEPTH)
    top = tl.full([LINES], LOWEST, tl.float32)
    best = tl.zeros([LINES], tl.int32)
    total = tl.zeros([LINES], tl.float32)
    inner = tl.zeros([LINES], tl.float32)  # sum of exp(logit - top) (logit - top)
    for i in range(TILES):
        tile = share * TILES + i
        v = tile * TOKENS + tl.arange(0, TOKENS)
        logits = tl.zeros([LINES, TOKENS], tl.float32)
        for start in range(0, D, DEPTH):
            at = start + d
            a = tl.load(hidden + line[:, None] * D + at, mask=(line < lines)[:, None] & (at < D)[None], other=0.0)
            b = tl.load(weight + v[None] * D + at[:, None], mask=(v < V)[None] & (at < D)[:, None], other=0.0)
            logits += product(a, b)
        logits += tl.load(bias + v, mask=v < V, other=0.0).to(tl.float32)[None]
        logits = tl.where((v < V)[None], logits, LOWEST)
        here, found = tl.max(logits, 1, return_indices=True)
        highest = tl.maximum(top, here)
        fade, distance = tl.exp(top - highest), logits - highest[:, None]
        likely = tl.where((v < V)[None], tl.exp(distance), 0.0)
        inner = fade * (inner + (top - highest) * total) + tl.sum(likely * distance, 1)
        total = total * fade + tl.sum(likely, 1)
        best = tl.where(here > top, tile * TOKENS + found, best)
        top = highest
    at = line * shares + share
    tl.store(tops + at, top, mask=line < lines)
    tl.store(tokens + at, best, mask=line < lines)
    tl.store(sums + at, total, mask=line < lines)
    tl.store(weighted + at, inner, mask=line < lines)


@jit
def _merge(
    tops: tl.tensor, tokens: tl.tensor, sums: tl.tensor, weighted: tl.tensor,
    token: tl.tensor, logprob: tl.tensor, sure: tl.tensor, V: tl.constexpr, SHARES: tl.constexpr,
) -> None:  # fmt: skip
    line, share = tl.program_id(0), tl.arange(0, SHARES)
    at = line * SHARES + share
    top, total, inner = tl.load(tops + at), tl.load(sums + at), tl.load(weighted + at)
    highest = tl.max(top, 0)
    winner = tl.min(tl.where(top == highest, share, SHARES), 0)  # the first, as everywhere
    fade = tl.exp(top - highest)
    inner = tl.sum(fade * (inner + (top - highest) * total), 0)
    total = tl.sum(total * fade, 0)
    perplexity = tl.exp(tl.log(total) - inner / total)
    tl.store(token + line, tl.load(tokens + line * SHARES + winner).to(tl.int64))
    tl.store(logprob + line, -tl.log(total))
    tl.store(sure + line, tl.minimum(tl.maximum((V / perplexity - 1) / (V - 1), 0.0), 1.0))


def most_likely(hidden: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `plain.most_likely`."""
    lines, d = hidden.shape
    tiles, rows = -(-len(weight) // TOKENS), 16 if lines <= 16 else 128
    shares = min(power_of_2(tiles), SHARES[rows])
    tops, sums, weighted = hidden.new_empty(3, lines, shares, dtype=torch.float32).unbind()
    tokens = hidden.new_empty(lines, shares, dtype=torch.int32)
    _share_of_vocabulary[-(-lines // rows), shares](
        hidden, weight, bias, tops, tokens, sums, weighted, lines,
        V=len(weight), D=d, TILES=-(-tiles // shares), LINES=rows, TOKENS=TOKENS, DEPTH=64, num_warps=8,
    )  # fmt: skip
    logprob, sure = sums.new_empty(2, lines).unbind()
    token = tokens.new_empty(lines, dtype=torch.int64)
    _merge[lines,](tops, tokens, sums, weighted, token, logprob, sure, V=len(weight), SHARES=shares)
    return token, logprob, sure


@jit
def _tanh(x: tl.tensor) -> tl.tensor:
    return 2 * tl.sigmoid(2 * x) - 1


@jit
def _lstm(
    gates: tl.tensor, c: tl.tensor, h: tl.tensor, after: tl.tensor, D: tl.constexpr, COLUMNS: tl.constexpr
) -> None:
    line, d = tl.program_id(0), tl.arange(0, COLUMNS)
    at = gates + line * (4 * D) + d
    into = tl.sigmoid(tl.load(at, mask=d < D, other=0.0).to(tl.float32))
    forget = tl.sigmoid(tl.load(at + D, mask=d < D, other=0.0).to(tl.float32))
    content = _tanh(tl.load(at + 2 * D, mask=d < D, other=0.0).to(tl.float32))
    out = tl.sigmoid(tl.load(at + 3 * D, mask=d < D, other=0.0).to(tl.float32))
    new = forget * tl.load(c + line * D + d, mask=d < D, other=0.0).to(tl.float32) + into * content
    tl.store(after + line * D + d, new.to(after.dtype.element_ty), mask=d < D)
    tl.store(h + line * D + d, (out * _tanh(new)).to(h.dtype.element_ty), mask=d < D)


def lstm(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """See `plain.lstm`."""
    h, after = gates.new_empty(c.shape), c.new_empty(c.shape)
    _lstm[len(c),](gates, c, h, after, D=c.shape[1], COLUMNS=power_of_2(c.shape[1]))
    return h, after
