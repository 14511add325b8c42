"""What a step costs and how many live streams a machine sustains. Pure arithmetic, fed with measured steps."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nemotron_asr.config import FRAME_SECONDS

FORGET = 0.98
"""What an old measurement still weighs after a new one: the machine's other work comes and goes."""

HEADROOM = 0.9
"""Share of the machine that live streams may fill."""

TELLING = 0.1
"""Variance of the frames of recent steps, as a share of their mean square, from which on a line through them is
believed. Hours of equal steps say nothing about steps of other sizes."""

PATIENCE = 0.3
"""Share of a live chunk's duration that a step of other lanes may take."""

MOST_STREAMS = 100_000
"""More are not looked for."""


def patience(live_chunks: Iterable[int]) -> float:
    """Seconds that a step may take for the sake of live streams of these chunk sizes; endless if there are none."""
    return PATIENCE * FRAME_SECONDS * min(live_chunks, default=math.inf)


@dataclass
class StepCost:
    """Seconds of a step as `fixed + per_frame * rows * frames`: reading the weights, and computing with them.

    A least-squares line through recent measurements; where these are too much alike, the line that was calibrated,
    as steep and as high as makes it right for them on average. Knows nothing before the first: every step is free.
    """

    _n: float = 0.0
    _x: float = 0.0
    _y: float = 0.0
    _xx: float = 0.0
    _xy: float = 0.0
    _calibrated: tuple[float, float] | None = None  # fixed and per frame

    def add(self, frames: int, seconds: float) -> None:
        """Take in one step: the frames of all its rows together, and how long it took."""
        self._n, self._x, self._y = FORGET * self._n + 1, FORGET * self._x + frames, FORGET * self._y + seconds
        self._xx, self._xy = FORGET * self._xx + frames**2, FORGET * self._xy + frames * seconds

    def become(self, other: "StepCost") -> None:
        """Know what the other one knows, and nothing else; for good, what a step's two costs are to each other."""
        vars(self).update(vars(other) | {"_calibrated": (other.fixed, other.per_frame)})

    @property
    def per_frame(self) -> float:
        """Seconds that one more frame of one stream costs."""
        spread = self._n * self._xx - self._x**2
        if spread < TELLING * self._n * self._xx and self._calibrated:
            return self._scale(*self._calibrated)
        if spread <= 1e-9 * self._n * self._xx:  # all steps were alike
            return self._y / self._x if self._x else 0.0
        slope = (self._n * self._xy - self._x * self._y) / spread
        return min(max(slope, 0.0), self._y / self._x)

    def _scale(self, fixed: float, per_frame: float) -> float:
        """A calibrated cost of a frame, now that the machine is slower or faster."""
        expected = self._n * fixed + self._x * per_frame
        return per_frame * self._y / expected if expected else 0.0

    @property
    def fixed(self) -> float:
        """Seconds that a step costs before its first frame."""
        return (self._y - self.per_frame * self._x) / self._n if self._n else 0.0

    def seconds(self, frames: int) -> float:
        """A step of so many frames, all rows together."""
        return self.fixed + self.per_frame * frames

    def rows_within(self, limit: float, frames: int) -> int:
        """How many rows of so many frames a step of at most `limit` seconds can have; no fewer than none."""
        if self.per_frame == 0 or math.isinf(limit):
            return 10**6
        return max(0, int((limit - self.fixed) / (self.per_frame * frames)))


@dataclass
class Capacity:
    """How many live streams are sustained: each chunk finished within one chunk after its audio.

    On a full machine the lane with the shortest chunk steps again and again, the other lanes in between, each in steps
    of at most `patience`. A stream of the fastest lane whose audio comes at a random moment waits for the step that is
    running, at worst for two of other lanes, and is done in the next of its own: this must fit into a chunk.
    """

    cost: StepCost = field(default_factory=StepCost)

    def sustains(self, lanes: Mapping[int, int]) -> bool:
        """Whether so many streams per chunk size can be served."""
        open_lanes = sorted(chunk for chunk, streams in lanes.items() if streams)
        if not open_lanes:
            return True
        fastest, *others = open_lanes
        longest = patience([fastest])
        load = sum(lanes.values()) * self.cost.per_frame / FRAME_SECONDS
        load += sum(self._steps(chunk, lanes[chunk], longest) * self.cost.fixed for chunk in others)
        if load >= HEADROOM:
            return False
        own = self.cost.fixed / (1 - load / HEADROOM)
        between = sorted(self._between(chunk, lanes[chunk], longest) for chunk in others)
        return 2 * own + sum(between[-2:]) <= FRAME_SECONDS * fastest

    def _between(self, chunk: int, streams: int, longest: float) -> float:
        """Seconds of one step of a lane whose steps are cut short, but have one row at least."""
        return max(min(longest, self.cost.seconds(chunk * streams)), self.cost.seconds(chunk))

    def _steps(self, chunk: int, streams: int, longest: float) -> float:
        """Steps per second of a lane whose steps are cut short for the sake of others."""
        rows = min(streams, max(1, self.cost.rows_within(longest, chunk)))
        return streams / rows / (FRAME_SECONDS * chunk)

    def limit(self, chunk: int, lanes: Mapping[int, int] | None = None) -> int:
        """How many streams of a chunk size can be open beside the others."""
        others = Counter(lanes or {})
        low, high = 0, MOST_STREAMS
        while low < high:
            middle = (low + high + 1) // 2
            others[chunk] = middle
            low, high = (middle, high) if self.sustains(others) else (low, middle - 1)
        return low
