"""Augmentation: each effect does what its name says, by the amount it was asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nemotron_asr.audio import Samples
from nemotron_asr.config import SAMPLE_RATE, ModelConfig
from nemotron_asr.features import LogMel, window_samples
from nemotron_asr.training.augment import (
    AugmentConfig,
    Augmenter,
    add_noise,
    add_silence,
    change_speed,
    coloured_noise,
    mask_spectrogram,
    perturb_vocal_tract,
    reverberate,
    rms,
)


@pytest.fixture
def tone() -> Samples:
    """Two seconds of 440 Hz."""
    return (0.1 * np.sin(2 * np.pi * 440 * np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE)).astype(np.float32)


def pitch(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_length_and_pitch(tone: Samples, factor: float) -> None:
    fast = change_speed(tone, factor)
    assert len(fast) == pytest.approx(len(tone) / factor, abs=1)
    assert pitch(fast) == pytest.approx(440 * factor, abs=1)
    assert fast.dtype == np.float32


@pytest.mark.parametrize("snr", [0.0, 12.0])
def test_noise_is_as_loud_as_asked(tone: Samples, snr: float) -> None:
    noise = coloured_noise(SAMPLE_RATE, 1, np.random.default_rng(0))
    added = add_noise(tone, noise, snr) - tone
    assert 20 * np.log10(rms(tone) / rms(added)) == pytest.approx(snr, abs=0.1)


@pytest.mark.parametrize(("exponent", "slope"), [(0, 0.0), (1, -3.0), (2, -6.0)])
def test_noise_has_its_colour(exponent: float, slope: float) -> None:
    """White is flat, pink falls by 3 dB an octave, brown by 6."""
    noise = coloured_noise(20 * SAMPLE_RATE, exponent, np.random.default_rng(1))
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [power[20 * 2**i : 20 * 2 ** (i + 1)].mean() for i in range(4, 12)]
    slopes = 10 * np.diff(np.log10(octaves))
    np.testing.assert_allclose(slopes, slope, atol=0.7)


def test_a_room_echoes_after_the_sound_and_dies_away() -> None:
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[1000] = 1
    wet = reverberate(click, 0.3, np.random.default_rng(2))
    assert len(wet) == len(click)
    assert np.abs(wet[:1000]).max() < 1e-6
    assert wet[1000] == pytest.approx(1, abs=1e-5)
    early, late = wet[1032 : 1032 + 1600], wet[1032 + 3000 : 1032 + 4600]
    assert rms(early) > 5 * rms(late) > 0


def test_a_clip_is_augmented_alike_for_the_same_seed_and_stays_a_clip(tone: Samples) -> None:
    augmenter = Augmenter(AugmentConfig())
    for seed in range(50):
        once, again = (
            augmenter(tone, tone[::-1], 33_000, np.random.default_rng(seed), synthetic=seed % 2 == 0) for _ in range(2)
        )
        np.testing.assert_array_equal(once, again)
        assert once.dtype == np.float32
        assert 0.9 * len(tone) <= len(once) <= 33_000
        assert np.isfinite(once).all()
        assert np.abs(once).max() <= 1
        assert -45 < 20 * np.log10(rms(once)) < -10


def test_synthetic_speech_never_keeps_digital_silence(tone: Samples) -> None:
    silent = AugmentConfig(speed_probability=0, reverberation_probability=0, noise_probability=0)
    tone[:4000] = 0
    real, synthetic = (
        Augmenter(silent)(tone, tone, len(tone), np.random.default_rng(0), synthetic=synthetic)
        for synthetic in (False, True)
    )
    assert rms(real[:4000]) < 1e-5
    assert 30 < 20 * np.log10(rms(synthetic) / rms(synthetic[:4000])) < 62


def test_silence_stays_finite() -> None:
    silence = np.zeros(SAMPLE_RATE, np.float32)
    for seed in range(20):
        heard = Augmenter(AugmentConfig())(silence, silence, SAMPLE_RATE, np.random.default_rng(seed), synthetic=True)
        assert np.isfinite(heard).all()


def test_masks_hide_bands_and_moments_behind_the_mean() -> None:
    config = AugmentConfig(frequency_masks=2, frequency_width=6, time_masks=3, time_share=0.1)
    torch.manual_seed(0)
    mel, frames = torch.randn(8, 60, 32), torch.full((8,), 60)
    frames[0] = 20
    masked = mask_spectrogram(mel, frames, config, torch.Generator().manual_seed(1))
    again = mask_spectrogram(mel, frames, config, torch.Generator().manual_seed(1))
    assert torch.equal(masked, again)
    hidden = masked != mel
    bands, moments = hidden.all(1), hidden.all(2)
    assert torch.equal(hidden, bands[:, None] | moments[..., None])
    assert 0 < int(bands.sum(1).max()) <= 12
    assert 0 < int(moments.sum(1).max()) <= 18
    assert int(moments[0].sum()) <= 6
    mean = mel[1].mean()
    torch.testing.assert_close(masked[1][hidden[1]], mean.expand(int(hidden[1].sum())))


@pytest.mark.parametrize("factor", [0.85, 1.18])
def test_a_vocal_tract_of_another_length_moves_resonances(factor: float) -> None:
    features = LogMel(ModelConfig())
    time = torch.arange(1 + window_samples(4)) / SAMPLE_RATE

    def mel(hertz: float) -> torch.Tensor:
        samples = 0.1 * torch.sin(2 * np.pi * hertz * time)[None]
        return features(samples, torch.zeros(1, dtype=torch.long), torch.tensor([SAMPLE_RATE]))

    config = AugmentConfig(vocal_tract_probability=1.0, vocal_tract=(factor, factor))
    for hertz in (500.0, 2000.0):
        moved = perturb_vocal_tract(mel(hertz), config, torch.Generator().manual_seed(0))
        assert abs(int(moved[0, 5].argmax()) - int(mel(factor * hertz)[0, 5].argmax())) <= 1
    never = AugmentConfig(vocal_tract_probability=0.0)
    torch.testing.assert_close(perturb_vocal_tract(mel(500.0), never, torch.Generator().manual_seed(0)), mel(500.0))


def test_silence_follows_a_clip_as_far_as_there_is_room(tone: Samples) -> None:
    longer = add_silence(tone, 0.5, 3 * SAMPLE_RATE)
    assert len(longer) == 2.5 * SAMPLE_RATE
    np.testing.assert_array_equal(longer[: len(tone)], tone)
    assert not longer[len(tone) :].any()
    assert len(add_silence(tone, 5.0, 3 * SAMPLE_RATE)) == 3 * SAMPLE_RATE
    np.testing.assert_array_equal(add_silence(tone, 0.5, SAMPLE_RATE), tone)


def test_a_tail_is_as_long_as_asked_and_never_digitally_silent(tone: Samples) -> None:
    quiet = AugmentConfig(speed_probability=0, reverberation_probability=0, noise_probability=0)
    config = replace(quiet, tail_probability=1.0, tail_seconds=(0.4, 0.6))
    for seed in range(8):
        heard = Augmenter(config)(tone, tone, 4 * SAMPLE_RATE, np.random.default_rng(seed), synthetic=False)
        assert 0.4 <= (len(heard) - len(tone)) / SAMPLE_RATE <= 0.6
        tail = heard[len(tone) :]
        assert 0 < rms(tail) < 0.05 * rms(heard[: len(tone)])
        assert np.count_nonzero(tail) > 0.9 * len(tail)


def test_where_nobody_speaks_there_is_noise_of_every_loudness() -> None:
    augmenter = Augmenter(AugmentConfig(non_speech_level=(-60.0, -20.0)))
    heard = [augmenter.non_speech(3 * SAMPLE_RATE, np.random.default_rng(seed)) for seed in range(40)]
    levels = np.array([20 * np.log10(rms(noise)) for noise in heard])
    assert (levels > -60.1).all()
    assert (levels < -19.9).all()
    assert np.ptp(levels) > 30
    steadiness = np.array([min(rms(part) for part in np.split(noise, 12)) / rms(noise) for noise in heard])
    assert 10 < np.count_nonzero(steadiness > 0.7) < 30  # the others swell and fade
