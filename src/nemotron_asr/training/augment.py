"""What happens to speech on its way to a model: speed, echo, noise, level; vocal tract and masks for its spectrogram.

Every function takes the random generator, so that a batch is a function of seed and step. The cost on one core is a few
hundredths of a percent of the audio's length for speed and room and less for the rest.
"""

from dataclasses import dataclass

import numpy as np
import soxr
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from nemotron_asr.audio import Samples
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.features import mel_edges

HIGHEST_RESONANCE = 4800.0
"""Hz, up to which a vocal tract's length scales frequencies; the rest is stretched to end where it did."""


@dataclass(frozen=True)
class AugmentConfig:
    """How often and how strongly; probabilities are per clip, ranges are drawn uniformly."""

    speed: tuple[float, float] = (0.9, 1.1)  # factor; pitch moves along
    speed_probability: float = 0.7
    reverberation_probability: float = 0.3
    reverberation_seconds: tuple[float, float] = (0.1, 0.6)  # time in which the echo decays by 60 dB
    noise_probability: float = 0.5
    noise_snr: tuple[float, float] = (5.0, 30.0)  # dB
    babble_probability: float = 0.2  # of the noises, another clip
    floor_snr: tuple[float, float] = (30.0, 60.0)  # dB; faint noise under clips with digital silence
    tail_probability: float = 0.0
    tail_seconds: tuple[float, float] = (0.1, 1.0)  # silence behind the clip, as far as its batch has room
    level: tuple[float, float] = (-36.0, -16.0)  # dB of full scale, root mean square
    non_speech_probability: float = 0.0  # of a clip to give way to noise in which nobody speaks, its text to none
    non_speech_level: tuple[float, float] = (-75.0, -10.0)  # dB of full scale
    vocal_tract_probability: float = 0.0
    vocal_tract: tuple[float, float] = (0.85, 1.18)  # factor on all resonances: below one as of a longer one
    frequency_masks: int = 2
    frequency_width: int = 27  # mel bins at most
    time_masks: int = 10
    time_share: float = 0.05  # of the utterance at most, per mask


