"""Linears that stand by themselves in the kernels' layout, each computed by the thread that calls it."""

from collections.abc import Sequence
from threading import local
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from nemotron_asr.checkpoint import release_file
from nemotron_asr.engine.packed.layout import BLOCK, TILE_COLUMNS, Context, Longs, Scratch, Thread, deep
from nemotron_asr.engine.packed.search import product
from nemotron_asr.engine.packed.team import counter
from nemotron_asr.engine.packed.tiles import FLOAT_TILE, INT8_TILE
from nemotron_asr.engine.packed.weights import Quantised, pack_linears
from nemotron_asr.engine.quantize import Int8Linear

LANES = 16
"""Numbers that are quantised at once: the rows that go into a product are as long as some of these."""


class PackedLinear(nn.Module):
    """One of the packed matrices, in the place of the linear that it was."""

    def __init__(self, owner: "PackedLinears", matrix: int, linear: Int8Linear) -> None:
        super().__init__()
        self._owner, self._matrix, self._outputs = owner, matrix, len(linear.scale)
        self.register_buffer("bias", linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), float32."""
        rows = x.float().flatten(0, -2).contiguous()
        y = torch.cat([self._owner.multiply(self._matrix, block) for block in rows.split(BLOCK)])
        result: Tensor = y[:, : self._outputs].unflatten(0, x.shape[:-1])
        return result


class StoredLinear(nn.Module):
    """A quantised linear that is used once in a model's life: its weights stay in the file, if they can."""

    def __init__(self, linear: Int8Linear) -> None:
        super().__init__()
        self.weight, self.scale = nn.Buffer(linear.weight), nn.Buffer(linear.scale)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), float32."""
        y = nn.functional.linear(x.float(), self.weight.float()) * self.scale
        release_file(self.weight)
        return y


class PackedLinears:
    """Quantised linears whose weights are taken out of them and packed.

    Attributes:
        weights: of all, as one layer.
        modules: what takes the linears' places.
    """

    def __init__(self, linears: Sequence[Int8Linear]) -> None:
        self.modules = [PackedLinear(self, i, linear) for i, linear in enumerate(linears)]
        self.weights = pack_linears(cast("Sequence[Quantised]", linears))
        self._own = local()

    @staticmethod
    def take(linear: nn.Module) -> bool:
        """Whether the kernels take a module."""
        return isinstance(linear, Int8Linear) and linear.weight.dim() == 2 and linear.weight.shape[1] % LANES == 0

    def multiply(self, matrix: int, x: Tensor) -> Tensor:
        """Up to `BLOCK` rows times a matrix; columns beyond its own hold nothing of use."""
        if not hasattr(self._own, "thread"):
            self._own.thread = alone(int(self.weights.places[:, 3].max()))
        y = torch.empty(len(x), int(self.weights.places[matrix, 2]) * TILE_COLUMNS)
        product(matrix, x.numpy(), y.numpy(), self.weights, counter(), self._own.thread)
        return y


def alone(deepest: int) -> Thread:
    """A thread that works by itself on products of rows of up to so many numbers."""
    return member(0, 1, counter(), counter(), product_scratch(deepest))


def member(part: int, parts: int, arrivals: Longs, awaited: Longs, work: Scratch) -> Thread:
    """One of a team that shares the columns of products, and does nothing else."""
    halves = np.zeros((0, 0), np.uint16)
    context = Context(halves, halves, 0, 0, np.zeros((0, 0, 0), np.float32), FLOAT_TILE)
    return Thread(part, parts, part, parts, arrivals, awaited, work, context, np.zeros(0, np.float32))


def product_scratch(deepest: int, parts: int = 1) -> Scratch:
    """Memory for products of up to `BLOCK` rows of so many numbers, whose columns are shared by so many threads."""
    top, scales = np.zeros((parts, BLOCK, 16), np.float32), np.zeros(BLOCK, np.float32)
    quantised, nothing = np.zeros(BLOCK * deep(deepest), np.uint8), np.zeros(0, np.uint8)
    return Scratch(quantised, np.zeros((0, 0), np.float32), nothing, scales, top, INT8_TILE)
