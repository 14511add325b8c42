"""Packing a quantised model's blocks into the kernels' layout."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nemotron_asr.checkpoint import release_file
from nemotron_asr.engine.memory import trim
from nemotron_asr.engine.packed.layout import DEEP, DOWN_1, DOWN_2, MATRICES, QKV, TILE_COLUMNS, Halves, Weights, deep
from nemotron_asr.engine.packed.products import ADD, GLU, SILU, STORE
from nemotron_asr.engine.packed.widths import Widths, filled, wide
from nemotron_asr.model.conformer import Block
from nemotron_asr.model.encoder import Encoder

ZERO_POINT = 128
KINDS = (SILU, ADD, STORE, ADD, GLU, ADD, SILU, ADD)
"""What becomes of the products with the matrices of a block."""

FEED_FORWARD = 0.5
"""What a block adds of a feed-forward (macaron style)."""

PAGE = 4096
PAIRED = TILE_COLUMNS // 2
NEVER = -1e30
"""The value of an output that does not exist."""


class Quantised(Protocol):
    """A linear with int8 weights (out, in), a float32 scale per output, and perhaps a bias."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None


def linears(block: Block) -> list[list[Quantised]]:
    """The linears of a block in the order of `layout`; those that are one matrix there stand together."""
    attention, conv = block.attention, block.conv
    grouped = [
        [block.ff1.up], [block.ff1.down], [attention.q, attention.k, attention.v], [attention.out],
        [conv.expand], [conv.reduce], [block.ff2.up], [block.ff2.down],
    ]  # fmt: skip
    return cast("list[list[Quantised]]", grouped)


class Packable(NamedTuple):
    """A matrix that is to be packed, with the scale and the bias of each output."""

    weight: Tensor
    scale: Tensor
    bias: Tensor

    @classmethod
    def of(cls, group: Sequence[Quantised]) -> "Packable":
        """Linears side by side."""
        weight = torch.cat([linear.weight for linear in group]) if len(group) > 1 else group[0].weight
        scale = torch.cat([linear.scale for linear in group])
        return cls(weight, scale, torch.cat([torch.zeros_like(x.scale) if x.bias is None else x.bias for x in group]))


def pack_weights(encoder: Encoder, widths: Widths) -> Weights:
    """Bring the blocks of an encoder into the kernels' layout, one at a time.

    The blocks' large matrices are dropped as soon as they are packed; the encoder cannot run by itself any more.

    Args:
        encoder: its blocks' linears hold int8 weights.
        widths: what they are filled up to.
    """
    blocks = [cast("Block", block) for block in encoder.blocks]
    sides = [widths.sides(matrix) for matrix in range(len(KINDS))]
    places = _places([(wide(outputs), wide(inputs)) for outputs, inputs in sides], KINDS)
    size = _size(places)
    matrices = torch.from_numpy(_aligned(len(blocks) * size).reshape(len(blocks), size))
    columns = torch.zeros(len(blocks), int(places[:, 2].sum()), 3, TILE_COLUMNS)
    for layer, block in enumerate(blocks):
        for matrix, group in enumerate(linears(block)):
            _pack_matrix(_filled(matrix, group, widths), places[matrix], matrices[layer], columns[layer])
            _drop(group)
        trim()
    return Weights(
        matrices.numpy(),
        places,
        columns.numpy(),
        _stack(blocks, _norms),
        _stack(blocks, lambda block: filled(_taps(block), 1, (1, widths.row))),
        _stack(blocks, lambda block: filled(_biases(block) * widths.query_factor, 2, (1, widths.head))),
    )


def bfloat16_bits(x: Tensor) -> Halves:
    """The bits of a contiguous tensor, rounded to bfloat16."""
    return cast("Halves", x.to(torch.bfloat16).contiguous().view(torch.int16).numpy().view(np.uint16))


def pack_linears(group: Sequence[Quantised]) -> Weights:
    """Bring linears that stand by themselves into the layout of one layer, and drop theirs.

    Outputs are filled up to whole tiles with values so low that none is ever the largest.
    """
    places = _places([(len(linear.weight), linear.weight.shape[1]) for linear in group], [STORE] * len(group))
    matrices = torch.from_numpy(_aligned(_size(places))[None])
    columns = torch.zeros(1, int(places[:, 2].sum()), 3, TILE_COLUMNS)
    for place, linear in zip(places, group, strict=True):
        _pack_matrix(Packable.of([linear]), place, matrices[0], columns[0])
        _drop([linear])
    trim()
    none = np.zeros((0, 0, 0), np.float32)
    return Weights(matrices.numpy(), places, columns.numpy(), none[..., None], none, none[..., None])


