import io
import tracemalloc
import wave
from array import array
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_asr.audio import AudioSource, Resampler, Samples, load, probe_duration, read_blocks, read_channels
from nemotron_asr.errors import AudioError, OptionError
from tests.audio.media import SECONDS, SPEECH, correlation, encode, noise, tone

FORMATS = {
    "telephony mu-law": (8000, "wav", "pcm_mulaw"),
    "telephony A-law": (8000, "wav", "pcm_alaw"),
    "16-bit WAV": (16000, "wav", "pcm_s16le"),
    "24-bit WAV": (48000, "wav", "pcm_s24le"),
    "float WAV": (44100, "wav", "pcm_f32le"),
    "double WAV": (22050, "wav", "pcm_f64le"),
    "64-bit WAV": (16000, "wav", "pcm_s64le"),
    "MP3": (44100, "mp3", "libmp3lame"),
    "Opus": (48000, "ogg", "libopus"),
    "WebM": (48000, "webm", "libopus"),
    "FLAC": (44100, "flac", "flac"),
    "M4A": (44100, "mp4", "aac"),
    "ALAC": (44100, "mp4", "alac"),
    "AC-3": (48000, "ac3", "ac3"),
    "AIFF": (22050, "aiff", "pcm_s16be"),
}

LAYOUTS = [(1, "mono"), (2, "stereo")]


@pytest.fixture(scope="module")
def speech() -> Samples:
    return load(SPEECH)


def at_rate(samples: Samples, rate: int) -> Samples:
    """Move samples from 16 kHz to a rate, with the spectrum (independent of what is tested)."""
    spectrum = np.fft.rfft(samples)
    length = round(len(samples) * rate / 16000)
    return (np.fft.irfft(spectrum, length) * length / len(samples)).astype(np.float32)


def test_bundled_speech_is_as_long_as_it_says(speech: Samples) -> None:
    assert len(speech) / 16000 == pytest.approx(SECONDS, abs=0.001)
    assert probe_duration(SPEECH) == pytest.approx(SECONDS, abs=0.01)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_speech_and_its_times(speech: Samples, name: str) -> None:
    rate, container, codec = FORMATS[name]
    content = encode(at_rate(speech, rate), rate, container, codec)
    result = load(content)
    delay = 85 if codec == "ac3" else 0  # raw AC-3 has no field for its encoder's delay of 256 samples
    assert len(result) == pytest.approx(len(speech), abs=260)
    assert correlation(result[delay:], speech) > 0.99
    assert probe_duration(content) == pytest.approx(SECONDS, abs=0.05)


def test_int16_is_exact(tmp_path: Path) -> None:
    samples = np.random.default_rng(2).integers(-32768, 32768, (2, 5000)).astype("<i2")
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        file.writeframes(samples.T.tobytes())
    expected = samples / np.float32(32768)
    np.testing.assert_array_equal(load(path), expected.mean(axis=0))
    np.testing.assert_array_equal(load(path, channel=0), expected[0])
    np.testing.assert_array_equal(load(str(path), channel=1), expected[1])
    with pytest.raises(OptionError, match=r"a\.wav: channel 2 is not there; the channels are 0 to 1"):
        load(path, channel=2)


def test_24_bits_are_exact() -> None:
    values = np.random.default_rng(2).integers(-(2**23), 2**23, 1000)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 3, 16000, 0, "NONE", ""))
        file.writeframes(b"".join(int(value).to_bytes(3, "little", signed=True) for value in values))
    np.testing.assert_array_equal(load(buffer), values / np.float32(2**23))


def test_lossless_stereo_is_averaged() -> None:
    stereo = noise(9600, channels=2)
    result = load(encode(stereo, 16000, "flac", "flac", "stereo"))
    np.testing.assert_allclose(result, stereo.mean(axis=1), atol=2**-15)


def test_path_bytes_file_and_array_are_the_same() -> None:
    content = SPEECH.read_bytes()
    expected = load(str(SPEECH))
    with SPEECH.open("rb") as file:
        sources: list[AudioSource] = [SPEECH, content, io.BytesIO(content), file, (expected, 16000)]
        for source in sources:
            np.testing.assert_array_equal(load(source), expected)


@settings(max_examples=25, deadline=None)
@given(seconds=st.floats(1e-3, 5), rate=st.sampled_from([8000, 16000, 44100]))
def test_blocks_joined_do_not_depend_on_their_size(seconds: float, rate: int) -> None:
    source = (noise(rate), rate)
    blocks = list(read_blocks(source, block_seconds=seconds))
    assert {len(block) for block in blocks[:-1]} <= {int(seconds * 16000)}
    np.testing.assert_array_equal(np.concatenate(blocks), load(source))


