"""A model that talks nonsense, and recognitions made by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest

import nemotron_asr
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.evaluation.recognition import Mode, Recognition, TimedWord
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample

Listen = Callable[..., Recognition]


@pytest.fixture(scope="session")
def recognizer(random_model_folder: Path) -> Recognizer:
    return nemotron_asr.load(random_model_folder)


@pytest.fixture(scope="session")
def clips(samples: list[Sample]) -> list[Clip]:
    return [Clip(Path(sample.path), 0.0, sample.text, sample.locale) for sample in samples]


def recognition(reference: str, text: str, **changes: object) -> Recognition:
    """One of two seconds: every word is shown half a second after the one before, the speech ends at 1.5 s."""
    words = tuple(TimedWord(word, 0.9, (place + 1) / 2) for place, word in enumerate(text.split()))
    made: dict[str, object] = {
        "audio": "a.wav", "locale": "de-DE", "mode": Mode.AUTO, "latency_ms": 80, "reference": reference, "text": text,
        "detected": "de-DE", "duration": 2.0, "compute": 0.5, "words": words, "ends": (1.5,),
    }  # fmt: skip
    return Recognition(**{**made, **changes})  # type: ignore[arg-type] # what the tests change is of many types
