"""A clip is streamed to the model, chunk by chunk, by a clock that counts audio and not seconds of the day."""

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from nemotron_asr.audio import Samples
from nemotron_asr.config import SAMPLE_RATE, chunk_frames
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.corpus.parts import PartReader
from nemotron_asr.engine import Session
from nemotron_asr.errors import NemotronError
from nemotron_asr.events import Event, Final, Partial, Word
from nemotron_asr.features import window_samples, window_start
from nemotron_asr.languages import AUTO
from nemotron_asr.recognizer import Recognizer
from nemotron_asr.transcript import collect

QUIET = 25.0
"""Decibels below the loudest 10 ms of a clip; what comes after the last 10 ms that are louder is not speech."""


class Mode(StrEnum):
    """What the model is told about the language."""

    LANGUAGE = "language"  # which it is
    AUTO = "auto"  # nothing


@dataclass(frozen=True)
class TimedWord:
    """A word of a transcript. Times in seconds of the stream."""

    word: str
    confidence: float
    shown: float  # how much audio had come when it first appeared as it is


@dataclass(frozen=True)
class Recognition:
    """One clip, heard in one manner: all that a report is made of."""

    audio: str  # path, and which part of the recording if it is not all of it
    locale: str
    mode: Mode
    latency_ms: int
    reference: str
    text: str
    detected: str | None  # the locale that the model named
    duration: float  # seconds of audio
    compute: float  # seconds of the clock on the wall since the recognition before
    words: tuple[TimedWord, ...]
    ends: tuple[float, ...]  # when the last words of the reference ended: that many of them


def recognize_all(
    recognizer: Recognizer, clips: Sequence[Clip], mode: Mode, latency_ms: int, batch: int, beam: int = 1
) -> Iterator[Recognition | NemotronError]:
    """Hear clips, so many at once; in order, what goes wrong with one in its place.

    Raises:
        OptionError: there are no beams of this width.
    """
    if not clips:
        return
    silence = np.zeros(SAMPLE_RATE, np.float32)
    recognizer.transcribe((silence, SAMPLE_RATE), latency_ms=latency_ms, beam=beam)  # warms up
    recordings = PartReader()
    with ThreadPoolExecutor(batch, thread_name_prefix="nemotron-asr evaluating") as threads:
        before = time.monotonic()
        for heard in threads.map(lambda clip: recognize(recognizer, clip, mode, latency_ms, beam, recordings), clips):
            now = time.monotonic()
            yield heard if isinstance(heard, NemotronError) else replace(heard, compute=now - before)
            before = now


def recognize(
    recognizer: Recognizer,
    clip: Clip,
    mode: Mode,
    latency_ms: int,
    beam: int = 1,
    recordings: PartReader | None = None,
) -> Recognition | NemotronError:
    """Stream one clip; who hears many parts of a recording brings its reader."""
    language = clip.language if mode is Mode.LANGUAGE and recognizer.config.n_prompts else AUTO
    try:
        samples = (recordings or PartReader()).read(clip.path, clip.part)
        session = recognizer.engine.open(language=language, latency_ms=latency_ms, beam=beam, recording=True)
        events, words = _stream(session, samples, chunk_frames(latency_ms))
    except NemotronError as error:
        return error
    heard = collect(events, session.duration, session.detected, language)
    return Recognition(
        clip.name, clip.language, mode, latency_ms, clip.text, heard.text, heard.language, session.duration, 0.0,
        words, clip.ends or (end_of_speech(samples),),
    )  # fmt: skip


def _stream(session: Session, samples: Samples, chunk: int) -> tuple[list[Event], tuple[TimedWord, ...]]:
    """Feed just what every chunk needs, and watch the words come.

    The last chunk is done when the audio ends; its words get the time at which a stream that goes on would have had it.
    """
    events: list[Event] = []
    shown, fed, frame = Appearances(), 0, 0
    with session:
        while (needed := window_start(frame) + window_samples(chunk)) <= len(samples):
            session.feed(samples[fed:needed])
            session.settle().result()
            events += shown.watch(session.take(), needed / SAMPLE_RATE)
            fed, frame = needed, frame + chunk
        if fed < len(samples):
            session.feed(samples[fed:])
    events += shown.watch(list(session), needed / SAMPLE_RATE)
    return events, shown.words


class Appearances:
    """Notes when words first appear, and when they change."""

    def __init__(self) -> None:
        self._done: list[TimedWord] = []  # words of segments that are final
        self._current: list[TimedWord] = []

    @property
    def words(self) -> tuple[TimedWord, ...]:
        """All words so far."""
        return (*self._done, *self._current)

    def watch(self, events: Sequence[Event], now: float) -> Sequence[Event]:
        """Take the events that came with the audio until `now`; return them."""
        for event in events:
            if isinstance(event, Partial | Final):
                self._current = [self._heard(i, word, now) for i, word in enumerate(event.segment.words)]
            if isinstance(event, Final):
                self._done += self._current
                self._current = []
        return events

    def _heard(self, place: int, word: Word, now: float) -> TimedWord:
        before = self._current[place] if place < len(self._current) else None
        same = before is not None and _bare(before.word) == _bare(word.word)
        return TimedWord(word.word, word.confidence, before.shown if same and before else round(now, 3))


def _bare(word: str) -> str:
    """A word without the punctuation that may come after it."""
    return re.sub(r"[\W_]+$", "", word)


def end_of_speech(samples: Samples) -> float:
    """Seconds at which speech ends, by loudness; the end of the audio if that is short, or all alike."""
    size = SAMPLE_RATE // 100
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    if not len(frames):
        return len(samples) / SAMPLE_RATE
    level = 10 * np.log10(np.square(frames, dtype=np.float64).mean(axis=1) + 1e-12)
    last = int(np.flatnonzero(level > level.max() - QUIET)[-1])
    return round((last + 1) * size / SAMPLE_RATE, 3)
