"""One step of all blocks, as one of a team of threads runs it."""

from nemotron_asr.engine.packed.attention import attend
from nemotron_asr.engine.packed.compiling import jit
from nemotron_asr.engine.packed.kernels import (
    after_attention,
    after_convolution,
    barrier,
    before_attention,
    remember_inputs,
    share,
)
from nemotron_asr.engine.packed.layout import BLOCK, TALL, Batch, Floats, Group, Halves, State, Thread, Weights
from nemotron_asr.engine.packed.one_frame import attend_frame


@jit
def rows_of(rows: int, thread: Thread) -> tuple[int, int]:
    """The rows that a thread works on: whole tiles, or all of them when the team shares columns."""
    if thread.parts > 1:
        return 0, rows
    first, last = share((rows + TALL - 1) // TALL, thread.thread, thread.threads)
    return first * TALL, min(rows, last * TALL)


@jit
def run_layer(
    layer: int, x: Floats, batch: Batch, group: Group, state: State, weights: Weights, distances: Halves, thread: Thread
) -> None:
    """One block of the encoder over the rows of a group of streams."""
    streams = len(batch.rows)
    first, last = rows_of(len(x), thread)
    for m in range(first, last, BLOCK):
        n = min(last, m + BLOCK)
        before_attention(layer, x[m:n], group.qkv[m:n], weights, thread)
    barrier(thread)
    begin, end = share(streams * state.k.shape[2], thread.thread, thread.threads)
    for task in range(begin, end):
        if batch.frames == 1:
            attend_frame(layer, task, group, batch, state, distances, weights.biases, thread.context)
        else:
            attend(layer, task, group, batch, state, distances, weights.biases, thread.context)
    barrier(thread)
    for m in range(first, last, BLOCK):
        n = min(last, m + BLOCK)
        after_attention(layer, x[m:n], group.attended[m:n], group.gated[m:n], weights, thread)
    barrier(thread)
    for m in range(first, last, BLOCK):
        after_convolution(layer, x[m : min(last, m + BLOCK)], m, group.gated, batch, state, weights, thread)
    barrier(thread)
    begin, end = share(streams, thread.thread, thread.threads)
    for stream in range(begin, end):
        remember_inputs(layer, group.gated, batch, state, stream)


@jit
def run_step(
    x: Floats,
    streams: int,
    batch: Batch,
    group: Group,
    state: State,
    weights: Weights,
    distances: Halves,
    thread: Thread,
) -> None:
    """Advance x (B frames, d_model) through all blocks, in place, in groups of so many streams.

    A layer's weights are used for all groups before the next layer's are fetched.
    """
    frames = batch.frames
    for layer in range(len(weights.matrices)):
        for b in range(0, len(batch.rows), streams):
            c = min(b + streams, len(batch.rows))
            some = Batch(batch.rows[b:c], batch.t[b:c], batch.end[b:c], batch.keep[b:c], frames, batch.chunk)
            run_layer(layer, x[b * frames : c * frames], some, group, state, weights, distances, thread)
