"""The widths that the kernels compute with, and the filling of narrower models.

Rows, heads and what is inside a feed-forward are filled up with zeros to what a whole number of tiles takes. Zeros stay
zeros: nothing is added to them, and norms are taken over what is real.
"""

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import pad

from nemotron_asr.config import ModelConfig
from nemotron_asr.engine.packed.layout import DOWN_1, DOWN_2, EXPAND, OUT, QKV, UP_1, UP_2

WHOLE = 64
"""Every width is a multiple of it."""

HEADS = 64, 128
"""Widths of a head for which there are tiles."""

Parts = tuple[int, int]
"""How many equal parts a side of a matrix has, and what each of them is filled up to."""


class Widths(NamedTuple):
    """Sizes of one block, as they are computed with."""

    row: int
    feed_forward: int
    heads: int
    head: int  # of each
    real_head: int

    @classmethod
    def of(cls, config: ModelConfig) -> "Widths":
        """What a model is filled up to; its heads must not be wider than the largest of `HEADS`."""
        head = config.d_model // config.n_heads
        wide = next(width for width in HEADS if width >= head)
        return cls(whole(config.d_model), whole(config.d_ff), config.n_heads, wide, head)

    @property
    def attended(self) -> int:
        """All heads together."""
        return self.heads * self.head

    def sides(self, matrix: int) -> tuple[Parts, Parts]:
        """The outputs and inputs of a matrix of `layout`."""
        row, inside = (1, self.row), (1, self.feed_forward)
        special = {
            UP_1: (inside, row), UP_2: (inside, row), DOWN_1: (row, inside), DOWN_2: (row, inside),
            QKV: ((3 * self.heads, self.head), row), OUT: (row, (self.heads, self.head)), EXPAND: ((2, self.row), row),
        }  # fmt: skip
        return special.get(matrix, (row, row))

    @property
    def query_factor(self) -> float:
        """What undoes that attention divides by the root of the filled width, not the real one."""
        return math.sqrt(self.head / self.real_head)


def whole(width: int) -> int:
    """The next multiple of `WHOLE`."""
    return -(-width // WHOLE) * WHOLE


def wide(side: Parts) -> int:
    """Of a side of a matrix that is filled up."""
    parts, width = side
    return parts * width


def filled(x: Tensor, axis: int, side: Parts) -> Tensor:
    """Fill every part of an axis up with zeros; x itself where nothing is missing."""
    parts, width = side
    if x.shape[axis] == parts * width:
        return x
    split = x.unflatten(axis, (parts, -1)).movedim(axis + 1, -1)
    return pad(split, (0, width - split.shape[-1])).movedim(-1, axis + 1).flatten(axis, axis + 1)
