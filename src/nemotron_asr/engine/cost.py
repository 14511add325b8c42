"""What a step costs and how many live streams a machine sustains. Pure arithmetic, fed with measured steps."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from nemotron_asr.config import FRAME_SECONDS

FORGET = 0.98
"""What an old measurement still weighs after a new one: the machine's other work comes and goes."""

HEADROOM = 0.9
"""Share of the machine that live streams may fill."""

TRUST = 25
"""Steps' weight of what was calibrated, beside that of the recent ones, which weigh 1 / (1 - FORGET) at most: hours of
equal steps say nothing about steps of other sizes, and noisy ones little about the cost before the first frame."""

PATIENCE = 0.3
"""Share of a live chunk's duration that a step of other lanes may take."""

MOST_STREAMS = 100_000
"""More are not looked for."""


def patience(live_chunks: Iterable[int]) -> float:
    """Seconds that a step may take for the sake of live streams of these chunk sizes; endless if there are none."""
    return PATIENCE * FRAME_SECONDS * min(live_chunks, default=math.inf)


class Sums(NamedTuple):
    """What a least-squares line through measured steps needs: sums over steps, which may have weights."""

    steps: float = 0.0
    frames: float = 0.0
    seconds: float = 0.0
    squares: float = 0.0  # of frames
    products: float = 0.0  # of frames and seconds

    def times(self, weight: float, slower: float = 1.0) -> "Sums":
        """With another weight, as if every step had taken so many times as long."""
        steps, frames, seconds, squares, products = (weight * each for each in self)
        return Sums(steps, frames, slower * seconds, squares, slower * products)

    def plus(self, other: "Sums") -> "Sums":
        """Of both."""
        return Sums(*map(sum, zip(self, other, strict=True)))

    def line(self) -> tuple[float, float]:
        """Seconds of a step before its first frame, and of each frame; neither is below zero."""
        if not self.frames:
            return 0.0, 0.0
        spread, mean = self.steps * self.squares - self.frames**2, self.seconds / self.frames
        alike = spread <= 1e-9 * self.steps * self.squares  # all steps were
        slope = mean if alike else (self.steps * self.products - self.frames * self.seconds) / spread
        per_frame = min(max(slope, 0.0), mean)
        return (self.seconds - per_frame * self.frames) / self.steps, per_frame


@dataclass
class StepCost:
    """Seconds of a step as `fixed + per_frame * rows * frames`: reading the weights, and computing with them.

    A least-squares line through recent steps, and through those of the calibration, made as many times slower as the
    machine has become since. Knows nothing before the first step: every one is free.
    """

    _recent: Sums = field(default_factory=Sums)
    _calibrated: Sums = field(default_factory=Sums)
    _line: tuple[float, float] = (0.0, 0.0)  # fixed, per frame: asked for more often than steps are measured

    def add(self, frames: int, seconds: float) -> None:
        """Take in one step: the frames of all its rows together, and how long it took."""
        self._recent = self._recent.times(FORGET).plus(Sums(1, frames, seconds, frames**2, frames * seconds))
        self._line = self._fit()

    def become(self, other: "StepCost") -> None:
        """Know what a calibration knows, and nothing else."""
        vars(self).update(vars(other))
        self._calibrated = self._recent

    @property
    def per_frame(self) -> float:
        """Seconds that one more frame of one stream costs."""
        return self._line[1]

    @property
    def fixed(self) -> float:
        """Seconds that a step costs before its first frame."""
        return self._line[0]

    def _fit(self) -> tuple[float, float]:
        fixed, per_frame = self._calibrated.line()
        expected = self._recent.steps * fixed + self._recent.frames * per_frame
        if not expected:
            return self._recent.line()
        then = self._calibrated.times(TRUST / self._calibrated.steps, self._recent.seconds / expected)
        return self._recent.plus(then).line()

    def seconds(self, frames: int) -> float:
        """A step of so many frames, all rows together."""
        fixed, per_frame = self._line
        return fixed + per_frame * frames

    def rows_within(self, limit: float, frames: int) -> int:
        """How many rows of so many frames a step of at most `limit` seconds can have; no fewer than none."""
        fixed, per_frame = self._line
        if per_frame == 0 or math.isinf(limit):
            return 10**6
        return max(0, int((limit - fixed) / (per_frame * frames)))


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
