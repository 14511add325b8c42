import pytest
import torch
from torch import nn

from nemotron_asr.checkpoint.int8 import quantize_weight
from nemotron_asr.engine.quantize import Int8Linear, Int8LSTM, pack, quantize
from tests.conftest import random_model, tiny_config


def int8(linear: nn.Linear) -> Int8Linear:
    with torch.no_grad():
        return Int8Linear(*quantize_weight(linear.weight), linear.bias)


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_products_are_the_defined_ones(rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(96, 160, bias=bias), torch.randn(rows, 2, 96) * torch.tensor([0.01, 30.0])[:, None]
    defined, packed = int8(linear), int8(linear)
    pack(packed)
    torch.testing.assert_close(packed(x), defined(x), rtol=1e-5, atol=1e-6)
    exact = linear(x)
    assert (packed(x) - exact).norm(dim=-1).div(exact.norm(dim=-1)).max() < 0.03


@pytest.mark.usefixtures("no_grad")
def test_a_row_has_its_own_scale() -> None:
    """A loud neighbour changes nothing, not even the last bit."""
    linear = int8(nn.Linear(96, 160))
    pack(linear)
    quiet, loud = torch.randn(1, 96), 1e6 * torch.randn(5, 96)
    assert torch.equal(linear(torch.cat([quiet, loud]))[:1], linear(quiet))
    assert linear.bias is not None
    assert torch.equal(linear(torch.zeros(1, 96))[0], linear.bias)


def test_the_matrices_of_a_model_are_replaced_and_no_others() -> None:
    model = random_model(tiny_config())
    quantize(model)
    left = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert not left
    assert model.prompt.language.weight.dtype == torch.float32
    assert sum(isinstance(module, Int8Linear) for module in model.modules()) == 2 * 11 + 3 + 3 + 2


@pytest.mark.usefixtures("no_grad")
def test_the_lstm_is_nearly_torchs() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(64, 64, 2, batch_first=True)
    ours, x, memory = Int8LSTM(lstm), torch.randn(3, 5, 64), (torch.randn(2, 3, 64), torch.randn(2, 3, 64))
    expected, (h, c) = lstm(x, memory)
    y, (our_h, our_c) = ours(x, memory)
    for exact, found in [(expected, y), (h, our_h), (c, our_c)]:
        assert (found - exact).norm() / exact.norm() < 0.02
        assert found.shape == exact.shape