def test_blocks_of_a_file_joined_are_the_file() -> None:
    content = encode(tone(2, 44100), 44100, "mp3", "libmp3lame")
    for seconds in (0.01, 0.08, 1.0):
        np.testing.assert_array_equal(np.concatenate(list(read_blocks(content, block_seconds=seconds))), load(content))


def test_blocks_are_never_shorter_than_a_sample() -> None:
    with pytest.raises(OptionError, match="block_seconds 0 is less than one sample"):
        next(read_blocks((noise(10), 16000), block_seconds=0))


@settings(max_examples=25, deadline=None)
@given(seconds=st.floats(1e-3, 5), rate=st.sampled_from([8000, 16000, 44100]), channels=st.integers(1, 5))
def test_channels_side_by_side_are_those_heard_alone(seconds: float, rate: int, channels: int) -> None:
    source = (noise(rate, channels).reshape(rate, channels), rate)
    blocks = list(read_channels(source, block_seconds=seconds))
    assert {block.shape for block in blocks[:-1]} <= {(channels, int(seconds * 16000))}
    expected = [load(source, channel=channel) for channel in range(channels)]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), expected)


def test_channels_of_a_file_are_decoded_together() -> None:
    content = encode(noise(96000, 2), 48000, "flac", "flac", "stereo")
    expected = [load(content, channel=0), load(content, channel=1)]
    np.testing.assert_array_equal(np.concatenate(list(read_channels(content)), axis=1), expected)


def test_channels_may_not_come_and_go() -> None:
    parts = [encode(noise(48000, channels), 48000, "mp3", "libmp3lame", layout) for channels, layout in LAYOUTS]
    assert len(load(b"".join(parts))) == pytest.approx(32000, abs=2000)
    with pytest.raises(AudioError, match="the number of channels changes from 1 to 2; mix them"):
        list(read_channels(b"".join(parts)))


def test_long_files_take_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        for _ in range(10):
            file.writeframes(bytes(2 * 8000 * 60))
    tracemalloc.start()
    seconds = sum(len(block) for block in read_blocks(path)) / 16000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds == 600
    assert peak < 10_000_000


def test_blocks_may_be_overwritten() -> None:
    samples = noise(32000)
    kept = samples.copy()
    for block in read_blocks((samples, 16000), block_seconds=1):
        block[:] = 0
    np.testing.assert_array_equal(samples, kept)


def test_an_abandoned_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encode(noise(320000), 16000, "wav", "pcm_s16le"))
    blocks = read_blocks(path, block_seconds=1)
    next(blocks)
    assert isinstance(blocks, Generator)
    blocks.close()
    path.unlink()


@pytest.mark.parametrize("samples", [[], np.zeros((0, 2), np.int16)])
def test_an_empty_array_is_refused(samples: Samples) -> None:
    with pytest.raises(AudioError, match=r"^array: no audio samples"):
        load((samples, 16000))


@pytest.mark.parametrize("samples", [3, 80, 132])
def test_silence_shorter_than_resampling_sees_is_silence(samples: int) -> None:
    assert not load((np.zeros(samples, np.float32), 48000)).any()
    blocks = list(read_channels((np.zeros((samples, 2), np.float32), 48000)))
    assert [block.shape[0] for block in blocks] == [2]


@pytest.mark.parametrize(
    "samples",
    [b"12", bytearray(b"12"), memoryview(b"12"), [1.0, [2.0]], torch.zeros(9, dtype=torch.bfloat16),
     torch.zeros(9, requires_grad=True)],
    ids=["bytes", "bytearray", "memoryview", "ragged", "bfloat16", "gradient"],
)  # fmt: skip
def test_what_is_no_array_of_numbers_is_refused(samples: Any) -> None:
    with pytest.raises(AudioError, match=r"^array: the samples are (bytes|no array)"):
        load((samples, 16000))
    with pytest.raises(AudioError, match=r"^the samples are (bytes|no array)"):
        Resampler(16000).feed(samples)
    assert len(load((memoryview(array("h", [0] * 9)), 16000))) == 9


def test_arrays_are_named_in_errors() -> None:
    swapped: Any = (16000, noise(100))
    with pytest.raises(AudioError, match=r"^array: sample 1500000 is nan"):
        load((np.append(np.zeros(1_500_000, np.float32), np.nan), 16000))
    with pytest.raises(AudioError, match=r"^array: sample rate 5 is not"):
        load((noise(100), 5))
    with pytest.raises(AudioError, match=r"^array: an array of samples has the shape"):
        load(swapped)


def test_the_duration_of_an_array_is_exact() -> None:
    assert probe_duration((noise(4410, channels=2), 44100)) == 0.1


def test_probing_leaves_the_file_readable() -> None:
    file = io.BytesIO(SPEECH.read_bytes())
    assert probe_duration(file) == pytest.approx(SECONDS, abs=0.01)
    assert len(load(file)) == len(load(SPEECH))
