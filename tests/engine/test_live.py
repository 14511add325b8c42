from collections.abc import Iterator

import numpy as np
import pytest

from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.engine.live import Live
from nemotron_asr.engine.promise import Promise
from nemotron_asr.engine.stream import Stream, Target
from nemotron_asr.events import Segment
from nemotron_asr.transcript import TranscriptBuilder
from tests.transcript.pieces import TOKENIZER

CHUNK = 4
SECONDS = 0.08 * CHUNK
PACKET = 320


def opened() -> Live:
    return Live(Stream(0, Target(0, ""), CHUNK), TranscriptBuilder(TOKENIZER), recording=False)


def dues(live: Live) -> Iterator[float]:
    """When the chunks that are there are due, which are done one by one."""
    while (work := live.stream.next_work()) is not None:
        yield live.due(work)
        live.begin(work, CHUNK)


@pytest.mark.parametrize("held", [False, True])
def test_every_chunk_is_due_a_chunk_after_its_audio(held: bool) -> None:
    """Whether its packets came one by one, or were held until there was a chunk to be heard."""
    live, waiting, came, due = opened(), 0, list[float](), list[float]()
    for number in range(1, 200):
        now = 7.0 + number * PACKET / SAMPLE_RATE
        waiting += PACKET
        if not held or live.stream.fed + waiting >= live.wanted(live.stream.fed):
            live.heard(np.zeros(waiting, np.float32), now)
            waiting = 0
        found = list(dues(live))
        due += found
        came += [now] * len(found)
    assert len(due) > 10
    assert due == pytest.approx([moment + SECONDS for moment in came], abs=PACKET / SAMPLE_RATE)


def test_what_comes_faster_than_it_was_said_is_due_as_if_it_had_not() -> None:
    live = opened()
    live.heard(np.zeros(10 * SAMPLE_RATE, np.float32), 7.0)
    assert list(dues(live)) == pytest.approx([7.0 + SECONDS * (1 + number) for number in range(31)])


def test_who_pauses_is_not_in_a_hurry_afterwards() -> None:
    live = opened()
    live.heard(np.zeros(SAMPLE_RATE, np.float32), 7.0)
    list(dues(live))
    live.heard(np.zeros(SAMPLE_RATE // 2, np.float32), 60.0)
    assert next(dues(live)) == pytest.approx(60.0 + SECONDS)


def test_a_finalize_is_in_a_hurry_until_it_is_answered() -> None:
    live, asked = opened(), Promise[Segment | None]()
    live.heard(np.zeros(SAMPLE_RATE, np.float32), 7.0)
    before = live.in_a_hurry
    live.flush(asked, 7.0)
    meanwhile = live.in_a_hurry  # also while it has whole chunks to do first
    live.cut()
    after = live.in_a_hurry
    live.close(8.0)
    assert [before, meanwhile, after, live.in_a_hurry] == [False, True, False, True]
