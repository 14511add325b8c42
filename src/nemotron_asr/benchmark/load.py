"""Load on a server through real sockets: streams that speak in real time, and how long they wait.

A process of its own, so that what it takes of the processor is not the server's.
"""

import asyncio
import random
import time
import urllib.request
from dataclasses import dataclass, field
from urllib.error import URLError
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import WebSocketException

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.lines import Deepgram, Line, Native, RefusedError
from nemotron_asr.benchmark.nim_line import Nim
from nemotron_asr.benchmark.openai_line import OpenAi
from nemotron_asr.benchmark.realtime import PACKET, UTTERANCE
from nemotron_asr.benchmark.riva_line import Riva
from nemotron_asr.benchmark.wyoming_line import Wyoming
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.errors import OptionError

LINES: dict[str, type[Line]] = {
    "native": Native, "deepgram": Deepgram, "openai": OpenAi, "nim": Nim, "riva": Riva, "wyoming": Wyoming,
}  # fmt: skip

COUNTED = (
    "nemotron_asr_chunks_total", "nemotron_asr_late_chunks_total", "nemotron_asr_audio_seconds_total",
    "process_cpu_seconds_total",
)  # fmt: skip


@dataclass
class Load:
    """How a server bore it.

    Attributes:
        streams: how many spoke at once.
        utterances, words: that were heard to their end.
        refused: streams that the server had no room for; whoever was refused comes again a second later.
        failed: streams that came to nothing for any other reason.
        problem: what the server said of the last one of both.
        finals: seconds from a request for the words so far to its answer, where the protocol has both.
        ends: seconds from the last audio of an utterance to the last of its words.
        lag: seconds by which the load generator itself was late, at worst: how far to trust the other figures.
        chunks, late: what the server counted meanwhile; chunks that it did in one step, being behind, are one.
        audio, cpu: seconds that it heard, and its seconds of CPU.
    """

    streams: int
    utterances: int = 0
    words: int = 0
    refused: int = 0
    failed: int = 0
    problem: str = ""
    finals: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    lag: float = 0.0
    chunks: float = 0.0
    late: float = 0.0
    audio: float = 0.0
    cpu: float = 0.0

    def broke_off(self, error: Exception) -> None:
        """A stream came to nothing."""
        self.refused += isinstance(error, RefusedError)
        self.failed += not isinstance(error, RefusedError)
        self.problem = f"{type(error).__name__}: {error}"


def load(
    server: str, protocol: str, speech: Samples, streams: int, latency_ms: int, seconds: float, key: str = "",
    port: int | None = None,
) -> Load:  # fmt: skip
    """Let so many streams speak for so many seconds, each from another moment and another point of the speech.

    Args:
        server: `http://HOST:PORT`.
        protocol: one of `LINES`.
        speech: mono at 16 kHz.
        streams: how many at once.
        latency_ms: of all of them, where the protocol can say it.
        seconds: on the clock.
        key: to be shown, if the server asks for one.
        port: of the same host, for a protocol that has one of its own.
    """
    server = server.rstrip("/")
    report, before = Load(streams), counted(server)
    address = f"{urlsplit(server).hostname}:{port}" if port else server
    packets = (speech * 32767).astype("<i2")
    asyncio.run(_all(address, protocol, packets, report, latency_ms, seconds, key))
    counts = (after - then for after, then in zip(counted(server), before, strict=True))
    report.chunks, report.late, report.audio, report.cpu = counts
    return report


def counted(server: str) -> list[float]:
    """What a server's metrics say of `COUNTED`, summed over its models.

    Raises:
        OSError: it does not answer.
        OptionError: that is no URL.
    """
    try:
        with urllib.request.urlopen(f"{server}/metrics", timeout=10) as answer:  # noqa: S310 - the user's own server
            lines = answer.read().decode().splitlines()
    except URLError as error:
        raise OSError(f"{server}/metrics cannot be read: {getattr(error.reason, 'strerror', error.reason)}") from None
    except ValueError:
        raise OptionError(f"server {server!r} is not a URL; give http://HOST:PORT") from None
    return [sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)) for name in COUNTED]


async def _all(
    server: str, protocol: str, speech: NDArray[np.int16], report: Load, latency_ms: int, seconds: float, key: str
) -> None:
    end = time.monotonic() + seconds
    draws = [random.Random(number) for number in range(report.streams)]
    callers = [_caller(server, protocol, speech, report, latency_ms, end, key, draw) for draw in draws]
    await asyncio.gather(*callers)


async def _caller(
    server: str, protocol: str, speech: NDArray[np.int16], report: Load, latency_ms: int, end: float, key: str,
    draw: random.Random,
) -> None:  # fmt: skip
    """Utterance after utterance, each a stream of its own, the first at a random moment of the first second."""
    await asyncio.sleep(draw.random())
    while (left := end - time.monotonic()) > 1:
        start = draw.randrange(len(speech))
        audio = np.roll(speech, -start)[: int(min(left, draw.uniform(*UTTERANCE)) * SAMPLE_RATE)]
        try:
            async with LINES[protocol].open(server, latency_ms, key) as line:
                await _utter(line, audio, report, draw.randrange(len(audio)))
        except (OSError, WebSocketException) as error:
            report.broke_off(error)
            await asyncio.sleep(1)


async def _utter(line: Line, audio: NDArray[np.int16], report: Load, finalize_at: int) -> None:
    """One stream from its beginning to the last of its words."""
    asked: list[float] = []
    reading = asyncio.create_task(_read(line, report, asked))
    speaking = asyncio.create_task(_speak(line, audio, report, finalize_at, asked))
    try:
        await asyncio.wait([reading, speaking], return_when=asyncio.FIRST_EXCEPTION)
        for task in (reading, speaking):  # who reads knows better why a stream has ended
            if task.done():
                task.result()
    finally:
        reading.cancel()
        speaking.cancel()
        await asyncio.gather(reading, speaking, return_exceptions=True)
    report.ends.append(time.monotonic() - speaking.result())
    report.utterances += 1


async def _speak(line: Line, audio: NDArray[np.int16], report: Load, finalize_at: int, asked: list[float]) -> float:
    """Speak in real time; ask once for the words so far, and note when. When that was over."""
    began = time.monotonic()
    for position in range(0, len(audio), PACKET):
        due = began + (position + PACKET) / SAMPLE_RATE
        await asyncio.sleep(due - time.monotonic())
        report.lag = max(report.lag, time.monotonic() - due)
        await line.send(audio[position : position + PACKET].tobytes())
        if position <= finalize_at < position + PACKET and line.can_finalize:
            asked.append(time.monotonic())
            await line.finalize()
    await line.close()
    return time.monotonic()


async def _read(line: Line, report: Load, asked: list[float]) -> None:
    async for told, words in line.told():
        report.words += words if told == "final" else 0
        if told == "finalized" and asked:
            report.finals.append(time.monotonic() - asked.pop())
