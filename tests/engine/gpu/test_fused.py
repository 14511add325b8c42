"""The kernels of norms and convolution, and what they leave in the rings, against their plain versions."""

import pytest
import torch
from torch import Tensor

from nemotron_asr.engine.gpu import convolution, norms, plain
from tests.engine.gpu.cases import Case

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def close(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype
    assert (found.float() - expected.float()).norm() <= TOLERANCE[expected.dtype] * expected.float().norm()


def case_of(seed: int) -> Case:
    """A step of random shape."""
    draw = torch.Generator().manual_seed(seed)

    def pick(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (1,), generator=draw))]

    return Case(
        layers=pick(1, 3), heads=pick(1, 3), width=pick(12, 33, 64), left=pick(7, 56), chunk=pick(1, 2, 4, 7, 14),
        chunks=pick(1, 1, 2), streams=pick(1, 2), dtype=(torch.float32, torch.bfloat16)[seed % 2],
        kernel=pick(3, 9), seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("d", [48, 1024])
def test_norms(d: int, dtype: torch.dtype) -> None:
    case = Case(1, 1, d, 8, 1, 1, 5, dtype)
    x, delta = 3 * case.normal(5, d, dtype=torch.float32), case.normal(5, d)
    outer, inner = ((case.normal(d), case.normal(d)) for _ in range(2))
    ours = x.clone()
    close(norms.add_norm(ours, delta, *inner), plain.add_norm(x, delta, *inner))
    close(ours, x)
    close(norms.add_norm_norm(ours, delta, outer, inner), plain.add_norm_norm(x, delta, outer, inner))
    close(ours, x)


@pytest.mark.parametrize("seed", range(6))
def test_convolution(seed: int) -> None:
    case = case_of(seed)
    state, batch = case.state(), case.batch()
    expanded, taps = case.normal(len(batch.rows) * batch.frames, 2 * case.d_model), case.normal(10, case.d_model)
    taps, weights = taps[: case.kernel + 1], (case.normal(case.d_model), case.normal(case.d_model))
    layer = case.layers - 1
    found = convolution.convolve(expanded, state, layer, taps, weights, batch)
    close(found, plain.convolve(expanded, state, layer, taps, weights, batch))


@pytest.mark.parametrize("seed", range(8))
def test_what_is_remembered(seed: int) -> None:
    """Rows that look ahead, rows of other streams and other layers stay as they are."""
    case = case_of(seed)
    batch, lines = case.batch(), case.streams * case.chunk * case.chunks
    qkv, expanded = case.normal(lines, 3 * case.d_model), case.normal(lines, 2 * case.d_model)
    case.generator.manual_seed(seed)
    ours = case.state()
    case.generator.manual_seed(seed)
    theirs = case.state()
    before = ours.k.clone()
    layer = case.layers - 1
    convolution.remember(qkv, expanded, ours, layer, batch)
    plain.remember(qkv, expanded, theirs, layer, batch)
    assert torch.equal(ours.k, theirs.k)
    assert torch.equal(ours.v, theirs.v)
    close(ours.conv, theirs.conv)
    changed = (ours.k != before).flatten(1).any(1)
    assert changed.sum() == (batch.keep > 0).sum()
    assert torch.equal(ours.k[:, :layer], before[:, :layer])
