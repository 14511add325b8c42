"""Rows of the pool for streams: given at the first step, at time zero whenever the stream is."""

from nemotron_asr.decoding.beam import GREEDY
from nemotron_asr.engine.pool import Pool
from nemotron_asr.engine.stream import NO_ROW, Stream


def give_row(pool: Pool, stream: Stream) -> None:
    """Before a step: its own row, for which the pool may grow."""
    if stream.row == NO_ROW:
        stream.row = pool.acquire()
    elif stream.anew:
        pool.reset(stream.row)
    else:
        return
    if stream.beam != GREEDY:
        pool.search(stream.row, stream.beam)


def take_row(pool: Pool, stream: Stream) -> None:
    """Behind its last step: the row is free, if it had one."""
    if stream.row != NO_ROW:
        pool.release(stream.row)