def rms(samples: Samples) -> float:
    """Root mean square, never zero."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


def at_level(samples: Samples, level: float) -> Samples:
    """As loud as `level`, in dB of full scale, root mean square; what is louder than full scale is clipped."""
    heard: Samples = np.clip(samples * np.float32(10 ** (level / 20) / rms(samples)), -1, 1)
    return heard


def change_speed(samples: Samples, factor: float) -> Samples:
    """Play faster (factor above one) or slower."""
    changed: Samples = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ")
    return changed


def add_silence(samples: Samples, seconds: float, longest: int) -> Samples:
    """Let silence follow, but make it no more than `longest` samples."""
    room = max(0, longest - len(samples))
    longer: Samples = np.pad(samples, (0, min(int(seconds * SAMPLE_RATE), room)))
    return longer


def coloured_noise(n: int, exponent: float, rng: Generator) -> Samples:
    """Noise whose power falls as frequency to `-exponent`: 0 white, 1 pink, 2 brown; unit root mean square."""
    spectrum = np.fft.rfft(rng.standard_normal(n, dtype=np.float32))
    frequency = np.maximum(np.arange(len(spectrum)), 20 * n / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum * frequency ** (-exponent / 2), n).astype(np.float32)
    return noise / np.float32(rms(noise))


def reverberate(samples: Samples, decay: float, rng: Generator) -> Samples:
    """A synthetic room: the direct sound, then noise that decays by 60 dB within `decay` seconds."""
    n = int(decay * SAMPLE_RATE)
    echo = rng.standard_normal(n, dtype=np.float32) * np.exp(-6.9 * np.arange(n, dtype=np.float32) / n)
    echo[: int(0.002 * SAMPLE_RATE)] = 0
    echo *= rng.uniform(0.3, 1.0) / np.sqrt(np.sum(echo**2))
    echo[0] = 1
    size = 1 << (len(samples) + n - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)
    return wet[: len(samples)].astype(np.float32)


def add_noise(samples: Samples, noise: Samples, snr: float) -> Samples:
    """Mix `noise`, repeated or cut to the same length, at a signal-to-noise ratio in dB."""
    noise = np.resize(noise, len(samples))
    return samples + noise * np.float32(rms(samples) / rms(noise) * 10 ** (-snr / 20))


class Augmenter:
    """Applies an `AugmentConfig` to one clip at a time."""

    def __init__(self, config: AugmentConfig, seed: int = 0) -> None:
        self.config = config
        rng = np.random.default_rng(seed)
        # Shaping noise costs more than all the rest: ten seconds of each colour, entered at a random point, serve.
        self.noises = [coloured_noise(10 * SAMPLE_RATE, exponent, rng) for exponent in (0, 0.5, 1, 1.5, 2)]

    def __call__(self, samples: Samples, other: Samples, longest: int, rng: Generator, *, synthetic: bool) -> Samples:
        """One clip as another microphone might have heard it.

        Args:
            samples: the clip, 16 kHz.
            other: another clip, which may be heard in the background.
            longest: samples that the result may have.
            rng: the source of all chance.
            synthetic: the clip has digital silence, so it always gets a noise floor, as does one with a tail.
        """
        config = self.config
        slowest = max(config.speed[0], len(samples) / longest)
        if rng.random() < config.speed_probability and slowest < config.speed[1]:
            samples = change_speed(samples, rng.uniform(slowest, config.speed[1]))[:longest]
        tailed = bool(config.tail_probability) and rng.random() < config.tail_probability  # 0 spends no chance
        if tailed:
            samples = add_silence(samples, rng.uniform(*config.tail_seconds), longest)
        if rng.random() < config.reverberation_probability:
            samples = reverberate(samples, rng.uniform(*config.reverberation_seconds), rng)
        if rng.random() < config.noise_probability:
            babble = rng.random() < config.babble_probability
            samples = add_noise(samples, other if babble else self._noise(rng), rng.uniform(*config.noise_snr))
        if synthetic or tailed:
            samples = add_noise(samples, self._noise(rng), rng.uniform(*config.floor_snr))
        return at_level(samples, rng.uniform(*config.level))

    def non_speech(self, n: int, rng: Generator) -> Samples:
        """What a microphone hears where nobody speaks: two noises of any colour that come and go, or stay."""
        return at_level(_swelling(n, rng) + _swelling(n, rng), rng.uniform(*self.config.non_speech_level))

    def _noise(self, rng: Generator) -> Samples:
        noise = self.noises[rng.integers(len(self.noises))]
        return np.roll(noise, -rng.integers(len(noise)))


def _swelling(n: int, rng: Generator) -> Samples:
    """Noise that is as loud all the time or, as often, swells and fades as fast as speech at most."""
    noise = coloured_noise(n, rng.uniform(0, 2), rng)
    turns = rng.integers(2, 3 + 4 * n // SAMPLE_RATE) if rng.random() < 0.5 else 1
    loudness = np.interp(np.arange(n), np.linspace(0, n, turns), rng.uniform(0, 1, turns))
    return noise * loudness.astype(np.float32)


def perturb_vocal_tract(mel: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Vocal tract length perturbation (Jaitly and Hinton 2013): another speaker's resonances, at the same pitch.

    Args:
        mel: (B, frames, n_mels).
        config: how often, and by which factors.
        generator: the source of all chance, on the CPU.
    """
    batch, frames, bins = mel.shape
    chosen, place = torch.rand(2, batch, generator=generator, dtype=torch.double)
    low, high = config.vocal_tract
    factor = torch.where(chosen < config.vocal_tract_probability, low * (high / low) ** place, 1.0)
    centres = mel_edges(bins)[1:-1].numpy()
    sources = np.stack([np.interp(_unscaled(centres, each), centres, np.arange(bins)) for each in factor.tolist()])
    position = torch.from_numpy(sources).to(mel.device, mel.dtype)
    below = position.long().clamp(max=bins - 2)
    at, above = (mel.gather(2, index[:, None].expand(-1, frames, -1)) for index in (below, below + 1))
    return torch.lerp(at, above, (position - below)[:, None])


def _unscaled(hertz: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Which frequencies `factor` has moved to `hertz`."""
    knee, top = HIGHEST_RESONANCE * min(factor, 1.0), SAMPLE_RATE / 2
    return np.interp(hertz, [0.0, knee, top], [0.0, knee / factor, top])


def mask_spectrogram(mel: Tensor, frames: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """SpecAugment (Park et al. 2019): hide some bands and some stretches of time behind the utterance's mean.

    Args:
        mel: (B, frames, n_mels).
        frames: (B,) valid frames.
        config: number and width of the masks.
        generator: the source of all chance, on the CPU.
    """
    batch, length, bins = mel.shape

    def hidden(size: int, count: int, widest: Tensor, within: Tensor) -> Tensor:
        """(B, size), true inside any of `count` masks of up to `widest` (B, 1), which start `within` (B, 1)."""
        width, start = torch.rand(2, batch, count, generator=generator).to(mel.device)
        width = (width * (widest + 1)).floor()
        start = (start * (within - width + 1).clamp(min=0)).floor()
        position = torch.arange(size, device=mel.device)[:, None]
        inside = (position >= start[:, None]) & (position < (start + width)[:, None])
        return torch.any(inside, -1)

    valid = frames[:, None].to(mel.dtype)
    time = hidden(length, config.time_masks, config.time_share * valid, valid)
    full = torch.full_like(valid, bins)
    band = hidden(bins, config.frequency_masks, torch.full_like(valid, config.frequency_width), full)
    exists = (torch.arange(length, device=mel.device) < frames[:, None])[..., None]
    mean = (mel * exists).sum((1, 2), keepdim=True) / (valid[..., None] * bins).clamp(min=1)
    return torch.where(time[..., None] | band[:, None], mean, mel)
