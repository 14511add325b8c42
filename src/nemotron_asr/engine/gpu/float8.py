"""Linears in 8-bit floats: one scale for every output channel, and one for every row that comes in.

So what a stream hears does not depend on its neighbours. The products run on the tensor cores of GPUs from Ada and
Hopper on; elsewhere they are computed by their definition, for tests of accuracy.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from nemotron_asr.engine.gpu.encoder import Kernels
from nemotron_asr.engine.gpu.plain import FLOAT8, LARGEST
from nemotron_asr.engine.gpu.weights import LINEARS, Layer, Matrix


class Float8Linear(nn.Module):
    """A linear with weights in float8 that quantises each row of its input by itself."""

    def __init__(self, linear: Matrix | nn.Linear, kernels: Kernels) -> None:
        super().__init__()
        weight = linear.weight.data.float()
        scale = weight.abs().amax(1).clamp(min=1e-12) / LARGEST
        self.weight, self.scale = (weight / scale[:, None]).to(FLOAT8), scale
        self.bias, self.dtype, self.kernels = linear.bias, linear.weight.dtype, kernels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out), in the dtype that the weights had."""
        rows, scale = self.kernels.quantize_rows(x)
        if x.device.type == "cuda":
            y = torch._scaled_mm(  # noqa: SLF001 - it has no other name
                rows, self.weight.T, scale[:, None], self.scale[None], out_dtype=self.dtype, use_fast_accum=True
            )
        else:
            y = ((rows.float() @ self.weight.float().T) * scale[:, None] * self.scale).to(self.dtype)
        return y if self.bias is None else y + self.bias


def in_float8(layer: Layer, kernels: Kernels) -> Layer:
    """A layer whose matrices are in float8."""
    matrices: dict[str, Any] = {name: Float8Linear(getattr(layer, name), kernels) for name in LINEARS}
    return replace(layer, **matrices)
