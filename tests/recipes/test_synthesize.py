"""Which voices are to speak which sentences."""

from pathlib import Path

import pytest

from recipes.tiny.synthesize import ENGINES, PICO_VOICES, Utterance, plan


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    (tmp_path / "en-US.txt").write_text("One.\nTwo.\nThree.\n")
    return tmp_path


def test_the_same_plan_every_time_and_few_sentences_by_several_voices(sentences: Path) -> None:
    planned = plan(sentences, "en-US", 100)
    assert planned == plan(sentences, "en-US", 100)
    assert len(planned) == 3 * 4
    assert len(plan(sentences, "en-US", 100, most_voices=8)) == 3 * 8
    assert len({utterance.variant for utterance in planned}) > 4


@pytest.mark.parametrize("engine", ENGINES)
def test_every_program_speaks_in_its_own_voices(sentences: Path, engine: str) -> None:
    planned = plan(sentences, "en-US", 12, ENGINES[engine]["en-US"])
    assert {utterance.engine for utterance in planned} == {engine}
    assert len({utterance.name for utterance in planned}) == 12
    speakers = {utterance.speaker for utterance in planned}
    assert all(speaker.startswith(engine) for speaker in speakers)


def test_a_voice_of_pico_is_named_after_its_own_locale() -> None:
    british = Utterance("0", "One.", "en-US", PICO_VOICES["en-US"][1], 165, 50)
    assert british.speaker == "pico-en-GB"
