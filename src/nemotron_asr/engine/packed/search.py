"""Greedy search in compiled code: `decoding.greedy`, with the preferences of `decoding.bias`."""

import numpy as np

from nemotron_asr.engine.packed.compiling import jit
from nemotron_asr.engine.packed.kernels import ONE, ZERO, Real, barrier, exp, highest, largest, multiply, quantise
from nemotron_asr.engine.packed.layout import (
    BLOCK,
    Floats,
    Longs,
    Predictor,
    Preference,
    Said,
    Search,
    Thread,
    Transducer,
    Weights,
)
from nemotron_asr.engine.packed.weights import NEVER

RULED_OUT = np.float32(NEVER)

STRETCH = 512
"""Logits that are compared at once."""

DONE = -1
"""The order after the last."""

WINDOW = 4
"""As `decoding.greedy.WINDOW`; written here, for compiled code is kept until a file of this folder changes."""


@jit
def product(matrix: int, x: Floats, out: Floats, weights: Weights, order: Longs, thread: Thread) -> None:
    """Rows of `out` = x times a matrix; of x, as many columns as the matrix takes. Others may `assist`."""
    place = weights.places[matrix]
    k = place[3]
    for m in range(len(x)):
        quantise(x[m, :k], largest(x[m, :k]), m, len(x), thread.work.x, thread.work.scales)
    order[0], order[1] = matrix, len(x)
    barrier(thread)
    multiply(place, 0, thread.work.x, out, weights, thread)
    barrier(thread)


@jit
def assist(model: Transducer, memory: Search, thread: Thread) -> None:
    """Compute a thread's part of the columns of all products of a `search` that another thread runs."""
    head = len(model.weights.places) - 1
    barrier(thread)
    while memory.order[0] != DONE:
        matrix, rows = memory.order[0], memory.order[1]
        out = memory.logits if matrix == head else memory.y
        multiply(model.weights.places[matrix], 0, thread.work.x, out[:rows], model.weights, thread)
        barrier(thread)  # all columns are there
        barrier(thread)  # and the next order


@jit
def sigmoid(x: Real) -> Real:
    """1 / (1 + e^-x)."""
    return ONE / (ONE + exp(-x))


@jit
def remember(gates: Floats, h: Floats, c: Floats) -> None:
    """One step of one LSTM cell; `gates` (4 d,) are those of the input, of forgetting, the new content, the output."""
    d = len(h)
    for j in range(d):
        new = np.float32(2) * sigmoid(np.float32(2) * gates[2 * d + j]) - ONE
        c[j] = sigmoid(gates[d + j]) * c[j] + sigmoid(gates[j]) * new
        h[j] = sigmoid(gates[3 * d + j]) * (np.float32(2) * sigmoid(np.float32(2) * c[j]) - ONE)


@jit
def say(speaking: Longs, state: Predictor, model: Transducer, memory: Search, thread: Thread) -> None:
    """Advance the predictors of some streams (n, 2) by one token each."""
    n, layers, d = len(speaking), state.h.shape[1], state.h.shape[2]
    x, y = memory.x[:n], memory.y[:n]
    for i in range(n):
        x[i, :d] = model.embed[speaking[i, 1]]
    for layer in range(layers):
        for i in range(n):
            x[i, d : 2 * d] = state.h[speaking[i, 0], layer]
        product(layer, x, y, model.weights, memory.order, thread)
        for i in range(n):
            b = speaking[i, 0]
            remember(y[i, : 4 * d], state.h[b, layer], state.c[b, layer])
            x[i, :d] = state.h[b, layer]
    product(layers, x, y, model.weights, memory.order, thread)
    for i in range(n):
        b = speaking[i, 0]
        state.out[b] = y[i, : state.out.shape[1]]
        if model.final[speaking[i, 1]]:
            state.out[b], state.h[b], state.c[b] = model.fresh.out[0], model.fresh.h[0], model.fresh.c[0]


@jit
def best(logits: Floats) -> int:
    """The first of the largest: of the first stretch that has it, found before it is looked through one by one."""
    top, first = RULED_OUT, 0
    for start in range(0, len(logits), STRETCH):
        here = highest(logits[start : start + STRETCH])
        if here > top:
            top, first = here, start
    while logits[first] < top:
        first += 1
    return first


@jit
def best_arc(node: int, logits: Floats, wish: Preference, token: int, top: Real) -> tuple[int, Real]:
    """The token with the largest logit, of `token` and `top` and what the arcs of a node make of theirs."""
    for arc in range(wish.first[node], wish.first[node] + wish.gaining[node]):
        boosted = logits[wish.token[arc]] + wish.gain[arc]
        if boosted > top:
            token, top = wish.token[arc], boosted
    return token, top


