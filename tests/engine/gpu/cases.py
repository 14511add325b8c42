"""Random steps over random rings."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nemotron_asr.engine.gpu.layout import Batch, RingState

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Case:
    """A step of a model of some size."""

    layers: int
    heads: int
    width: int
    left: int
    chunk: int
    chunks: int
    streams: int
    dtype: torch.dtype
    kernel: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    @property
    def d_model(self) -> int:
        return self.heads * self.width

    def normal(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.randn(shape, generator=self.generator).to(DEVICE, dtype or self.dtype)

    def whole(self, low: int, high: int) -> Tensor:
        return torch.randint(low, high, (self.streams,), generator=self.generator).to(DEVICE)

    def state(self) -> RingState:
        rows, cache = self.streams + 3, (self.layers, self.heads, self.left, self.width)
        return RingState(
            torch.zeros(rows, dtype=torch.long, device=DEVICE), [], self.normal(rows, *cache),
            self.normal(rows, *cache), self.normal(rows, self.layers, self.kernel - 1, self.d_model),
        )  # fmt: skip

    def batch(self) -> Batch:
        """Rows in any order, new and old streams, ending ones, some that only look ahead."""
        rows = torch.randperm(self.streams + 3, generator=self.generator)[: self.streams].to(DEVICE)
        frames = self.chunk * self.chunks
        t = self.whole(0, 3 * self.left) * self.whole(0, 2) // self.chunk * self.chunk
        ends = torch.where(self.whole(0, 2) > 0, t + self.whole(0, frames + 1), 2**30)
        return Batch(rows, t, ends, self.whole(0, 2), frames, self.chunk)
