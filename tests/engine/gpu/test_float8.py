"""Linears in 8-bit floats: near the exact ones, and no row depends on another; words as good as the exact ones."""

import pytest
import torch
from torch import nn

from nemotron_asr.benchmark.driver import tokens, whole
from nemotron_asr.checkpoint import load_checkpoint
from nemotron_asr.engine.building import build_model
from nemotron_asr.engine.devices import choose_dtype
from nemotron_asr.engine.gpu import fused, norms, plain
from nemotron_asr.engine.gpu.float8 import Float8Linear
from nemotron_asr.engine.gpu.runner import GpuRunner
from nemotron_asr.errors import OptionError
from nemotron_asr.evaluation.scoring import align, count
from tests.conftest import Sample, tiny_config
from tests.engine.gpu.cases import DEVICE

pytestmark = pytest.mark.usefixtures("no_grad")

DTYPE, KERNELS = (torch.bfloat16, fused) if DEVICE.type == "cuda" else (torch.float32, plain)
"""The products of a GPU give no float32."""


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_is_near_the_exact_one(bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(96, 160, bias=bias).to(DEVICE, DTYPE)
    x = (torch.randn(5, 96) * torch.tensor([0.01, 1, 30, 1e3, 1e-5])[:, None]).to(DEVICE, DTYPE)
    small = Float8Linear(linear, KERNELS)
    for rows in (x, x[:1]):
        found, exact = small(rows), linear(rows)
        assert ((found - exact).norm(dim=1) / exact.norm(dim=1)).max() < 0.05
        assert found.dtype == exact.dtype


def test_a_row_has_its_own_scale() -> None:
    """A loud neighbour changes nothing."""
    linear = Float8Linear(nn.Linear(96, 160).to(DEVICE, DTYPE), KERNELS)
    quiet, loud = torch.randn(1, 96).to(DEVICE, DTYPE), 1e6 * torch.randn(5, 96).to(DEVICE, DTYPE)
    torch.testing.assert_close(linear(torch.cat([quiet, loud]))[:1], linear(quiet), rtol=1e-6, atol=1e-6)
    assert linear(torch.zeros_like(quiet)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_kernel_that_quantises(dtype: torch.dtype) -> None:
    x = torch.randn(4, 100).to(DEVICE, dtype)
    (rows, scales), (expected, expected_scales) = norms.quantize_rows(x), plain.quantize_rows(x)
    torch.testing.assert_close(scales, expected_scales)
    same = (rows.float() == expected.float()).float().mean()
    assert same > 0.95  # the interpreter does not carry where rounding up reaches the next power of two


def test_the_embedded_model_hears_as_well(samples: list[Sample]) -> None:
    """Edits that lead from what is said to what was said before; one token in ten may be another one."""
    checkpoint = load_checkpoint("tiny")
    model, log_mel = build_model(checkpoint, torch.device("cpu"), torch.float32)
    exact, small = (
        GpuRunner(model, log_mel, plain, rows=1, most=1, chunks=(), float8=float8) for float8 in (False, True)
    )
    said = changed = 0
    for sample in samples[::2]:
        before, after = (tokens(whole(runner, sample.audio, 14, 101)) for runner in (exact, small))
        edits = count(align([str(token) for token, _ in before], [str(token) for token, _ in after]))
        said, changed = said + len(before), changed + edits.errors
    assert said > 50
    assert changed <= 0.1 * said


def test_what_is_loaded_for_it() -> None:
    """Weights in bfloat16, of which the runner makes its linears; the prompt stays as it is."""
    model, _ = build_model(load_checkpoint("tiny"), torch.device("cpu"), torch.float8_e4m3fn)
    assert model.transducer.head.weight.dtype == torch.bfloat16
    assert model.prompt.frame.weight.dtype == torch.float32
    assert choose_dtype("float8", torch.device("cuda"), model.config) == torch.float8_e4m3fn
    with pytest.raises(OptionError, match="multiples of 16"):
        choose_dtype("float8", torch.device("cuda"), tiny_config(d_model=40))
