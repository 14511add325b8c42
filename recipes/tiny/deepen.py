"""Gives a trained model more blocks that change nothing yet, so that a new run does not begin anew."""

from collections.abc import Mapping

import torch
from torch import Tensor

LAST_OF_BRANCHES = ("ff1.down.weight", "attention.out.weight", "conv.reduce.weight", "ff2.down.weight")


def block_prefix(index: int) -> str:
    """What the names of a block's weights begin with."""
    return f"encoder.blocks.{index}."


def deepened(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The same function in `layers` blocks: each is followed by its share of copies of it whose branches say nothing.

    A block ends in a norm, which must not scale twice: the learnt scale and shift move to the last of its copies.
    """
    blocks = [name for name in weights if name.startswith("encoder.blocks.")]
    count = 1 + max(int(name.split(".")[2]) for name in blocks)
    sources = [index * count // layers for index in range(layers)]
    grown = {name: weight for name, weight in weights.items() if name not in blocks}
    for index, source in enumerate(sources):
        prefix = block_prefix(source)
        block = {name.removeprefix(prefix): weight.clone() for name, weight in weights.items() if prefix in name}
        if source in sources[:index]:
            block |= {name: torch.zeros_like(block[name]) for name in LAST_OF_BRANCHES}
        if source in sources[index + 1 :]:
            block["norm_out.weight"].fill_(1)
            block["norm_out.bias"].fill_(0)
        grown |= {block_prefix(index) + name: weight for name, weight in block.items()}
    return grown
