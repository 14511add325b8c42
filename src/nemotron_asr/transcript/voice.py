"""What is known of a stream's voice by a frame: on the clock of the decoded frames, which audio runs ahead of."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from nemotron_asr.audio.activity import Edge
from nemotron_asr.config import FRAME_SAMPLES


@dataclass
class Voice:
    """The voice of one stream.

    Attributes:
        on: whether somebody speaks.
        end: the sample at which the voice ended last; None: it never did.
        coming: edges in audio that is not decoded yet.
    """

    on: bool = False
    end: int | None = None
    coming: deque[Edge] = field(default_factory=deque)

    def hear(self, edges: Iterable[Edge]) -> None:
        """Take edges of the audio that was fed."""
        self.coming.extend(edges)

    def turns(self, frame: float) -> bool:
        """Whether the next edge is known when a frame is decoded."""
        return bool(self.coming) and self.coming[0].known <= frame * FRAME_SAMPLES

    def turn(self) -> Edge:
        """Take in the next edge."""
        edge = self.coming.popleft()
        self.on = edge.voice
        if not edge.voice:
            self.end = edge.sample
        return edge

    def silence(self, frame: int) -> float:
        """For how many frames, at the beginning of a frame, nobody has spoken."""
        if self.on:
            return 0.0
        return math.inf if self.end is None else frame - self.end / FRAME_SAMPLES
