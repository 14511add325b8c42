"""One small random model for all tests of the engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import nemotron_asr
from nemotron_asr.engine import Engine
from nemotron_asr.recognizer import Recognizer


@pytest.fixture(scope="session")
def recognizer(random_model_folder: Path) -> Recognizer:
    return nemotron_asr.load(random_model_folder)


@pytest.fixture
def engine(recognizer: Recognizer) -> Iterator[Engine]:
    with Engine(recognizer, max_streams=64) as engine:
        yield engine
