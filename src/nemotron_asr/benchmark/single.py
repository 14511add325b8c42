"""Seconds of compute per second of audio: one stream, chunk by chunk, and one long recording."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from nemotron_asr.audio import Samples
from nemotron_asr.config import FRAME_SAMPLES, SAMPLE_RATE, chunk_frames
from nemotron_asr.events import Final
from nemotron_asr.recognizer import Recognizer

WARM_UP = 0.5
"""Seconds of audio that are not counted."""


@dataclass(frozen=True)
class Chunks:
    """Times of single chunks.

    Attributes:
        best, median: seconds per second of audio.
        words_per_frame: how much the model said; a word of the random model is a token.
    """

    best: float
    median: float
    words_per_frame: float


def one_stream(recognizer: Recognizer, speech: Samples, latency_ms: int, seconds: float) -> Chunks:
    """Feed a stream one chunk after the other, waiting for its words each time.

    Args:
        recognizer: whose model.
        speech: what is said, over and over.
        latency_ms: of the stream.
        seconds: of audio, after a warm-up.
    """
    chunk = FRAME_SAMPLES * chunk_frames(latency_ms)
    chunks = max(4, int(seconds * SAMPLE_RATE / chunk))
    warm_up = -(-int(WARM_UP * SAMPLE_RATE) // chunk)
    audio = np.resize(speech, chunk * (warm_up + chunks))
    times, words = [], 0
    with recognizer.stream(latency_ms=latency_ms) as stream:
        for start in range(0, len(audio), chunk):
            began = time.perf_counter()
            events = stream.feed(audio[start : start + chunk])
            times.append((time.perf_counter() - began) * SAMPLE_RATE / chunk)
            words += sum(len(event.segment.words) for event in events if isinstance(event, Final))
    counted = times[warm_up:]
    return Chunks(min(counted), statistics.median(counted), words * FRAME_SAMPLES / len(audio))


def recording(recognizer: Recognizer, speech: Samples, minutes: float) -> tuple[float, float]:
    """Seconds of audio per second of compute of one long recording, and words per frame."""
    audio = np.resize(speech, int(minutes * 60 * SAMPLE_RATE))
    recognizer.transcribe((audio[: 20 * SAMPLE_RATE], SAMPLE_RATE))
    began = time.perf_counter()
    transcript = recognizer.transcribe((audio, SAMPLE_RATE))
    return minutes * 60 / (time.perf_counter() - began), len(transcript.words) * FRAME_SAMPLES / len(audio)
