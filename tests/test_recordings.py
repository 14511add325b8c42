"""Recordings with a speaker on each channel."""

import subprocess
import sys
import tracemalloc
import wave
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nemotron_asr
from nemotron_asr.audio import AudioSource, load
from nemotron_asr.config import LATENCIES
from nemotron_asr.errors import AudioError, OptionError
from nemotron_asr.events import Segment, Word
from nemotron_asr.recognizer import Recognizer
from nemotron_asr.transcript import Transcript, merge
from tests.audio.media import stereo
from tests.conftest import Sample


@pytest.fixture(scope="module")
def recognizer(random_model_folder: Path) -> Recognizer:
    return nemotron_asr.load(random_model_folder)


def said(transcript: Transcript, speaker: str | None = None) -> list[tuple[str, float, float]]:
    """Words and times of one speaker."""
    segments = [segment for segment in transcript.segments if segment.speaker == speaker]
    return [(word.word, word.start, word.end) for segment in segments for word in segment.words]


@pytest.mark.parametrize("language", ["auto", "de-DE"])
def test_each_channel_says_what_it_says_alone(recognizer: Recognizer, samples: list[Sample], language: str) -> None:
    content = stereo(samples[0].audio, samples[2].audio, shift=8000)
    apart = recognizer.transcribe(content, channels="separate", language=language)
    for channel in (0, 1):
        alone = recognizer.transcribe((load(content, channel=channel), 16000), language=language)
        assert said(alone)
        assert said(apart, f"channel {channel}") == said(alone)
    starts = [segment.start for segment in apart.segments]
    assert starts == sorted(starts)
    assert {segment.speaker for segment in apart.segments} == {"channel 0", "channel 1"}
    assert apart.duration == pytest.approx(len(load(content)) / 16000, abs=1e-3)
    assert apart.text.split() == " ".join(segment.text for segment in apart.segments).split()
    assert {segment["speaker"] for segment in apart.to_dict()["segments"]} == {"channel 0", "channel 1"}


@given(
    channels=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 80_000), st.booleans()), min_size=1, max_size=4),
    latency=st.sampled_from(list(LATENCIES)),
    endpointing=st.sampled_from([None, 160, 800]),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whoever_speaks_when_segments_are_in_order(
    recognizer: Recognizer,
    samples: list[Sample],
    channels: list[tuple[int, int, bool]],
    latency: int,
    endpointing: int | None,
) -> None:
    """By their starts; each channel's words follow each other inside the audio, and are its segments' texts."""
    call = np.zeros((len(channels), 170_000), np.float32)
    for row, (number, start, silent) in zip(call, channels, strict=True):
        said_here = samples[number].audio[:80_000] * (not silent)
        row[start : start + len(said_here)] = said_here
    apart = recognizer.transcribe((call, 16_000), channels="separate", latency_ms=latency, endpointing_ms=endpointing)
    starts = [segment.start for segment in apart.segments]
    assert starts == sorted(starts)
    speakers = [f"channel {number}" for number in range(len(channels))]
    assert {segment.speaker for segment in apart.segments} <= set(speakers)
    assert [word for segment in apart.segments for word in segment.words] == list(apart.words)
    for segment in apart.segments:
        assert "".join(segment.text.split()) == "".join(word.word for word in segment.words)
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    for speaker in speakers:
        times = [0.0, *(time for _, *span in said(apart, speaker) for time in span), apart.duration]
        assert all(before <= after for before, after in pairwise(times))


def test_mixed_is_the_default_and_has_no_speakers(recognizer: Recognizer, samples: list[Sample]) -> None:
    content = stereo(samples[0].audio, samples[1].audio)
    mixed = recognizer.transcribe(content)
    assert mixed == recognizer.transcribe(content, channels="mix")
    assert said(mixed) == said(recognizer.transcribe((load(content), 16000)))
    assert all("speaker" not in segment for segment in mixed.to_dict()["segments"])


def test_one_channel_is_a_speaker_too(recognizer: Recognizer, samples: list[Sample]) -> None:
    apart = recognizer.transcribe(samples[0].path, channels="separate")
    assert apart.file == samples[0].path
    assert said(apart, "channel 0") == said(recognizer.transcribe(samples[0].path))


def test_many_recordings_with_many_channels(recognizer: Recognizer, samples: list[Sample]) -> None:
    sources: list[AudioSource] = [
        stereo(samples[0].audio, samples[1].audio),
        samples[2].path,
        b"no audio",
        stereo(samples[3].audio, samples[0].audio),
    ]
    results = list(recognizer.transcribe_many(sources, channels="separate", batch=2))
    assert isinstance(results[2], AudioError)
    for source, result in zip(sources, results, strict=True):
        if isinstance(result, Transcript):
            wanted = recognizer.transcribe(source, channels="separate")
            for speaker in ("channel 0", "channel 1"):
                assert said(result, speaker) == said(wanted, speaker)


def test_other_choices_are_named_before_anything_is_read(recognizer: Recognizer) -> None:
    left: Any = "left"
    with pytest.raises(OptionError, match="channels 'left' is not offered; choose mix or separate"):
        recognizer.transcribe("nowhere.wav", channels=left)
    with pytest.raises(OptionError, match="'left'"):
        recognizer.transcribe_many(["nowhere.wav"], channels=left)


def test_a_long_recording_is_decoded_once_and_never_held(
    recognizer: Recognizer, tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened, really_open = tmp_path / "long.wav", list[Path](), Path.open
    minute = np.zeros((16000 * 60, 2), np.int16)
    minute[: len(samples[0].audio), 1] = samples[0].audio * 32767
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        for _ in range(5):
            file.writeframes(minute.tobytes())

    def watched(self: Path, *how: Any) -> Any:
        opened.append(self)
        return really_open(self, *how)

    monkeypatch.setattr(Path, "open", watched)
    recognizer.transcribe(samples[0].path, channels="separate")
    tracemalloc.start()
    transcript = recognizer.transcribe(path, channels="separate")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert opened.count(path) == 1
    assert transcript.duration == 300
    assert peak < 20_000_000  # its samples alone are 38 MB as float32


def segments(*starts: float, text: str = "a") -> tuple[Segment, ...]:
    return tuple(Segment(t, t + 1, text, "de-DE", 0.5, (Word(text, t, t + 1, 0.5),), spaced=False) for t in starts)


def test_channels_are_merged_by_time() -> None:
    merged = merge([Transcript(9.0, "de-DE", segments(1, 5)), Transcript(9.0, "en-US", segments(0, 5, 6, text="b"))])
    assert [(s.start, s.speaker) for s in merged.segments] == [
        (0, "channel 1"),
        (1, "channel 0"),
        (5, "channel 0"),
        (5, "channel 1"),
        (6, "channel 1"),
    ]
    assert (merged.text, merged.language, merged.duration) == ("b a a b b", "en-US", 9.0)


def test_a_silent_channel_has_no_say_in_the_language() -> None:
    silent = Transcript(9.0, None, ())
    assert merge([silent, Transcript(9.0, "de-DE", segments(1))]).language == "de-DE"
    assert merge([silent, silent]) == silent


def test_a_program_that_ends_does_not_wait_for_the_rest(samples: list[Sample]) -> None:
    """Of hours of audio, of which one recording was asked for."""
    script = f"""
import numpy, nemotron_asr
from nemotron_asr.audio import load
audio = load({samples[0].path!r})
asr = nemotron_asr.load()
results = asr.transcribe_many([(audio, 16000), *[(numpy.tile(audio, 500), 16000)] * 2], batch=3)
print(next(results).text)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
