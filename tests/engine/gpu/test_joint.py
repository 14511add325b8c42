"""The joint that writes no logits, and the gates of an LSTM, against their plain versions."""

import pytest
import torch

from nemotron_asr.engine.gpu import joint, plain
from tests.engine.gpu.cases import DEVICE


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("lines", "vocabulary", "d"), [(1, 41, 24), (5, 700, 64), (130, 300, 100), (3, 3000, 64)])
def test_best_tokens(lines: int, vocabulary: int, d: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(lines)
    hidden, weight, bias = (
        torch.randn(shape, generator=generator).to(DEVICE, dtype) for shape in ((lines, d), (vocabulary, d), vocabulary)
    )
    expected = plain.most_likely(hidden.relu(), weight / 4, bias)
    token, logprob, sure = joint.most_likely(hidden.relu(), weight / 4, bias)
    assert torch.equal(token, expected[0])
    torch.testing.assert_close(logprob, expected[1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(sure, expected[2], atol=1e-4, rtol=1e-3)
    assert 0 < float(sure.mean()) < 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gates(dtype: torch.dtype) -> None:
    gates, c = (3 * torch.randn(5, 4 * 24)).to(DEVICE, dtype), torch.randn(5, 24).to(DEVICE, dtype)
    for found, expected in zip(joint.lstm(gates, c), plain.lstm(gates, c), strict=True):
        assert found.dtype == expected.dtype == dtype
        torch.testing.assert_close(found, expected, atol=1e-2 if dtype == torch.bfloat16 else 1e-6, rtol=1e-2)
