"""8-bit weights at rest and in use: one scale per output channel.

The matrices that take nearly all of the memory and the time are kept as whole numbers in -127 ... 127; a tensor
`X.weight` in int8 is accompanied by `X.scale` in float32, one number per output channel.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from nemotron_asr.checkpoint.checkpoint import Checkpoint
from nemotron_asr.checkpoint.mapping import release

LEVELS = 127
"""Whole numbers lie in -127 ... 127, times their scale."""

TINY = 1e-20
"""The scale of a row of zeros is not zero."""

MATRICES = re.compile(
    r"(encoder\.blocks\.\d+\.(ff[12]\.(up|down)|attention\.(q|k|v|out|position)|conv\.(expand|reduce))"
    r"|encoder\.subsampling\.out|transducer\.(enc|head))\.weight"
)
"""Which tensors are quantised: the linears, except those that tell languages apart and the small recurrent ones."""


def quantize_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """(..., n) float -> (..., n) whole numbers, still as float, and the scale (..., 1) of each row."""
    scale = values.abs().amax(-1, keepdim=True).clamp_(min=TINY) / LEVELS
    return (values / scale).round_(), scale


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(out, in) float -> the same in int8, and the float32 scale (out,) of each output channel."""
    values, scale = quantize_rows(weight.float())
    return values.to(torch.int8), scale[:, 0]


def scale_of(name: str) -> str:
    """`X.weight` -> `X.scale`."""
    return f"{name.removesuffix('.weight')}.scale"


def to_int8(checkpoint: Checkpoint) -> Checkpoint:
    """The same model with its matrices in int8 and all else in float32."""
    weights: dict[str, Tensor] = {}
    for name, tensor in checkpoint.weights.items():
        if MATRICES.fullmatch(name) and tensor.dtype != torch.int8:
            weights[name], weights[scale_of(name)] = quantize_weight(tensor)
            release(tensor)
        else:
            weights[name] = tensor if tensor.dtype == torch.int8 else tensor.float()
    return replace(checkpoint, weights=weights)


def to_float(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without whole numbers: int8 matrices times their scales, in float32; others as they are."""
    scales = {scale_of(name) for name, tensor in weights.items() if tensor.dtype == torch.int8}
    return {
        name: tensor * weights[scale_of(name)][:, None] if tensor.dtype == torch.int8 else tensor
        for name, tensor in weights.items()
        if name not in scales
    }
