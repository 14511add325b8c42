"""Several utterances in one recording: their order, their tags, their length, their loudness."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nemotron_asr.audio import load
from nemotron_asr.config import SAMPLE_RATE
from nemotron_asr.training.augment import rms
from recipes.tiny.join import LONGEST, PAUSE_SECONDS, draw, heard, said

SAMPLES = Path(__file__).parents[1] / "data" / "samples"


def entry(locale: str, text: str) -> dict[str, Any]:
    path = SAMPLES / f"{locale}.opus"
    return {"audio_filepath": str(path), "duration": len(load(path)) / SAMPLE_RATE, "text": text, "target_lang": locale}


@pytest.fixture(scope="module")
def entries() -> list[dict[str, Any]]:
    return [entry("de-DE", "Guten Tag."), entry("nl-NL", "Goedendag."), entry("de-DE", "Gute Nacht.")]


def test_utterances_follow_one_another_as_long_as_there_is_room(entries: list[dict[str, Any]]) -> None:
    dice = np.random.default_rng(0)
    drawn = [draw([*entries, {**entries[0], "duration": 12.0}], dice) for _ in range(400)]
    assert {len(chosen) for chosen in drawn} == {1, 2, 3}
    assert all(sum(each["duration"] for each in chosen) < LONGEST for chosen in drawn)
    languages = [len({each["target_lang"] for each in chosen}) for chosen in drawn if len(chosen) > 1]
    assert 0.02 < np.mean(np.array(languages) > 1) < 0.3


def test_each_but_the_last_has_its_tag(entries: list[dict[str, Any]]) -> None:
    assert said(entries) == "Guten Tag. <de-DE> Goedendag. <nl-NL> Gute Nacht."


def test_they_are_all_heard_and_nothing_is_quite_still(entries: list[dict[str, Any]]) -> None:
    whole = heard(entries, np.random.default_rng(1))
    spoken = sum(each["duration"] for each in entries)
    assert spoken + 2 * PAUSE_SECONDS[0] <= len(whole) / SAMPLE_RATE <= spoken + 2 * PAUSE_SECONDS[1]
    assert min(rms(part) for part in np.split(whole, range(800, len(whole), 800))[:-1]) > 1e-4
