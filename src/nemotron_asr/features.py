"""Log-mel features as a pure function of a window of samples, so that a stream needs no feature state.

Mel frame j is centred on sample 160 j. Encoder frames [t, t + n) need mel frames [8t - 7, 8t - 7 + 8n), hence one
window of samples; whatever lies before sample 0 or past the end of the audio is zero. Windows of neighbouring chunks
overlap by a few frames: computing those twice is cheaper than carrying them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nemotron_asr.config import HOP, SAMPLE_RATE, SUBSAMPLING, ModelConfig

WINDOW = 400
N_FFT = 512
LOG_FLOOR = 2.0**-24


def window_start(t: int) -> int:
    """The first sample of the window for encoder frames from `t` on; before the audio's start when `t` is 0."""
    return HOP * (SUBSAMPLING * t - SUBSAMPLING + 1) - N_FFT // 2


def window_samples(frames: int) -> int:
    """Samples in the window of `frames` encoder frames."""
    return HOP * (SUBSAMPLING * frames - 1) + N_FFT


def mel_frames(samples: int) -> int:
    """Valid mel frames of an utterance of `samples` samples."""
    return samples // HOP


def mel_edges(n_mels: int) -> Tensor:
    """Where filters begin, peak and end on Slaney's mel scale, 0 to 8,000 Hz, float64 (n_mels + 2,)."""
    linear_mels, log_step = 15.0, math.log(6.4) / 27  # linear below 1 kHz, logarithmic above

    def to_hz(mel: Tensor) -> Tensor:
        return torch.where(mel < linear_mels, mel * 200 / 3, 1000 * torch.exp((mel - linear_mels) * log_step))

    top = linear_mels + math.log(SAMPLE_RATE / 2 / 1000) / log_step
    return to_hz(torch.linspace(0, top, n_mels + 2, dtype=torch.double))


def mel_filters(n_mels: int) -> Tensor:
    """Triangular filters on Slaney's mel scale with Slaney's area norm, 0 to 8,000 Hz, float64 (n_mels, 257)."""
    edges = mel_edges(n_mels)
    bins = torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.double)
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = torch.minimum((bins - low) / (mid - low), (high - bins) / (high - mid)).clamp(min=0)
    return triangles * 2 / (high - low)


class LogMel(nn.Module):
    """Samples to log-mel frames, exactly as NeMo's front end without normalisation and dither."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.preemphasis = config.preemphasis
        rounded = getattr(torch, config.mel_dtype) if config.mel_dtype != "float32" else dtype
        hann = torch.hann_window(WINDOW, periodic=False, dtype=torch.double)
        self.register_buffer("window", hann.to(rounded).to(dtype))
        self.register_buffer("filters", mel_filters(config.n_mels).to(rounded).to(dtype))
        self.window: Tensor
        self.filters: Tensor

    def forward(self, samples: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Log-mel frames of one window per stream.

        Args:
            samples: (B, 1 + n) samples in [-1, 1]; the first serves pre-emphasis only.
            start: (B,) time of `samples[:, 1]`, in samples since the stream began; may be negative.
            end: (B,) length of the whole utterance in samples; anything large while it is not known.

        Returns:
            (B, (n - 512) / 160 + 1, n_mels).
        """
        emphasised = samples[:, 1:] - self.preemphasis * samples[:, :-1]
        now = start[:, None] + torch.arange(emphasised.shape[1], device=samples.device)
        emphasised = emphasised * ((now >= 0) & (now < end[:, None]))
        margin = (N_FFT - WINDOW) // 2
        frames = emphasised.unfold(1, N_FFT, HOP) * F.pad(self.window, (margin, margin))
        spectrum = torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1)
        return torch.log(spectrum @ self.filters.T + LOG_FLOOR)
