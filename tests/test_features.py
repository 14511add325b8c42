import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.config import ModelConfig
from nemotron_asr.engine.stream import Stream, Target
from nemotron_asr.features import LogMel, mel_filters, mel_frames, window_start
from tests.conftest import Sample

CONFIG = ModelConfig()


def heard(log_mel: LogMel, stream: Stream) -> torch.Tensor:
    """The mel frames of the next work, which is done."""
    work = stream.next_work()
    assert work is not None
    frames = work.chunk * work.chunks
    start, end = torch.tensor([window_start(stream.t)]), torch.tensor([work.end])
    window = torch.from_numpy(stream.window(frames)).to(log_mel.filters)
    stream.advance(work, frames)
    mel: torch.Tensor = log_mel(window[None], start, end)
    return mel[0]


def whole(log_mel: LogMel, samples: np.ndarray) -> torch.Tensor:
    """(frames, n_mels) of an utterance in one window."""
    return live(log_mel, samples, [max(1, len(samples))], 14)


def live(log_mel: LogMel, samples: np.ndarray, packets: list[int], chunk: int) -> torch.Tensor:
    """The same, from packets of the given sizes."""
    stream, frames, position = Stream(0, Target(0, "auto"), chunk), list[torch.Tensor](), 0
    while position < len(samples):
        size = packets[len(frames) % len(packets)]
        stream.feed(samples[position : position + size])
        position += size
        while position < len(samples) and stream.next_work():
            frames.append(heard(log_mel, stream))
    stream.close()
    while stream.next_work():
        frames.append(heard(log_mel, stream))
    return torch.cat([torch.zeros(0, log_mel.filters.shape[0]), *frames])[7 : 7 + mel_frames(len(samples))]


def reference(samples: np.ndarray, n_mels: int) -> np.ndarray:
    """The front end once more, in float64, by the definition of the discrete Fourier transform."""
    x = samples.astype(np.float64)
    x[1:] -= 0.97 * samples[:-1].astype(np.float64)
    x = np.concatenate([np.zeros(256), x, np.zeros(256)])
    window = np.zeros(512)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    basis = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(512)) / 512)
    frames = np.stack([x[160 * j : 160 * j + 512] * window for j in range(len(samples) // 160)])
    power = np.abs(frames @ basis.T) ** 2
    return np.log(power @ mel_filters(n_mels).numpy().T + 2.0**-24)


def test_float64_features_follow_the_definition(samples: list[Sample]) -> None:
    log_mel = LogMel(CONFIG, torch.float64)
    for sample in samples:
        difference = np.abs(whole(log_mel, sample.audio).numpy() - reference(sample.audio, 128))
        assert difference.max() < 1e-7


@pytest.mark.parametrize("n_mels", [32, 80, 128])
def test_mel_filters_are_slaneys(n_mels: int) -> None:
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(257, n_mels, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    assert np.abs(mel_filters(n_mels).numpy().T - theirs).max() < 1e-12


@given(packets=st.lists(st.integers(1, 9000), min_size=1, max_size=6), chunk=st.sampled_from([1, 2, 4, 7, 14]))
@settings(max_examples=20, deadline=None)
def test_live_features_are_those_of_the_whole_file(samples: list[Sample], packets: list[int], chunk: int) -> None:
    log_mel, audio = LogMel(CONFIG), samples[0].audio
    assert (live(log_mel, audio, packets, chunk) - whole(log_mel, audio)).abs().max() < 1e-5


@pytest.mark.parametrize("length", [0, 1, 159, 160, 255, 256, 1279, 1280, 1281])
def test_short_audio_has_a_frame_per_whole_hop(length: int) -> None:
    audio = np.full(length, 0.1, np.float32)
    assert len(whole(LogMel(CONFIG), audio)) == length // 160


def test_bfloat16_filters_are_rounded_as_stored() -> None:
    rounded = LogMel(ModelConfig(mel_dtype="bfloat16"))
    assert torch.equal(rounded.filters, rounded.filters.bfloat16().float())
    assert not torch.equal(rounded.filters, LogMel(CONFIG).filters)