@jit
def choose(b: int, logits: Floats, wish: Preference, memory: Search) -> int:
    """The token of one cell; blank is left as it is."""
    blank = len(logits) - 1
    for i in range(wish.banned.shape[1]):
        token = wish.banned[b, i]
        memory.own[i] = logits[token]
        if token != blank:
            logits[token] = RULED_OUT
    token = best(logits)
    if token != blank:
        top, root = logits[token], wish.root[b]
        node = root + wish.place[b, 1]
        if node != root:
            token, top = best_arc(node, logits, wish, token, top)
        token, top = best_arc(root, logits, wish, token, top)
    for i in range(wish.banned.shape[1] - 1, -1, -1):
        logits[wish.banned[b, i]] = memory.own[i]
    return token


@jit
def go_on(b: int, token: int, wish: Preference) -> None:
    """Move a stream on within its phrases: along those that it is in, or to the beginning of others."""
    root = wish.root[b]
    for node in (root + wish.place[b, 1], root):
        for arc in range(wish.first[node], wish.first[node + 1]):
            if wish.token[arc] == token:
                wish.place[b, 1] = wish.target[arc]
                return
    wish.place[b, 1] = 0


@jit
def record(b: int, token: int, frame: int, logits: Floats, said: Said) -> None:
    """Write down a token with its log-probability and its certainty, as `decoding.greedy.certainty` defines it."""
    top, total, moment = logits[best(logits)], ZERO, ZERO
    for j in range(len(logits)):
        weight = exp(logits[j] - top)
        total += weight
        moment += weight * (logits[j] - top)
    entropy = np.log(total) - moment / total
    size = np.float32(len(logits))
    number = said.counts[b]
    said.tokens[b, number, 0], said.tokens[b, number, 1] = token, frame
    said.sure[b, number, 0] = logits[token] - top - np.log(total)
    said.sure[b, number, 1] = min(ONE, max(ZERO, (size * exp(-entropy) - ONE) / (size - ONE)))
    said.counts[b] = number + 1


@jit
def gather(valid: Longs, memory: Search) -> int:
    """The next frames of all streams that have some, a window of each, as many as a block takes."""
    n = 0
    for b in range(len(valid)):
        for frame in range(memory.time[b], min(valid[b], memory.time[b] + WINDOW)):
            if n < BLOCK:
                memory.cells[n, 0], memory.cells[n, 1] = b, frame
                n += 1
    return n


@jit
def look(enc: Floats, n: int, state: Predictor, model: Transducer, memory: Search, thread: Thread) -> None:
    """The logits of `n` cells."""
    for i in range(n):
        b, frame = memory.cells[i]
        for j in range(enc.shape[2]):
            memory.x[i, j] = max(ZERO, enc[b, frame, j] + state.out[b, j])
    head = len(model.weights.places) - 1
    product(head, memory.x[:n], memory.logits[:n], model.weights, memory.order, thread)


@jit
def listen(n: int, model: Transducer, wish: Preference, memory: Search, said: Said) -> int:
    """Move streams past the silent ones of `n` cells, and write down the first token of each; how many speak."""
    speakers, done, size = 0, -1, len(model.embed)
    for i in range(n):
        b, frame = memory.cells[i]
        if b == done:
            continue
        token = choose(b, memory.logits[i, :size], wish, memory)
        if token == size - 1:
            memory.time[b], memory.symbols[b] = frame + 1, 0
            continue
        done = b
        record(b, token, frame, memory.logits[i, :size], said)
        go_on(b, token, wish)
        memory.speaking[speakers, 0], memory.speaking[speakers, 1] = b, token
        speakers += 1
        memory.symbols[b] += 1
        if memory.symbols[b] >= model.limit:
            memory.time[b], memory.symbols[b] = frame + 1, 0
    return speakers


@jit
def search(
    enc: Floats, valid: Longs, state: Predictor, model: Transducer, wish: Preference, memory: Search, said: Said,
    thread: Thread,
) -> None:  # fmt: skip
    """Find the tokens of streams; their predictors move on, in place.

    Args:
        enc: (B, T, d_joint) projected frames.
        valid: (B,) how many of them exist.
        state: of the predictor.
        model: predictor and joint.
        wish: what the streams prefer; moves on.
        memory: its `time` is where each stream begins.
        said: takes the tokens.
        thread: the one that runs this; all others of its team `assist` it.
    """
    n = gather(valid, memory)
    while n > 0:
        look(enc, n, state, model, memory, thread)
        speakers = listen(n, model, wish, memory, said)
        if speakers > 0:
            say(memory.speaking[:speakers], state, model, memory, thread)
        n = gather(valid, memory)
    memory.order[0] = DONE
    barrier(thread)
