"""What the bytes of a stream are, as its client says or as they look; and plain ones read as samples at 16 kHz."""

from dataclasses import dataclass, replace

import numpy as np

from nemotron_asr.audio import Resampler
from nemotron_asr.audio.pcm import ENCODINGS as PLAIN
from nemotron_asr.audio.pcm import Array, PcmReader, sample_bytes
from nemotron_asr.audio.resampler import checked_rate
from nemotron_asr.audio.samples import MAX_CHANNELS
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.errors import AudioError
from nemotron_asr.server.problems import invalid

AUTO, CONTAINER = "auto", "container"

ENCODINGS = (AUTO, CONTAINER, *PLAIN)
"""`container`: any file or stream that FFmpeg knows. `auto`: that, if it looks like one, otherwise s16le."""

ENOUGH = 12
"""Bytes after which it is known what a stream looks like."""

_MAGIC = (
    b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3", b"FORM", b"caff", b".snd", b"#!AMR", b"RIFF", b"RF64", b"BW64",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # WMA
)  # fmt: skip


@dataclass(frozen=True)
class AudioFormat:
    """What a client sends.

    Attributes:
        encoding: one of `ENCODINGS`.
        rate: samples per second, where the bytes do not say it themselves.
        channels: interleaved in plain samples.
        channel: the one to hear, from 0; None averages all.

    Raises:
        Problem: one of them is not offered.
    """

    encoding: str = AUTO
    rate: int = SAMPLE_RATE
    channels: int = 1
    channel: int | None = None

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise invalid(f"encoding {self.encoding!r} is not offered; choose {', '.join(ENCODINGS)}", "encoding")
        try:
            checked_rate(self.rate)
        except AudioError as error:
            raise invalid(str(error), "sample_rate") from None
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise invalid(f"{self.channels} channels are not offered; choose 1 to {MAX_CHANNELS}", "channels")
        if self.channel is not None and not 0 <= self.channel < self.channels and self.encoding != CONTAINER:
            raise invalid(f"channel {self.channel} is not there; choose 0 to {self.channels - 1}", "channel")

    @property
    def bytes_a_second(self) -> int:
        """Of plain samples."""
        return self.rate * self.channels * sample_bytes(self.encoding)


class PlainReader:
    """Bytes of plain samples -> mono samples at 16 kHz, once there are enough of them to be worth it."""

    def __init__(self, form: AudioFormat) -> None:
        form = replace(form, encoding="s16le") if form.encoding == AUTO else form
        self._pcm = PcmReader(form.encoding, form.channels, form.channel)
        self._resampler = Resampler(form.rate) if form.rate != SAMPLE_RATE else None
        self._bytes_a_second = form.bytes_a_second
        self._held: list[bytes] = []
        self._size = 0

    @property
    def held(self) -> int:
        """Samples at 16 kHz that were not read yet."""
        return self._size * SAMPLE_RATE // self._bytes_a_second

    def hold(self, data: bytes) -> None:
        """Take a packet, to be read later; of empty ones nothing is kept, however many come."""
        if data:
            self._held.append(data)
            self._size += len(data)

    def read(self) -> Array:
        """All that was held, shape (samples,), possibly empty.

        Raises:
            AudioError: the samples are not usable.
        """
        data, self._held, self._size = b"".join(self._held), [], 0
        samples = self._pcm.read(data)
        return samples if self._resampler is None else self._resampler.feed(samples)

    def finish(self) -> Array:
        """What is left at the end."""
        samples = self.read()
        return samples if self._resampler is None else np.concatenate([samples, self._resampler.finish()])


def looks_like_container(head: bytes) -> bool:
    """Whether a stream that begins like this is no plain samples."""
    return head.startswith(_MAGIC) or head[4:8] == b"ftyp" or _is_mpeg(head) or _is_adts(head)


def index_is_last(head: bytes) -> bool | None:
    """Whether an MP4 that begins like this has its samples before their index (ISO/IEC 14496-12); None: not known yet.

    Such a file can be heard only when all of it has come.
    """
    place = 4 if head[4:8] == b"ftyp" else len(head)
    while place + 4 <= len(head):
        size, kind = int.from_bytes(head[place - 4 : place]), head[place : place + 4]
        if kind in {b"mdat", b"moov"} or size < 8:
            return kind == b"mdat"
        place += size
    return None if head[4:8] == b"ftyp" else False


def _is_mpeg(head: bytes) -> bool:
    """Whether it begins with a frame of MP3, without emphasis: two loud samples can look like one with it."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2 or head[1] == 0xFF:
        return False
    bitrate, rate, emphasis = head[2] >> 4, head[2] >> 2 & 3, head[3] & 3
    return bitrate not in {0, 15} and rate != 3 and emphasis == 0


def _is_adts(head: bytes) -> bool:
    """Whether it begins with a frame of AAC-LC as in `.aac` (ISO/IEC 13818-7), not of three channels or eight.

    Two loud samples can look like those.
    """
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return False
    profile, rate, channels = head[2] >> 6, head[2] >> 2 & 15, head[3] >> 6
    return profile == 1 and rate <= 12 and channels != 3
