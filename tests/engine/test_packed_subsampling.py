"""Compiled subsampling against the model's own."""

import copy

import pytest
import torch
from torch import Tensor

from nemotron_asr.checkpoint.int8 import quantize_weight
from nemotron_asr.engine import packed
from nemotron_asr.engine.quantize import Int8Linear
from nemotron_asr.engine.subsampling import cut, join, piece
from nemotron_asr.model.subsampling import Subsampling
from tests.conftest import random_model, tiny_config

CONFIG = tiny_config(n_mels=128, subsampling_channels=64)

pytestmark = [
    pytest.mark.skipif(not packed.has_bfloat16(), reason="needs AVX-512 BF16 and numba"),
    pytest.mark.usefixtures("no_grad"),
]


def quantised() -> Subsampling:
    """With random weights, and a linear as the runner finds it."""
    subsampling = random_model(CONFIG).encoder.subsampling
    subsampling.set_submodule("out", Int8Linear(*quantize_weight(subsampling.out.weight.data), subsampling.out.bias))
    return subsampling


def speech(batch: int, frames: int) -> Tensor:
    return torch.randn(batch, 8 * frames, CONFIG.n_mels, generator=torch.Generator().manual_seed(batch))


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (5, 1), (3, 14)])
def test_it_is_the_same_subsampling(batch: int, frames: int) -> None:
    """Streams that begin, go on and end, in one batch, for two steps."""
    from nemotron_asr.engine.packed.subsampling import PackedSubsampling

    original = quantised()
    fast = PackedSubsampling(copy.deepcopy(original), CONFIG.n_mels)
    state = random_model(CONFIG).encoder.initial_state(batch)
    expected_past, found_past = state.subsampling, fast.initial_past(batch)
    for step, end in enumerate((10**6, 16 * frames - 3)):
        mel, ends, t = speech(batch, frames), torch.full((batch,), end), torch.full((batch,), step * frames)
        expected, expected_past, expected_end = original(mel, ends, t, expected_past)
        found, found_past, found_end = fast(mel.clone(), ends, t, found_past)
        assert (found - expected).norm() / expected.norm() < 0.01
        assert torch.equal(found_end, expected_end)
        for ours, theirs in zip(found_past, expected_past, strict=True):
            assert (ours - theirs[:, :, 0].mT.reshape(ours.shape)).norm() <= 0.01 * theirs.norm()


@pytest.mark.parametrize(("streams", "frames"), [(3, 14), (1, 112), (3, 70)])
def test_no_company_and_no_cut_changes_a_bit(streams: int, frames: int) -> None:
    """Whether streams are together or alone, and whether the threads share a step in pieces."""
    from nemotron_asr.engine.packed.subsampling import PackedSubsampling

    fast, mel = PackedSubsampling(quantised(), CONFIG.n_mels), speech(streams, frames)
    past = [torch.rand_like(each) for each in fast.initial_past(streams)]
    t, ends = torch.arange(streams), torch.full((streams,), 8 * frames - 3)
    expected, expected_past, expected_end = fast(mel, ends, t, past)
    for threads in (1, 2):
        found, found_past, found_end = join(
            [piece(fast, mel, ends, t, past, *each) for each in cut(streams, frames, threads)], frames
        )
        assert torch.equal(found, expected)
        assert torch.equal(found_end, expected_end)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found_past, expected_past, strict=True))
    last, *_ = fast(mel[-1:], ends[-1:], t[-1:], [each[-1:] for each in past])
    assert torch.equal(last[0], expected[-1])
