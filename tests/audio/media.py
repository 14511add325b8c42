"""Media files made while testing, so that none needs to be kept."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from nemotron_asr.audio import Samples

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
SPEECH = SAMPLES / "en-US.opus"
LISTED = json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8"))
SECONDS: float = next(entry["duration"] for entry in LISTED if entry["file"] == SPEECH.name)


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.5) -> Samples:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(samples: int, channels: int = 1) -> Samples:
    drawn = np.random.default_rng(7).uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)
    return drawn[:, 0] if channels == 1 else drawn


def encode(samples: NDArray[Any], rate: int, container: str, codec: str, layout: str = "mono", **options: str) -> bytes:
    """Encode float32 samples, shape (samples,) or (samples, channels)."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, container_options=options) as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)
        stream.layout = layout
        mux(output, stream, samples)
    return buffer.getvalue()


def mux(output: OutputContainer, stream: AudioStream, samples: NDArray[Any]) -> None:
    layout = stream.layout.name
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32).reshape(1, -1), "flt", layout)
    frame.sample_rate, frame.pts = stream.rate, 0
    for piece in _fitting(stream, frame):
        output.mux(stream.encode(piece))
    output.mux(stream.encode(None))


def _fitting(stream: AudioStream, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
    fit = av.AudioResampler(stream.format, stream.layout, stream.rate, stream.codec_context.frame_size or 1024)
    yield from fit.resample(frame)
    yield from fit.resample(None)


def stereo(one: Samples, other: Samples, shift: int = 0) -> bytes:
    """A WAV file at 16 kHz with a recording on each channel, the other so many samples later."""
    late = np.concatenate([np.zeros(shift, np.float32), other])
    length = max(len(one), len(late))
    return encode(
        np.stack([np.pad(side, (0, length - len(side))) for side in (one, late)], 1),
        16000,
        "wav",
        "pcm_s16le",
        "stereo",
    )


def video(samples: Samples | None, rate: int) -> bytes:
    """Half a second of moving pictures in an MP4, with an audio track or without."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        pictures = output.add_stream("mpeg4", rate=10)
        assert isinstance(pictures, VideoStream)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        sound = None if samples is None else output.add_stream("aac", rate=rate)
        if isinstance(sound, AudioStream):
            sound.layout = "mono"
        for grey in range(5):
            picture = np.full((32, 32, 3), 40 * grey, np.uint8)
            output.mux(pictures.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(pictures.encode(None))
        if isinstance(sound, AudioStream) and samples is not None:
            mux(output, sound, samples)
    return buffer.getvalue()


def late_video(samples: Samples, rate: int, container: str, codec: str, late: tuple[float, float]) -> bytes:
    """Pictures from 0 s on; the first second of sound comes so many seconds later, and what follows it so many."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        pictures, sound = output.add_stream("mpeg4", rate=10), output.add_stream(codec, rate=rate)
        assert isinstance(pictures, VideoStream)
        assert isinstance(sound, AudioStream)
        pictures.width, pictures.height, pictures.pix_fmt, sound.layout = 32, 32, "yuv420p", "mono"
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", "mono")
        frame.sample_rate, frame.pts = rate, 0
        heard = [packet for piece in [*_fitting(sound, frame), None] for packet in sound.encode(piece)]
        for packet in heard:
            begin = _seconds(packet)
            packet.pts = packet.dts = round((begin + late[begin >= 1]) / packet.time_base)
        grey = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for packet in sorted([*pictures.encode(grey), *pictures.encode(None), *heard], key=_seconds):
            output.mux(packet)
    return buffer.getvalue()


def _seconds(packet: "av.Packet[Any]") -> float:
    return float((packet.dts or 0) * packet.time_base)


def correlation(one: Samples, other: Samples) -> float:
    """How alike two recordings are when neither is shifted: 1 is the same up to level."""
    length = min(len(one), len(other))
    return float(np.corrcoef(one[:length], other[:length])[0, 1])
