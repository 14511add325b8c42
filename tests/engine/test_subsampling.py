import copy

import pytest
import torch

from nemotron_asr.engine import subsampling
from nemotron_asr.engine.subsampling import FastSubsampling, cut, join, piece
from nemotron_asr.model.subsampling import Subsampling, halved_bins
from tests.conftest import random_model, tiny_config

CONFIG = tiny_config(n_mels=128)


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize("bfloat16", [True, False])
@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (5, 1), (3, 14)])
def test_it_is_the_same_subsampling(bfloat16: bool, batch: int, frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that begin, go on and end, in one batch."""
    monkeypatch.setattr(subsampling, "_has_bfloat16", lambda: bfloat16)
    original: Subsampling = random_model(CONFIG).encoder.subsampling
    fast = FastSubsampling(copy.deepcopy(original), CONFIG.n_mels)
    generator = torch.Generator().manual_seed(batch)
    mel = torch.randn(batch, 8 * frames, 128, generator=generator)
    channels = (1, CONFIG.subsampling_channels, CONFIG.subsampling_channels)
    past = [torch.rand(batch, c, 1, b, generator=generator) for c, b in zip(channels, halved_bins(128), strict=False)]
    t = torch.randint(0, 3, (batch,), generator=generator)
    for end in (10**6, 8 * frames - 3):
        ends = torch.full((batch,), end)
        expected, expected_past, expected_end = original(mel, ends, t, past)
        found, found_past, found_end = fast(mel.clone(), ends, t, past)
        assert (found - expected).norm() / expected.norm() < (0.02 if bfloat16 else 1e-5)
        assert torch.equal(found_end, expected_end)
        for ours, theirs in zip(found_past, expected_past, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0.01 if bfloat16 else 1e-5, atol=0.1 if bfloat16 else 1e-5)


@pytest.mark.usefixtures("no_grad")
@pytest.mark.parametrize(("streams", "frames"), [(1, 1), (3, 14), (1, 112), (3, 70)])
@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_are_the_whole(streams: int, frames: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subsampling, "_has_bfloat16", lambda: False)
    fast = FastSubsampling(random_model(CONFIG).encoder.subsampling, CONFIG.n_mels)
    generator = torch.Generator().manual_seed(frames)
    mel = torch.randn(streams, 8 * frames, 128, generator=generator)
    channels = (1, CONFIG.subsampling_channels, CONFIG.subsampling_channels)
    past = [torch.rand(streams, c, 1, b, generator=generator) for c, b in zip(channels, halved_bins(128), strict=False)]
    t, ends = torch.arange(streams), torch.full((streams,), 8 * frames - 3)
    expected, expected_past, expected_end = fast(mel.clone(), ends, t, past)
    pieces = cut(streams, frames, threads)
    assert len(pieces) >= min(threads, streams)
    found, found_past, found_end = join([piece(fast, mel.clone(), ends, t, past, *each) for each in pieces], frames)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(found_end, expected_end)
    for ours, theirs in zip(found_past, expected_past, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
