"""Packed linears against the definition of a quantised one."""

import pytest
import torch
from torch import nn

from nemotron_asr.checkpoint.int8 import quantize_weight
from nemotron_asr.engine import packed
from nemotron_asr.engine.quantize import Int8Linear, quantize
from tests.conftest import random_model, tiny_config

WIDE = {"d_model": 256, "n_heads": 2, "d_ff": 512}

pytestmark = pytest.mark.skipif(not packed.supported(tiny_config(**WIDE)), reason="needs AVX-512 VNNI and numba")


def int8(inputs: int, outputs: int, *, bias: bool = True) -> Int8Linear:
    linear = nn.Linear(inputs, outputs, bias=bias).requires_grad_(requires_grad=False)
    return Int8Linear(*quantize_weight(linear.weight), linear.bias)


@pytest.mark.parametrize("rows", [(1,), (14,), (3, 40), (2, 1, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_products_are_the_defined_ones(rows: tuple[int, ...], bias: bool) -> None:
    from nemotron_asr.engine.packed.linear import PackedLinears

    torch.manual_seed(0)
    linears = [int8(96, 160, bias=bias), int8(160, 33, bias=bias)]
    x = [torch.randn(*rows, width) * torch.rand(*rows, 1).exp() for width in (96, 160)]
    expected = [linear(each) for linear, each in zip(linears, x, strict=True)]
    for module, each, defined in zip(PackedLinears(linears).modules, x, expected, strict=True):
        torch.testing.assert_close(module(each), defined, rtol=1e-4, atol=1e-4)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    from nemotron_asr.engine.packed.linear import PackedLinears

    torch.manual_seed(0)
    (linear,) = PackedLinears([int8(96, 160)]).modules
    quiet, loud = torch.randn(1, 96), 1e6 * torch.randn(99, 96)
    for where in (0, 13, 56, 99):
        assert torch.equal(linear(torch.cat([loud[:where], quiet, loud[where:]]))[where], linear(quiet)[0])


def test_the_prompt_is_packed_and_its_languages_stay_exact() -> None:
    from nemotron_asr.engine.building import make_runner
    from nemotron_asr.engine.packed.linear import PackedLinear
    from nemotron_asr.features import LogMel

    torch.manual_seed(0)
    model = random_model(tiny_config(**WIDE)).requires_grad_(requires_grad=False)
    frames, languages = torch.randn(3, 5, 256), torch.tensor([0, 1, 9])
    exact, table = model.prompt(frames, languages), model.prompt.language.weight.clone()
    quantize(model)
    make_runner(model, LogMel(model.config))
    assert isinstance(model.prompt.frame, PackedLinear)
    assert isinstance(model.prompt.out, PackedLinear)
    assert torch.equal(model.prompt.language.weight, table)
    found = model.prompt(frames, languages)
    assert (found - exact).norm() / exact.norm() < 0.02
    alone = [model.prompt(frames[i : i + 1, j : j + 1], languages[i : i + 1]) for i in range(3) for j in range(5)]
    assert torch.equal(torch.cat(alone).view_as(found), found)
