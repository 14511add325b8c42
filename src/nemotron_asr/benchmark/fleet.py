"""Thousands of streams that speak in real time to a fleet, and whether they are served in time.

The strict rule: everybody starts at a random moment, speaks for 8 to 16 s and calls again; a machine sustains so many
when at most one chunk in a thousand is late by more than a chunk and 95 % of the last words of an utterance are there
within a second of its end. The looser rule, which published figures go by: all start at the same moment, and half of
the chunks are in time.

At the end of a trial the packets stop. What has come by then is served and counted; nobody is heard to an end that is
only the trial's, for they would all come to it at once, as real speakers do not.
"""

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nemotron_asr.audio import Samples
from nemotron_asr.benchmark.realtime import DELAY, LATE, UTTERANCE, Service
from nemotron_asr.config import FRAME_SAMPLES, FRAME_SECONDS, SAMPLE_RATE, chunk_frames
from nemotron_asr.engine.gpu.fleet import Fleet, Floats, Longs
from nemotron_asr.features import window_samples, window_start

PACKETS = {80: 320, 160: 320}
"""Latency in ms -> samples in a packet: 20 ms; at the others 80 ms, for their load would fill a core of the host."""

SOME, HOPELESS, HOPELESS_LOOSELY = 100, 0.02, 0.5
"""Chunks, and shares of all chunks by the two rules, that may be late before a measurement is broken off."""

NAP = 0.0005
"""Seconds to sleep when nothing is ready."""


@dataclass
class FleetService(Service):
    """How a fleet was served; see `Service`.

    Attributes:
        waits: seconds from the audio of every chunk to its words.
        steps: computed, and for how many streams.
        busy: share of the time in which a step was on its way.
        broken_off: too many chunks were late to go on; what was seen until then may look better than the whole.
    """

    waits: list[Floats] = field(default_factory=list)
    steps: int = 0
    served: int = 0
    broken_off: bool = False

    def wait(self, share: float) -> float:
        """Seconds within which a share of the chunks was done."""
        return float(np.quantile(np.concatenate(self.waits), share)) if self.waits else float("inf")

    @property
    def sustained(self) -> bool:
        """Whether everybody was served in time; nobody's last word may be heard within a very short trial."""
        punctual = not self.delays or self.delay <= DELAY
        return not self.broken_off and self.late_share <= LATE and punctual

    @property
    def sustained_loosely(self) -> bool:
        """Whether half of the chunks were in time."""
        return not self.broken_off and self.wait(0.5) <= self.latency_ms / 1000


