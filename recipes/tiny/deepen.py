"""Gives a trained model more blocks that change nothing yet, so that a new run does not begin anew."""

from collections.abc import Mapping

import torch
from torch import Tensor

LAST_OF_BRANCHES = ("ff1.down.weight", "attention.out.weight", "conv.reduce.weight", "ff2.down.weight")


def block_prefix(index: int) -> str:
    """What the names of a block's weights begin with."""
    return f"encoder.blocks.{index}."


def deepened(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The same function in `layers` blocks: new ones, on top, are copies of the last one whose branches say nothing.

    A block ends in a norm, which must not scale twice: the learnt scale and shift move up to the last block.
    """
    count = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.blocks."))
    top = block_prefix(count - 1)
    last = {name.removeprefix(top): weight for name, weight in weights.items() if name.startswith(top)}
    scale, shift = last["norm_out.weight"], last["norm_out.bias"]
    silent = last | {name: torch.zeros_like(last[name]) for name in LAST_OF_BRANCHES}
    neutral = {"norm_out.weight": torch.ones_like(scale), "norm_out.bias": torch.zeros_like(shift)}
    grown = dict(weights)
    for index in range(count - 1, layers):
        block = (last if index < count else silent) | (neutral if index + 1 < layers else {})
        grown |= {block_prefix(index) + name: weight.clone() for name, weight in block.items()}
    return grown
