import io
import struct
from contextlib import suppress
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from nemotron_asr.audio import AudioSource, load, probe_duration
from nemotron_asr.errors import AudioError
from tests.audio.media import SPEECH, correlation, encode, late_video, noise, tone, video


def wav(samples: bytes, *, rate: int = 16000, channels: int = 1, claimed: int | None = None) -> bytes:
    """A 16-bit WAV whose header may lie about the length of its data."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    data = struct.pack("<4sI", b"data", len(samples) if claimed is None else claimed) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data


RAMP = np.arange(-8000, 8000).astype("<i2")


@pytest.mark.parametrize("content", [b"", b"hello, this is no audio\n" * 500, bytes(range(256)) * 40])
@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.txt", "a"])
def test_what_is_no_audio_is_refused_in_one_line(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert ("the file is empty" in str(caught.value)) == (not content)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"nowhere\.wav: No such file"):
        load(tmp_path / "nowhere.wav")
    with pytest.raises(AudioError, match=f"^{tmp_path}: "):
        load(str(tmp_path))


@pytest.mark.parametrize("url", ["http://localhost:9/a.wav", "concat:a.wav|b.wav", "data:audio/wav;base64,UklGRg=="])
def test_urls_are_only_names_of_missing_files(url: str) -> None:
    with pytest.raises(AudioError, match="No such file"):
        load(url)


@pytest.mark.parametrize("late", [(0.0, 0.0), (2.0, 2.0), (0.0, 1.5), (2.0, 3.5)])
@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("matroska", "libopus", 48000), ("matroska", "pcm_u8", 8000), ("mp4", "aac", 44100), ("mpegts", "aac", 44100)],
)
def test_sound_is_heard_when_a_player_plays_it(
    container: str, codec: str, rate: int, late: tuple[float, float]
) -> None:
    heard = np.abs(load(late_video(tone(2.0, rate), rate, container, codec, late)))
    loud = heard[: len(heard) // 160 * 160].reshape(-1, 160).max(axis=1) > 0.1
    expected = np.zeros(len(loud), bool)
    for second in (0, 1):
        begin = round((late[second] + second) * 100)
        expected[begin : begin + 100] = True
    assert np.count_nonzero(loud != expected) < 20  # hundredths of a second: codecs have frames and tails


def test_a_clock_that_is_set_puts_no_hours_of_silence_in() -> None:
    heard = load(late_video(tone(2.0, 16000), 16000, "matroska", "pcm_s16le", (0.0, 5000.0)))
    assert len(heard) / 16000 == pytest.approx(2, abs=0.1)


PLAYLISTS = {
    "list.ffconcat": "ffconcat version 1.0\nfile {name}\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1.0,\n{name}\n#EXT-X-ENDLIST\n",
    "absolute.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1.0,\nfile://{path}\n#EXT-X-ENDLIST\n",
    "call.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
}


@pytest.mark.parametrize("playlist", PLAYLISTS)
def test_playlists_open_nothing(tmp_path: Path, playlist: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret.mp3"
    secret.write_bytes(encode(tone(1, 16000), 16000, "mp3", "libmp3lame"))
    text = PLAYLISTS[playlist].format(name=secret.name, path=secret)
    (tmp_path / playlist).write_text(text)
    for source in (tmp_path / playlist, text.encode()):
        with pytest.raises(AudioError):
            load(source)


def test_a_playlist_would_be_followed_otherwise(tmp_path: Path) -> None:
    (tmp_path / "secret.mp3").write_bytes(encode(tone(1, 16000), 16000, "mp3", "libmp3lame"))
    playlist = tmp_path / "list.ffconcat"
    playlist.write_text("ffconcat version 1.0\nfile secret.mp3\n")
    with playlist.open("rb") as file, av.open(file, "r") as container:
        assert container.format.name == "concat"
        assert next(container.decode(audio=0)).samples


def test_video_without_sound_is_refused() -> None:
    with pytest.raises(AudioError, match="there is no audio track"):
        load(video(None, 16000))


def test_the_sound_of_a_video_is_heard() -> None:
    sound = tone(0.5, 48000)
    result = load(video(sound, 48000))
    assert len(result) == pytest.approx(8000, abs=1100)  # AAC pads its last frame
    assert correlation(result, tone(0.5, 16000)) > 0.99


def test_surround_sound_is_averaged() -> None:
    pitches = (200, 400, 600, 50, 1000, 1200, 1400, 1600)  # the fourth channel of 7.1 carries the lowest tones only
    channels = np.stack([tone(1, 48000, hertz, level=0.4) for hertz in pitches], axis=1)
    surround = encode(channels, 48000, "mp4", "aac", "7.1")
    assert correlation(load(surround)[:16000], load((channels, 48000))) > 0.95


@pytest.mark.parametrize("channels", [10, 64])
def test_many_channels_are_averaged(channels: int) -> None:
    samples = np.random.default_rng(3).integers(-30000, 30000, (500, channels)).astype("<i2")
    expected = (samples / 32768).mean(axis=1)
    np.testing.assert_allclose(load(wav(samples.tobytes(), channels=channels)), expected, atol=1e-7)


def test_more_channels_are_refused() -> None:
    with pytest.raises(AudioError, match="65 channels are too many; at most 64"):
        load(wav(bytes(65 * 2 * 100), channels=65))


@pytest.mark.parametrize("rate", [999, 768001, 2**31 - 1])
def test_absurd_rates_are_refused(rate: int) -> None:
    with pytest.raises(AudioError, match=rf"^bytes: sample rate {rate} is not"):
        load(wav(RAMP.tobytes(), rate=rate))


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF, len(RAMP) * 20])
def test_a_header_that_claims_too_much_is_not_believed(claimed: int) -> None:
    np.testing.assert_array_equal(load(wav(RAMP.tobytes(), claimed=claimed)), RAMP / np.float32(32768))


def test_a_header_without_samples_is_refused() -> None:
    with pytest.raises(AudioError, match="no audio samples"):
        load(wav(b""))


FORMATS: dict[str, tuple[str, str, dict[str, str]]] = {
    "wav": ("wav", "pcm_s16le", {}),
    "mp3": ("mp3", "libmp3lame", {}),
    "flac": ("flac", "flac", {}),
    "opus": ("ogg", "libopus", {"page_duration": "200000"}),
    "m4a": ("mp4", "aac", {}),
    "webm": ("webm", "libopus", {"cluster_time_limit": "200"}),
}


TRUNCATED = FORMATS | {"m4a": ("mp4", "aac", {"movflags": "empty_moov", "frag_duration": "200000"})}
"""A plain M4A has its index at the end: without it, nothing can be decoded."""


def test_an_m4a_without_its_index_is_refused() -> None:
    content = encode(tone(1, 16000), 16000, "mp4", "aac")
    with pytest.raises(
        AudioError, match=r"^bytes: this is not audio or video that can be decoded \(or it was cut off\)$"
    ):
        load(content[: len(content) * 2 // 3])


@pytest.mark.parametrize("name", TRUNCATED)
def test_truncated_files_give_what_is_there(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    container, codec, options = TRUNCATED[name]
    speech = load(SPEECH)
    whole = encode(load((speech, 48000)), 16000, container, codec, **options)
    path = tmp_path / f"cut.{name}"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    result, intact = load(path), load(whole)
    assert 0.4 * len(intact) < len(result) < 0.75 * len(intact)
    assert correlation(result[:-2000], intact[: len(result) - 2000]) > 0.99
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", FORMATS)
def test_damage_in_the_middle_is_stepped_over(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    container, codec, options = FORMATS[name]
    original = (tone(3, 16000) + noise(48000) * 0.1).astype(np.float32)
    whole = bytearray(encode(original, 16000, container, codec, **options))
    middle = len(whole) // 2
    whole[middle : middle + 300] = np.random.default_rng(5).bytes(300)
    result = load(bytes(whole))
    assert len(result) == pytest.approx(48000, abs=8000)
    assert correlation(result[:16000], original) > 0.97
    assert np.abs(result).max() <= 9
    assert capfd.readouterr() == ("", "")


def test_noise_instead_of_files_never_does_harm() -> None:
    drawn = np.random.default_rng(11)
    for container, codec, options in FORMATS.values():
        whole = encode(tone(1, 16000), 16000, container, codec, **options)
        for _ in range(30):
            damaged = bytearray(whole)
            for place in drawn.integers(0, len(whole), drawn.integers(1, 40)):
                damaged[place] = drawn.integers(256)
            with suppress(AudioError):
                assert np.isfinite(load(bytes(damaged))).all()


def test_the_rate_may_change_on_the_way() -> None:
    parts = [encode(tone(1, rate), rate, "mp3", "libmp3lame", write_xing="0") for rate in (44100, 16000, 24000)]
    result = load(b"".join(parts))
    assert len(result) == pytest.approx(48000, abs=6000)
    for second in range(3):
        inner = result[16000 * second + 4000 : 16000 * second + 12000] * np.hanning(8000)
        assert np.abs(np.fft.rfft(inner)).argmax() * 2 == pytest.approx(440, abs=2)


def test_metadata_in_another_encoding_does_not_matter() -> None:
    tag = b"INFOIART" + struct.pack("<I", 6) + "J\xfcrgen"[:6].encode("latin-1")
    chunk = b"LIST" + struct.pack("<I", len(tag)) + tag
    plain = wav(RAMP.tobytes())
    tagged = plain[:4] + struct.pack("<I", len(plain) - 8 + len(chunk)) + plain[8:] + chunk
    np.testing.assert_array_equal(load(tagged), load(plain))


def test_the_callers_file_is_read_from_its_start_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(RAMP.tobytes()))
    with path.open("rb") as file:
        file.seek(1000)
        first = load(file)
        np.testing.assert_array_equal(load(file), first)
        assert not file.closed
    assert len(first) == len(RAMP)


class Pipe(io.RawIOBase):
    """A file that cannot seek, and that may fail after some reads."""

    def __init__(self, content: bytes, fails_after: int = 1 << 30, error: Exception | None = None) -> None:
        self.content, self.reads_left = io.BytesIO(content), fails_after
        self.error = error or OSError(5, "the disk is on fire")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise self.error
        return self.content.readinto(buffer)


def test_files_that_cannot_seek_are_read() -> None:
    content = encode(tone(1, 16000), 16000, "flac", "flac")
    pipe = io.BufferedReader(Pipe(content))
    assert probe_duration(pipe) is None
    np.testing.assert_array_equal(load(pipe), load(content))


@pytest.mark.parametrize("reads", [0, 20])
def test_a_failing_disk_is_no_end_of_file(reads: int) -> None:
    content = wav(bytes(2_000_000))
    with pytest.raises(AudioError, match="the disk is on fire"):
        load(io.BufferedReader(Pipe(content, reads)))


@pytest.mark.parametrize("reads", [0, 20])
@pytest.mark.parametrize("error", [IncompleteRead(b"", 7), RuntimeError("no"), KeyError("x"), ValueError(7)])
def test_whatever_a_file_object_raises_is_an_error_of_this_source(error: Exception, reads: int) -> None:
    content = wav(bytes(2_000_000))
    with pytest.raises(AudioError) as caught:
        load(io.BufferedReader(Pipe(content, reads, error)))
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("source", [io.StringIO("text"), 5, None])
def test_other_objects_are_refused(source: AudioSource) -> None:
    with pytest.raises(AudioError):
        load(source)


def test_a_file_that_is_open_as_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("pass")
    with (tmp_path / "a.py").open() as file, pytest.raises(AudioError, match="open it in binary mode, 'rb'"):
        load(file)  # type: ignore[arg-type]


def test_a_closed_file_is_refused() -> None:
    file = io.BytesIO(wav(RAMP.tobytes()))
    file.close()
    with pytest.raises(AudioError, match="closed file"):
        load(file)


def test_wild_values_are_damage_in_a_codec_and_an_error_in_plain_samples() -> None:
    samples = noise(1600)
    samples[900] = np.nan
    with pytest.raises(AudioError, match=r"^bytes: sample 900 is nan"):
        load(encode(samples, 16000, "wav", "pcm_f32le"))
    with pytest.raises(AudioError, match=r"^bytes: sample 0 is .*division by full scale"):
        load(encode(noise(1600) * 30000 + 20000, 16000, "wav", "pcm_f32le"))
