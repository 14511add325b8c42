"""Plain samples, against FFmpeg's decoders."""

import itertools
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron_asr.audio.pcm import PcmReader, sample_bytes
from nemotron_asr.errors import OptionError

FFMPEG = {"mulaw": "pcm_mulaw", "alaw": "pcm_alaw", "s16le": "pcm_s16le", "s32le": "pcm_s32le", "u8": "pcm_u8"}


@pytest.mark.parametrize("encoding", FFMPEG)
def test_samples_are_ffmpegs(encoding: str) -> None:
    data = bytes(range(256)) * 3
    codec = av.CodecContext.create(FFMPEG[encoding], "r")
    assert isinstance(codec, av.AudioCodecContext)
    codec.sample_rate, codec.layout = 8000, "mono"
    expected = np.concatenate([frame.to_ndarray()[0] for frame in codec.decode(av.Packet(data))])
    read = PcmReader(encoding).read(data)
    np.testing.assert_array_equal(read, expected)
    assert read.dtype == expected.dtype


def test_24_bits() -> None:
    samples = np.array([0, 1, -1, 8_388_607, -8_388_608])
    data = b"".join(int(sample).to_bytes(3, "little", signed=True) for sample in samples)
    np.testing.assert_array_equal(PcmReader("s24le").read(data), samples * 256)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6), st.integers(1, 3), st.data())
def test_packets_are_cut_anywhere(data: bytes, cuts: list[int], channels: int, choose: st.DataObject) -> None:
    encoding = choose.draw(st.sampled_from(["s16le", "s24le", "s32le", "u8", "mulaw"]))
    whole = PcmReader(encoding, channels).read(data)
    reader, places = PcmReader(encoding, channels), [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    parts = [reader.read(data[a:b]) for a, b in itertools.pairwise(places)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(whole) == len(data) // (channels * sample_bytes(encoding))


@pytest.mark.parametrize(
    ("arguments", "said"), [(("ulaw",), "'ulaw' is unknown; choose s16le"), (("s16le", 1, 1), "channel 1 of 1")]
)
def test_what_cannot_be_read(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        PcmReader(*arguments)


def test_channels() -> None:
    data = np.array([[100, 300], [-100, 100]], "<i2").tobytes()
    np.testing.assert_array_equal(PcmReader("s16le", 2, channel=1).read(data), [300, 100])
    np.testing.assert_allclose(PcmReader("s16le", 2).read(data), np.array([200, 0]) / 2**15)