class Speakers:
    """Who speaks, since when, and for how long; entries are those of a fleet's first streams."""

    def __init__(self, fleet: Fleet, speech: Samples, streams: int, seed: int, *, aligned: bool) -> None:
        self.fleet, self.streams, self.aligned = fleet, streams, aligned
        self.draw = np.random.default_rng(seed)
        self.packet = PACKETS.get(round(1000 * FRAME_SECONDS) * fleet.chunk, FRAME_SAMPLES)
        self._packets = sliding_window_view(
            np.concatenate([speech, speech[: self.packet]]).astype(np.float32), self.packet
        )
        self._said = len(speech)
        self.began = np.full(streams, np.inf)
        self.length, self._start = np.zeros(streams, np.int64), np.zeros(streams, np.int64)
        self.cut = np.zeros(streams, np.bool_)
        self.lag = 0.0

    def speak(self, who: Longs, at: NDArray[np.float64], end: float) -> None:
        """Some begin an utterance of 8 to 16 s, which is cut off at the end."""
        lengths = np.full(len(who), np.inf) if self.aligned else self.draw.uniform(*UTTERANCE, len(who))
        self.cut[who] = lengths > end - at
        self.length[who] = (np.minimum(lengths, end - at) * SAMPLE_RATE).astype(np.int64) // self.packet * self.packet
        self.began[who] = at
        self._start[who] = self.draw.integers(0, self._said, len(who))
        self.fleet.begin(who)

    def send(self, now: float) -> None:
        """Feed the packets that have come by now; close those who have said all."""
        fleet, n = self.fleet, self.streams
        came = np.floor((now - self.began) * SAMPLE_RATE / self.packet) * self.packet
        came = np.where(np.isfinite(came), np.minimum(came, self.length), 0)
        while len(who := np.flatnonzero((fleet.fed[:n] < came) & fleet.room(self.packet)[:n])):
            late = now - (self.began[who] + (fleet.fed[who] + self.packet) / SAMPLE_RATE)
            self.lag = max(self.lag, float(late.max()))
            fleet.feed(who, self._packets[(self._start[who] + fleet.fed[who]) % self._said])
            over = who[(fleet.fed[who] >= self.length[who]) & ~self.cut[who]]
            if len(over):
                fleet.close(over)

    @property
    def over(self) -> bool:
        """Whether everything was sent, and heard as far as it can be."""
        sent = self.fleet.fed[: self.streams] >= self.length
        return bool(sent.all()) and not (self.fleet.ready() < self.streams).any()

    def came(self, who: Longs) -> NDArray[np.float64]:
        """When the audio of the next chunks had come."""
        needed = FRAME_SAMPLES * self.fleet.t[who] + window_start(0) + window_samples(self.fleet.chunk)
        packets = -(-np.minimum(needed, self.length[who]) // self.packet)
        moments: NDArray[np.float64] = self.began[who] + packets * self.packet / SAMPLE_RATE
        return moments


def serve_fleet(
    fleet: Fleet,
    speech: Samples,
    streams: int,
    latency_ms: int,
    seconds: float,
    *,
    aligned: bool = False,
    seed: int = 0,
) -> FleetService:
    """Let so many streams speak for so many seconds.

    Args:
        fleet: with places for them.
        speech: what they say, over and over, each from another point on.
        streams: how many at once.
        latency_ms: the fleet's.
        seconds: on the clock.
        aligned: all start at the same moment and speak all the time.
        seed: of the moments at which they start, and of what they say.
    """
    service = FleetService(streams, latency_ms)
    speakers = Speakers(fleet, speech, streams, seed, aligned=aligned)
    began = time.monotonic() + 0.05
    end = began + seconds
    speakers.speak(np.arange(streams), began + speakers.draw.random(streams) * (not aligned), end)
    chunk, computing = FRAME_SECONDS * chunk_frames(latency_ms), 0.0
    too_late = SOME + (HOPELESS_LOOSELY if aligned else HOPELESS) * streams * seconds / chunk
    while not speakers.over and not service.broken_off:
        now = time.monotonic()
        speakers.send(now)
        who, came = _first_come(fleet, speakers, streams)
        if not len(who):
            time.sleep(NAP)
            continue
        fleet.start(who)
        speakers.send(time.monotonic())  # while it is computed
        said, after = fleet.finish(), time.monotonic()
        computing += after - now
        _account(service, after - came, chunk, len(said.token))
        _begin_anew(speakers, service, who, after, end)
        service.broken_off = service.late > too_late
    service.busy = computing / (time.monotonic() - began)
    service.lag = speakers.lag
    return service


def _first_come(fleet: Fleet, speakers: Speakers, streams: int) -> tuple[Longs, NDArray[np.float64]]:
    """The streams that a step has room for, whose audio has waited longest, and since when."""
    ready = fleet.ready()
    ready = ready[ready < streams]
    came = speakers.came(ready)
    first = np.argsort(came)[: fleet.most]
    return ready[first], came[first]


def _account(service: FleetService, waits: NDArray[np.float64], chunk: float, tokens: int) -> None:
    service.waits.append(waits.astype(np.float32))
    service.chunks += len(waits)
    service.late += int((waits > chunk).sum())
    service.words += tokens
    service.steps, service.served = service.steps + 1, service.served + len(waits)


def _begin_anew(speakers: Speakers, service: FleetService, who: Longs, now: float, end: float) -> None:
    """Those who have been heard to their end call again, if there is time."""
    over = who[speakers.fleet.done(who)]
    service.delays += (now - (speakers.began[over] + speakers.length[over] / SAMPLE_RATE)).tolist()
    if len(over) and end - now > 1:
        speakers.speak(over, np.full(len(over), now), end)
