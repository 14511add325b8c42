"""`make demo` shows each bundled recording, what is spoken in it, what was heard, and words with times."""

import io
import re
from pathlib import Path

import jiwer
from rich.console import Console

from nemotron_asr import load
from nemotron_asr.demo import BEAM, demo
from nemotron_asr.transcript import Transcript
from tests.conftest import Sample


def test_the_demo_shows_what_is_said_and_heard(random_model_folder: Path, bundled: list[Sample]) -> None:
    shown = io.StringIO()
    demo(str(random_model_folder), Console(file=shown, width=200))
    page = shown.getvalue()
    transcripts = [load(random_model_folder).transcribe(sample.path, beam=BEAM) for sample in bundled]
    for sample, transcript in zip(bundled, transcripts, strict=True):
        assert sample.text in page
        assert transcript.text in page
        assert f"{sample.locale}.opus" in page
    for word in transcripts[0].words:
        assert f"{word.start:.2f} s" in page
    assert f"{sum(transcript.duration for transcript in transcripts):.1f} s of speech" in page


def test_what_is_spoken_is_heard(bundled: list[Sample]) -> None:
    """The embedded model finds the language of every bundled recording, and its words."""
    heard = list(load().transcribe_many([sample.path for sample in bundled], beam=BEAM))
    transcripts = [transcript for transcript in heard if isinstance(transcript, Transcript)]
    assert [transcript.language for transcript in transcripts] == [sample.locale for sample in bundled]
    said, found = (
        [re.sub(r"[^\w ]", "", text).lower() for text in texts]
        for texts in ([sample.text for sample in bundled], [transcript.text for transcript in transcripts])
    )
    assert jiwer.wer(said, found) < 0.1
