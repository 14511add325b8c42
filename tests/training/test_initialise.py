"""Starting values: what is heard reaches the encoder's blocks."""

import torch

from nemotron_asr.audio import load
from nemotron_asr.config import HOP, ModelConfig
from nemotron_asr.features import LogMel, window_samples, window_start
from nemotron_asr.model import NemotronASR
from nemotron_asr.training.initialise import initialise
from tests.training.conftest import Line

FRAMES = 35


@torch.no_grad()
def variation(model: NemotronASR, path: str) -> float:
    """Spread of the subsampled frames over the time of a recording."""
    clip = torch.from_numpy(load(path))
    samples = torch.zeros(1, 1 + window_samples(FRAMES))
    heard = samples[0, 1 - window_start(0) :]
    heard[: len(clip)] = clip[: len(heard)]
    end = torch.tensor([len(clip)])
    mel = LogMel(model.config)(samples, torch.tensor([window_start(0)]), end)
    state = model.encoder.initial_state(1, history=0)
    frames, _, _ = model.encoder.subsampling(mel, end // HOP, state.t, state.subsampling)
    inner = frames[0, 2:-2]  # the first frames also see the silence before the recording
    return float(inner.std(0).mean())


def test_features_survive_the_subsampling(lines: list[Line]) -> None:
    torch.manual_seed(0)
    model = NemotronASR(ModelConfig(d_model=64, n_layers=1, n_heads=2, d_ff=64, subsampling_channels=32, vocab_size=10))
    path = lines[0]["audio_filepath"]
    before = variation(model, path)
    initialise(model)
    assert before < 0.05
    assert 0.3 < variation(model, path) < 3
