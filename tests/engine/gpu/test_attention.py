"""The attention kernel against its plain version."""

import pytest
import torch

from nemotron_asr.engine.gpu import attention, plain
from tests.engine.gpu.cases import Case

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def check(case: Case) -> None:
    state, batch = case.state(), case.batch()
    past = case.left // case.chunk * case.chunk
    lines = case.streams * batch.frames
    qkv, position = (
        case.normal(lines, 3 * case.d_model),
        case.normal(case.heads, lines, past + 2 * case.chunk + case.seed % 3),
    )
    bias = case.normal(case.heads, case.width)
    for layer in range(case.layers):
        expected = plain.attend(qkv, position, state, layer, bias, batch)
        found = attention.attend(qkv, position, state, layer, bias, batch)
        assert found.dtype == expected.dtype == case.dtype
        error = (found.float() - expected.float()).norm() / expected.float().norm()
        assert error < TOLERANCE[case.dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("chunk", [1, 2, 4, 7, 14])
def test_the_released_models_heads(chunk: int, dtype: torch.dtype) -> None:
    check(Case(layers=1, heads=1, width=128, left=56, chunk=chunk, chunks=1, streams=4, dtype=dtype, seed=chunk))


@pytest.mark.parametrize("seed", range(8))
def test_random_shapes(seed: int) -> None:
    """Odd widths, left contexts that chunks do not divide, steps of many chunks, streams at any time."""
    draw = torch.Generator().manual_seed(seed)

    def pick(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (1,), generator=draw))]

    check(
        Case(
            layers=pick(1, 2), heads=pick(1, 3), width=pick(12, 24, 33, 64), left=pick(14, 31, 56, 70),
            chunk=pick(1, 2, 3, 4, 7, 14), chunks=pick(1, 2, 5), streams=pick(1, 2, 3),
            dtype=(torch.float32, torch.bfloat16)[seed % 2], seed=seed,
        )
    )  # fmt: skip
