import pytest
import torch
from torch import nn

from nemotron_asr.engine.lstm import CellLSTM
from nemotron_asr.recognizer import Recognizer


@pytest.mark.parametrize("layers", [1, 2])
def test_it_is_the_same_lstm(layers: int) -> None:
    original = nn.LSTM(8, 8, layers, batch_first=True, dtype=torch.float64)
    same = CellLSTM(original)
    x, memory = torch.randn(3, 5, 8).double(), (torch.randn(layers, 3, 8).double(), torch.randn(layers, 3, 8).double())
    torch.testing.assert_close(same(x, memory), original(x, memory), atol=1e-12, rtol=0)
    assert {name: value.data_ptr() for name, value in same.state_dict().items()} == {
        name: value.data_ptr() for name, value in original.state_dict().items()
    }


def test_models_on_a_cpu_have_it(recognizer: Recognizer) -> None:
    lstm: nn.Module = recognizer.runner.model.transducer.lstm
    assert isinstance(lstm, CellLSTM)
