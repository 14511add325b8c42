"""Streams that speak in real time, started at random moments, and whether they are served in time.

A chunk is late when it is finished more than one chunk after its audio has come. A machine sustains so many streams
when at most one chunk in a thousand is late and 95 % of the last words of an utterance are there within a second of its
end.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field

import numpy as np

from nemotron_asr.audio import Samples
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.engine import Engine, Session
from nemotron_asr.events import Final

PACKET = 320
"""Samples in a packet: 20 ms."""

UTTERANCE = (8.0, 16.0)
"""Seconds after which a speaker hangs up and calls again."""

LATE, DELAY = 0.001, 1.0


@dataclass
class Service:
    """How streams were served.

    Attributes:
        streams: how many at once.
        latency_ms: of all of them.
        chunks, late: chunks decoded, and how many of them too late.
        delays: seconds from the end of every utterance to its last word.
        lag: seconds by which packets were sent too late, the worst one: how far to trust the other figures.
        words: said in all.
        busy: cores kept busy on average: CPU seconds per second.
    """

    streams: int
    latency_ms: int
    chunks: int = 0
    late: int = 0
    delays: list[float] = field(default_factory=list)
    lag: float = 0.0
    words: int = 0
    busy: float = 0.0

    @property
    def late_share(self) -> float:
        """Late chunks among all."""
        return self.late / self.chunks if self.chunks else 1.0

    @property
    def delay(self) -> float:
        """Seconds within which 95 % of the last words came."""
        return float(np.quantile(self.delays, 0.95)) if self.delays else float("inf")

    @property
    def sustained(self) -> bool:
        """Whether everybody was served in time."""
        return self.late_share <= LATE and self.delay <= DELAY


def serve(engine: Engine, speech: Samples, streams: int, latency_ms: int, seconds: float, seed: int = 0) -> Service:
    """Let so many streams speak for so many seconds.

    Args:
        engine: with places for them.
        speech: what they say, over and over, each from another point on.
        streams: how many at once.
        latency_ms: of all of them.
        seconds: on the clock, after the last stream has started.
        seed: of the moments at which they start, and of what they say.
    """
    service = Service(streams, latency_ms)
    before, cpu, began = engine.statistics, time.process_time(), time.monotonic()
    asyncio.run(_all(engine, speech, service, seconds, random.Random(seed)))
    after, elapsed = engine.statistics, time.monotonic() - began
    service.chunks, service.late = after.chunks - before.chunks, after.late - before.late
    service.busy = (time.process_time() - cpu) / elapsed
    return service


async def _all(engine: Engine, speech: Samples, service: Service, seconds: float, draw: random.Random) -> None:
    end = asyncio.get_running_loop().time() + 1 + seconds
    speakers = [_speaker(engine, speech, service, end, random.Random(draw.random())) for _ in range(service.streams)]
    await asyncio.gather(*speakers)


async def _speaker(engine: Engine, speech: Samples, service: Service, end: float, draw: random.Random) -> None:
    """Utterance after utterance, each a stream of its own, the first at a random moment of the first second."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(draw.random())
    while (left := end - loop.time()) > 1:
        start = draw.randrange(len(speech))
        audio = np.roll(speech, -start)[: int(min(left, draw.uniform(*UTTERANCE)) * SAMPLE_RATE)]
        async with engine.open(latency_ms=service.latency_ms) as session:
            reading = asyncio.create_task(_read(session, service))
            began = loop.time()
            for position in range(0, len(audio), PACKET):
                due = began + (position + PACKET) / SAMPLE_RATE
                await asyncio.sleep(due - loop.time())
                service.lag = max(service.lag, loop.time() - due)
                await session.feed(audio[position : position + PACKET])
            session.close()
            over = loop.time()
            await reading
            service.delays.append(loop.time() - over)


async def _read(session: Session, service: Service) -> None:
    async for event in session:
        if isinstance(event, Final):
            service.words += len(event.segment.words)
