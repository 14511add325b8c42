"""What a step costs and how many live streams a machine sustains. Pure arithmetic, fed with measured steps."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from nemotron_asr.config import FRAME_SECONDS

FORGET = 0.98
"""What an old measurement still weighs after a new one: the machine's other work comes and goes."""

HEADROOM = 0.9
"""Share of the machine that live streams may fill."""

PATIENCE = 0.5
"""Share of its chunk's duration within which a stream's turn must come round."""


@dataclass
class StepCost:
    """Seconds of a step as `fixed + per_frame * rows * frames`: reading the weights, and computing with them.

    A least-squares line through recent measurements. Knows nothing before the first: every step is free.
    """

    _n: float = 0.0
    _x: float = 0.0
    _y: float = 0.0
    _xx: float = 0.0
    _xy: float = 0.0

    def add(self, frames: int, seconds: float) -> None:
        """Take in one step: the frames of all its rows together, and how long it took."""
        self._n, self._x, self._y = FORGET * self._n + 1, FORGET * self._x + frames, FORGET * self._y + seconds
        self._xx, self._xy = FORGET * self._xx + frames**2, FORGET * self._xy + frames * seconds

    @property
    def per_frame(self) -> float:
        """Seconds that one more frame of one stream costs."""
        spread = self._n * self._xx - self._x**2
        if spread <= 1e-9 * self._n * self._xx:  # all steps were alike
            return self._y / self._x if self._x else 0.0
        slope = (self._n * self._xy - self._x * self._y) / spread
        return min(max(slope, 0.0), self._y / self._x)

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

    Streams take their turns in steps of their lane, one lane after the other, without a pause when the machine is full.
    A cycle of all lanes then takes `lanes * fixed / (1 - load)` seconds, load being the share of the time that goes
    into frames; a stream whose audio comes at a random moment waits for the running cycle and is done in the next, so a
    cycle must not take more than half of the shortest chunk.
    """

    cost: StepCost = field(default_factory=StepCost)

    def sustains(self, lanes: Mapping[int, int]) -> bool:
        """Whether so many streams per chunk size can be served."""
        open_lanes = [chunk for chunk, streams in lanes.items() if streams]
        load = sum(lanes.values()) * self.cost.per_frame / FRAME_SECONDS / HEADROOM
        if not open_lanes or load >= 1:
            return load < 1
        cycle = len(open_lanes) * self.cost.fixed / (1 - load)
        return cycle <= PATIENCE * FRAME_SECONDS * min(open_lanes)

    def limit(self, chunk: int, lanes: Mapping[int, int] | None = None, most: int = 100_000) -> int:
        """How many streams of a chunk size can be open beside the others, at most `most`."""
        others = Counter(lanes or {})
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            others[chunk] = middle
            low, high = (middle, high) if self.sustains(others) else (low, middle - 1)
        return low