def _places(sizes: Sequence[tuple[int, int]], kinds: Sequence[int]) -> NDArray[np.int64]:
    """`Weights.places` of matrices by their outputs and inputs."""
    places, byte, tile = [], 0, 0
    for (outputs, k), kind in zip(sizes, kinds, strict=True):
        tiles = -(-outputs // TILE_COLUMNS)
        places.append((byte, tile, tiles, k, kind))
        byte, tile = byte + tiles * TILE_COLUMNS * deep(k), tile + tiles
    return np.array(places, np.int64)


def _size(places: NDArray[np.int64]) -> int:
    """Bytes of all matrices."""
    return sum(int(tiles * deep(k)) for _, _, tiles, k, _ in places) * TILE_COLUMNS


def _filled(matrix: int, group: Sequence[Quantised], widths: Widths) -> Packable:
    """The linears of a matrix of `layout`, with what belongs into their outputs, filled up."""
    found, (outputs, inputs) = Packable.of(group), widths.sides(matrix)
    weight = filled(filled(found.weight, 0, outputs), 1, inputs)
    scale, bias = (filled(each, 0, outputs) for each in (found.scale, found.bias))
    factors: Tensor | float = FEED_FORWARD if matrix in {DOWN_1, DOWN_2} else 1.0
    if matrix == QKV:
        factors = torch.ones(3, widths.attended)
        factors[0] = widths.query_factor
        factors = factors.flatten()
    return Packable(weight, scale * factors, bias * factors)


def _pack_matrix(matrix: Packable, place: NDArray[np.int64], matrices: Tensor, columns: Tensor) -> None:
    """Pack a matrix into its place."""
    byte, tile, tiles, k, kind = map(int, place)
    weight, scale, bias = matrix
    starts = torch.from_numpy(-ZERO_POINT * weight.numpy().sum(1, dtype=np.int32))  # torch would copy all as int32
    values = torch.stack([starts.view(torch.float32), scale, bias])
    if kind == GLU:
        order = paired(len(weight))
        weight, values = weight[order], values[:, order]
    missing = tiles * TILE_COLUMNS - len(weight)
    weight = filled(filled(weight, 0, (1, tiles * TILE_COLUMNS)), 1, (1, deep(k)))
    values = torch.cat([values, torch.tensor([0.0, 0.0, NEVER])[:, None].expand(-1, missing)], 1)
    ordered = in_reading_order(weight, 4)
    matrices[byte : byte + weight.numel()].view(ordered.shape).copy_(ordered)
    columns[tile : tile + tiles] = values.view(3, tiles, TILE_COLUMNS).transpose(0, 1)


def in_reading_order(weight: Tensor, word: int) -> Tensor:
    """A matrix (outputs, inputs) as products read it, so many inputs at once: see `layout.Weights`."""
    columns, words = (PAIRED, DEEP // 4) if MATRICES else (TILE_COLUMNS, 1)
    cut = weight.view(-1, TILE_COLUMNS // columns, columns, weight.shape[1] // (words * word), words, word)
    return cut.permute(0, 3, 1, 4, 2, 5)


def _drop(group: Sequence[Quantised]) -> None:
    """Give the memory of linears back that have been packed."""
    for linear in group:
        original, linear.weight = linear.weight, linear.weight.new_empty(0)
        release_file(original)


def _aligned(size: int) -> NDArray[np.int8]:
    """Memory that begins with a page; NumPy asks the system for large ones."""
    memory = np.empty(size + PAGE, np.int8)
    first = -memory.ctypes.data % PAGE
    return memory[first : first + size]


def paired(outputs: int) -> Tensor:
    """The order of a gated linear's outputs: 16 values, their 16 gates, the next 16 values, ..."""
    return torch.arange(outputs).view(2, -1, PAIRED).transpose(0, 1).flatten()


def _stack(blocks: Sequence[Block], what: Callable[[Block], Tensor]) -> NDArray[np.float32]:
    return cast("NDArray[np.float32]", torch.stack([what(block) for block in blocks]).detach().float().numpy())


def _norms(block: Block) -> Tensor:
    norms: list[nn.LayerNorm] = [
        block.norm_ff1, block.norm_attention, block.norm_conv, block.conv.norm, block.norm_ff2, block.norm_out
    ]  # fmt: skip
    return torch.stack([torch.stack([norm.weight, norm.bias]) for norm in norms])


def _taps(block: Block) -> Tensor:
    conv = block.conv.depthwise
    bias = torch.zeros(len(conv.weight)) if conv.bias is None else conv.bias
    return torch.cat([conv.weight[:, 0].T, bias[None]])


def _biases(block: Block) -> Tensor:
    return torch.stack([block.attention.content_bias, block.attention.position_bias], dim=1)
