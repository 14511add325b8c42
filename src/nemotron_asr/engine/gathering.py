"""How long a step waits for more streams, as far as that depends on who they are."""

from collections.abc import Iterable, Mapping

from nemotron_asr.config import FRAME_SECONDS
from nemotron_asr.engine.cost import StepCost
from nemotron_asr.engine.live import Live
from nemotron_asr.engine.scheduler import Batch, spare_time
from nemotron_asr.engine.stream import Work

LONGEST_WAIT = 0.04
"""Seconds for which the first stream of a step waits for others at most."""


def time_to_gather(
    batch: Batch[Live], works: Mapping[Live, Work], lives: Iterable[Live], cost: StepCost, now: float
) -> float:
    """Seconds that a step can wait for more streams of its lane; none where somebody waits for the words.

    Args:
        batch: the step, the most urgent stream first.
        works: what each of its streams can do.
        lives: all streams.
        cost: what a step takes.
        now: on the clock of their deadlines.
    """
    urgent = batch.streams[0]
    if urgent.recording or any(live.in_a_hurry for live in batch.streams):
        return 0.0
    expected = sum(live.stream.chunk == batch.chunk and live.speaking(now) for live in lives)
    due = urgent.due(works[urgent])
    since_ready = now - (due - batch.chunk * FRAME_SECONDS)
    spare = spare_time(due, len(batch.streams), expected, batch.frames, cost, now)
    return max(0.0, min(LONGEST_WAIT - since_ready, spare))
