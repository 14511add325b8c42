"""WAV headers at the beginning of a stream, whole and broken."""

import io
import struct
import wave
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron_asr.server.formats import AudioFormat, looks_like_container
from nemotron_asr.server.problems import Problem
from nemotron_asr.server.wav import WavHeader, is_wav, read_header


def header(*, rate: int = 16_000, channels: int = 1, width: int = 2, frames: int = 8) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(bytes(frames * channels * width))
    return file.getvalue()


@pytest.mark.parametrize(("width", "encoding"), [(1, "u8"), (2, "s16le"), (3, "s24le"), (4, "s32le")])
def test_what_it_says(width: int, encoding: str) -> None:
    data = header(rate=44_100, channels=2, width=width, frames=5)
    found = read_header(data, AudioFormat(rate=8000, channel=None))
    assert found == WavHeader(AudioFormat(encoding, 44_100, 2), len(data) - 10 * width, 10 * width)


def test_extensible_and_unknown_length() -> None:
    chunk = struct.pack("<HHIIHH", 0xFFFE, 1, 8000, 8000, 1, 8) + struct.pack("<HHIH", 22, 8, 4, 7) + bytes(14)
    data = b"RIFF\xff\xff\xff\xffWAVE" + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    data += b"fmt " + struct.pack("<I", len(chunk)) + chunk + b"data" + struct.pack("<I", 0xFFFFFFFF)
    assert read_header(data, AudioFormat()) == WavHeader(AudioFormat("mulaw", 8000), len(data), None)


@given(st.integers(0, 43))
def test_it_waits_for_the_rest(length: int) -> None:
    assert read_header(header()[:length], AudioFormat()) is None


@given(st.binary(max_size=300), st.booleans())
def test_garbage_is_a_problem_or_a_header(data: bytes, begun: bool) -> None:
    whole = header()[:20] + data if begun else b"RIFF\0\0\0\0WAVE" + data
    assert is_wav(whole)
    with suppress(Problem):
        found = read_header(whole, AudioFormat())
        assert found is None or found.start <= len(whole)


def test_a_header_without_end_is_a_problem() -> None:
    with pytest.raises(Problem, match="no samples in its first 65536 bytes"):
        read_header(b"RIFF\0\0\0\0WAVE" + b"junk" + struct.pack("<I", 1 << 30), AudioFormat())


def test_a_codec_inside_is_not_plain() -> None:
    data = header().replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 2, 1), 1)  # Microsoft ADPCM
    found = read_header(data, AudioFormat())
    assert found is not None
    assert found.form is None


@pytest.mark.parametrize(
    "head",
    [
        b"OggS\0\0", b"fLaC", b"ID3\4", b"\x1aE\xdf\xa3", b"\0\0\0 ftypM4A ", b"\xff\xfb\x90\x64", b"\xff\xf3\x44\xc4",
        b"\xff\xf1\x50\x80\x2e\x7f\xfc", b"RIFF\0\0\0\0AVI ", b"RF64\xff\xff\xff\xffWAVE",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",
    ],
)  # fmt: skip
def test_containers_are_recognized(head: bytes) -> None:
    assert looks_like_container(head)
    assert not looks_like_container(b"\xff\xff\xff\xff")
    assert not looks_like_container(b"\0" * 12)


@pytest.mark.parametrize("first", [-1281, -1025, -3585])
def test_loud_samples_are_no_container(first: int) -> None:
    """Their first two bytes are those of MP3 or AAC."""
    assert not looks_like_container(np.array([first, first - 40, first - 90, 0, 0, 0], "<i2").tobytes())
