"""LayerNorm together with the residual addition before it; and rows in 8-bit floats. The oracles are in `plain`."""

import torch
from torch import Tensor

from nemotron_asr.engine.gpu import plain
from nemotron_asr.engine.gpu.compiling import jit, power_of_2, tl

EPSILON, LARGEST = tl.constexpr(plain.EPSILON), tl.constexpr(plain.LARGEST)


@jit
def normalised(y: tl.tensor, weight: tl.tensor, bias: tl.tensor, d: tl.tensor, D: tl.constexpr) -> tl.tensor:
    """The LayerNorm of y, float32, 0 from column D on."""
    centred = tl.where(d < D, y - tl.sum(y, 0) / D, 0.0)
    scale = 1 / tl.sqrt(tl.sum(centred * centred, 0) / D + EPSILON)
    w = tl.load(weight + d, mask=d < D, other=0.0).to(tl.float32)
    return centred * scale * w + tl.load(bias + d, mask=d < D, other=0.0).to(tl.float32)


@jit
def _add_norm(
    x: tl.tensor, delta: tl.tensor, outer_weight: tl.tensor, outer_bias: tl.tensor, weight: tl.tensor,
    bias: tl.tensor, out: tl.tensor, D: tl.constexpr, COLUMNS: tl.constexpr, TWICE: tl.constexpr,
) -> None:  # fmt: skip
    d, line = tl.arange(0, COLUMNS), tl.program_id(0).to(tl.int64) * D
    y = tl.load(x + line + d, mask=d < D, other=0.0)
    y += tl.load(delta + line + d, mask=d < D, other=0.0).to(tl.float32)
    if TWICE:
        y = normalised(y, outer_weight, outer_bias, d, D)
    tl.store(x + line + d, y, mask=d < D)
    y = normalised(y, weight, bias, d, D)
    tl.store(out + line + d, y.to(out.dtype.element_ty), mask=d < D)


def add_norm(x: Tensor, delta: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """See `plain.add_norm`."""
    return _launch(x, delta, (weight, bias), (weight, bias), twice=False)


def add_norm_norm(x: Tensor, delta: Tensor, outer: tuple[Tensor, Tensor], inner: tuple[Tensor, Tensor]) -> Tensor:
    """See `plain.add_norm_norm`."""
    return _launch(x, delta, outer, inner, twice=True)


def _launch(
    x: Tensor, delta: Tensor, outer: tuple[Tensor, Tensor], inner: tuple[Tensor, Tensor], *, twice: bool
) -> Tensor:
    d = x.shape[1]
    out = x.new_empty(x.shape, dtype=inner[0].dtype)
    _add_norm[len(x),](x, delta, *outer, *inner, out, D=d, COLUMNS=power_of_2(d), TWICE=twice)
    return out


@jit
def _quantize_rows(x: tl.tensor, rows: tl.tensor, scales: tl.tensor, D: tl.constexpr, COLUMNS: tl.constexpr) -> None:
    line, d = tl.program_id(0).to(tl.int64), tl.arange(0, COLUMNS)
    y = tl.load(x + line * D + d, mask=d < D, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(y), 0), 1e-12) / LARGEST
    y = tl.minimum(tl.maximum(y / scale, -LARGEST), LARGEST)
    tl.store(rows + line * D + d, y.to(rows.dtype.element_ty), mask=d < D)
    tl.store(scales + line, scale)


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """See `plain.quantize_rows`."""
    rows, scales = torch.empty_like(x, dtype=plain.FLOAT8), x.new_empty(len(x), dtype=torch.float32)
    _quantize_rows[len(x),](x, rows, scales, D=x.shape[1], COLUMNS=power_of_2(x.shape[1]))
    return rows, scales
