"""`make demo` shows each bundled recording, what is spoken in it, what was heard, and words with times."""

import io
from pathlib import Path

from rich.console import Console

from nemotron_asr import load
from nemotron_asr.demo import demo
from tests.conftest import Sample


def test_the_demo_shows_what_is_said_and_heard(random_model_folder: Path, samples: list[Sample]) -> None:
    shown = io.StringIO()
    demo(str(random_model_folder), Console(file=shown, width=200))
    page = shown.getvalue()
    transcripts = [load(random_model_folder).transcribe(sample.path) for sample in samples]
    for sample, transcript in zip(samples, transcripts, strict=True):
        assert sample.text in page
        assert transcript.text in page
        assert f"{sample.locale}.opus" in page
    for word in transcripts[0].words:
        assert f"{word.start:.2f} s" in page
    assert f"{sum(transcript.duration for transcript in transcripts):.1f} s of speech" in page
