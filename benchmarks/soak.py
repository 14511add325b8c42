"""Five minutes of streams that come and go: no late chunk, flat memory, no word lost or said twice.

    python -m benchmarks.soak                       # the embedded model, 8 live streams and a recording at a time
    python -m benchmarks.soak --minutes 0.5
    python -m benchmarks.soak --cycles 10000        # streams that are opened, say a word and are closed

The exit status is 1 when a bound is broken.
"""

import argparse
import asyncio
import random
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import nemotron_asr
from nemotron_asr.benchmark.speech import recordings
from nemotron_asr.config import LATENCIES, SAMPLE_RATE
from nemotron_asr.engine import Engine
from nemotron_asr.events import Final, Segment
from nemotron_asr.recognizer import Recognizer

LATE = 0.001
GROWTH = 30 * 10**6
"""Bytes by which the process may grow after the first tenth."""

PACKET = 0.02
"""Seconds."""


@dataclass
class Result:
    """What a soak has seen."""

    utterances: int = 0
    wrong: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def said(segments: list[Segment] | tuple[Segment, ...]) -> list[tuple[str, float]]:
    """Words and when they start."""
    return [(word.word, word.start) for segment in segments for word in segment.words]


async def speaker(engine: Engine, asr: Recognizer, result: Result, end: float, draw: random.Random) -> None:
    """Utterance after utterance in real time, in packets of any size, compared with what the file says."""
    loop, speech = asyncio.get_running_loop(), recordings()
    while loop.time() < end:
        await asyncio.sleep(draw.random())
        heard, latency = draw.choice(speech), draw.choice(list(LATENCIES))
        heard = heard[: draw.randrange(SAMPLE_RATE, len(heard))]
        finals: list[Segment] = []
        async with engine.open(latency_ms=latency) as session:
            began, position = loop.time(), 0
            while position < len(heard):
                size = draw.randrange(1, int(2 * PACKET * SAMPLE_RATE))
                await session.feed(heard[position : position + size])
                position += size
                await asyncio.sleep(began + position / SAMPLE_RATE - loop.time())
            session.close()
            finals = [event.segment async for event in session if isinstance(event, Final)]
        expected = await asyncio.to_thread(asr.transcribe, (heard, SAMPLE_RATE), latency_ms=latency)
        result.utterances += 1
        if said(finals) != said(expected.segments):
            result.wrong.append(f"{said(finals)} instead of {said(expected.segments)}")
        result.sizes.append(resident())


async def soak(asr: Recognizer, streams: int, minutes: float) -> Result:
    """So many speakers for so many minutes; returns what went wrong."""
    result, engine = Result(), asr.engine  # which hears the recordings, too, when it has time
    before = engine.statistics
    end = asyncio.get_running_loop().time() + 60 * minutes
    await asyncio.gather(*(speaker(engine, asr, result, end, random.Random(i)) for i in range(streams)))
    statistics = engine.statistics
    print(f"{result.utterances} utterances, {len(result.wrong)} wrong")
    late, chunks = statistics.late - before.late, statistics.chunks - before.chunks
    print(f"{late} of {chunks} chunks late")
    if late > LATE * chunks:
        result.wrong.append("late chunks")
    return result


def cycles(asr: Recognizer, times: int) -> Result:
    """Streams that are opened, say a word and are closed, one after the other."""
    result, word = Result(), recordings()[0][: SAMPLE_RATE // 4]
    with Engine(asr, max_streams=4) as engine:
        for cycle in range(times):
            with engine.open(latency_ms=80) as session:
                session.feed(word)
            list(session)
            if cycle % 100 == 0:
                result.sizes.append(resident())
    print(f"{times} cycles, {threading.active_count()} threads left")
    return result


def main() -> int:
    """Reads the command line and soaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--cycles", type=int, default=0)
    options = parser.parse_args()
    asr = nemotron_asr.load(options.model, dtype=options.dtype)
    asr.transcribe((recordings()[0], SAMPLE_RATE))
    result = cycles(asr, options.cycles) if options.cycles else asyncio.run(soak(asr, options.streams, options.minutes))
    settled = result.sizes[len(result.sizes) // 10 :]
    growth = int(np.median(settled[-10:]) - np.median(settled[:10]))
    print(f"memory grew by {growth / 1e6:.1f} MB, from {settled[0] / 1e6:.0f} MB")
    for line in result.wrong[:5]:
        print(line)
    return int(bool(result.wrong) or growth > GROWTH)


if __name__ == "__main__":
    sys.exit(main())
