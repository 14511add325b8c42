import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.audio import Resampler, Samples
from nemotron_asr.errors import AudioError, StreamClosedError
from tests.audio.media import noise, tone

RATES = (8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000)


def whole(samples: Samples, rate: int) -> Samples:
    resampler = Resampler(rate)
    return np.concatenate([resampler.feed(samples), resampler.finish()])


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from((*RATES, 1000, 16000, 16001, 768000)),
    length=st.integers(0, 3000),
    packets=st.lists(st.integers(0, 700), min_size=1, max_size=20),
)
def test_packets_of_any_size_give_the_whole(rate: int, length: int, packets: list[int]) -> None:
    samples = noise(length)
    resampler = Resampler(rate)
    ends = [*itertools.accumulate(packets), length]
    cut = [resampler.feed(samples[start:end]) for start, end in itertools.pairwise([0, *ends])]
    cut.append(resampler.finish())
    np.testing.assert_array_equal(np.concatenate(cut), whole(samples[: max(ends)], rate))


def test_single_samples_give_the_whole() -> None:
    samples = noise(2000)
    resampler = Resampler(44100)
    pieces = [resampler.feed(samples[i : i + 1]) for i in range(len(samples))]
    np.testing.assert_array_equal(np.concatenate([*pieces, resampler.finish()]), whole(samples, 44100))


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_frequency_phase_level_and_length(rate: int) -> None:
    result = whole(tone(2, rate, hertz=1000), rate)
    assert len(result) == pytest.approx(32000, abs=1)
    inner = slice(500, 31500)
    np.testing.assert_allclose(result[inner], tone(2, 16000, hertz=1000)[inner], atol=2e-5)


@pytest.mark.parametrize("rate", [22050, 24000, 44100, 48000])
@pytest.mark.parametrize("hertz", [8800, 9500, 10500])
def test_what_16_khz_cannot_hold_is_gone(rate: int, hertz: int) -> None:
    result = whole(tone(1, rate, hertz=hertz), rate)
    assert np.abs(result[500:-500]).max() < 0.5 * 10 ** (-80 / 20)


@pytest.mark.parametrize("hertz", [300, 3000, 7000])
def test_what_16_khz_can_hold_keeps_its_level(hertz: int) -> None:
    result = whole(tone(1, 48000, hertz=hertz), 48000)
    assert np.abs(result[500:-500]).max() == pytest.approx(0.5, rel=0.01)


def test_telephony_has_no_images() -> None:
    spectrum = np.abs(np.fft.rfft(whole(tone(2, 8000, hertz=3400), 8000)[4000:28000] * np.hanning(24000)))
    image = spectrum[round(4600 * 1.5)]
    assert image < spectrum.max() * 10 ** (-80 / 20)


@pytest.mark.parametrize("rate", RATES)
def test_a_live_stream_is_hardly_delayed(rate: int) -> None:
    resampler = Resampler(rate)
    heard = said = 0
    for _ in range(100):
        heard += rate // 50
        said += len(resampler.feed(noise(rate // 50)))
        assert heard / rate - said / 16000 < 0.009


def test_16_khz_passes_without_a_copy() -> None:
    samples = noise(160)
    resampler = Resampler(16000)
    assert np.shares_memory(resampler.feed(samples), samples)
    assert resampler.finish().shape == (0,)


def test_packets_may_be_int16_strided_or_empty() -> None:
    resampler = Resampler(8000)
    stereo = noise(4000, channels=2)
    pieces = [resampler.feed(np.zeros(0, np.float32)), resampler.feed(stereo[:, 1]), resampler.finish()]
    np.testing.assert_array_equal(np.concatenate(pieces), whole(stereo[:, 1].copy(), 8000))
    silence = Resampler(8000).feed(np.zeros(8000, np.int16))
    assert silence.dtype == np.float32
    assert not silence.any()


def test_a_long_packet_is_fed_in_parts() -> None:
    samples = noise((1 << 20) + 1000)
    resampler = Resampler(48000)
    halves = [resampler.feed(samples[:600000]), resampler.feed(samples[600000:]), resampler.finish()]
    np.testing.assert_array_equal(whole(samples, 48000), np.concatenate(halves))


@pytest.mark.parametrize("rate", [16000, 8000])
def test_the_end_is_the_end(rate: int) -> None:
    resampler = Resampler(rate)
    resampler.finish()
    assert resampler.finish().shape == (0,)
    with pytest.raises(StreamClosedError, match="finished"):
        resampler.feed(noise(10))


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1)])
def test_one_channel_may_have_an_axis(shape: tuple[int, int]) -> None:
    """As callbacks of sound cards and blocks of files have it."""
    packet = np.sin(np.arange(4000, dtype=np.float32))
    assert np.array_equal(Resampler(8000).feed(packet.reshape(shape)), Resampler(8000).feed(packet))


def test_stereo_packets_are_refused() -> None:
    with pytest.raises(AudioError, match=r"mono.*not \(160, 2\)"):
        Resampler(16000).feed(noise(160, channels=2))


@pytest.mark.parametrize("rate", [0, -16000, 999, 768001, 44100.5, "16000"])
def test_absurd_rates_are_refused(rate: int) -> None:
    with pytest.raises(AudioError, match="from 1,000 to 768,000"):
        Resampler(rate)
