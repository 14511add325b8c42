"""Phones found in recordings, and sentences put together out of halves of them."""

import numpy as np
import pytest

from nemotron_asr.config import SAMPLE_RATE
from recipes.tiny.phones import FRAME, SILENCE, STATES, Phone, PhoneModel, cepstra, label, segments
from recipes.tiny.units import FADE, Voice, halve, lay, wanted

PITCHES = {"a": 300.0, "e": 700.0, "i": 1500.0, "o": 3000.0}
CHUNK = 12 * FRAME  # samples that a phone is said for


def say(phones: str, rng: np.random.Generator) -> np.ndarray:
    """Every phone is a tone of its own, "_" is quiet."""
    time = np.arange(CHUNK) / SAMPLE_RATE
    sound = [0.3 * np.sin(2 * np.pi * PITCHES.get(phone, 0) * time) for phone in phones]
    whole = np.concatenate(sound)
    return (whole + 0.001 * rng.standard_normal(len(whole))).astype(np.float32)


SAID = ("_ae_io_", "_oa_ei_", "_ia_", "_eo_ai_", "_aoie_", "_oe_ia_", "_iae_o_", "_ea_oi_")


@pytest.fixture(scope="module")
def recordings() -> tuple[list[np.ndarray], list[list[list[str]]]]:
    rng = np.random.default_rng(0)
    return [say(text, rng) for text in SAID], [[list(word) for word in text.strip("_").split("_")] for text in SAID]


def test_phones_are_found_where_they_are_said(recordings: tuple[list[np.ndarray], list[list[list[str]]]]) -> None:
    clips, texts = recordings
    for text, phones in zip(SAID, label([cepstra(clip) for clip in clips], texts), strict=True):
        assert "".join(phone.name for phone in phones) == text
        for index, phone in enumerate(phones):
            assert abs(phone.begin - 12 * index) <= 3
            assert abs(phone.end - 12 * (index + 1)) <= 3


def test_a_clip_too_short_for_its_text_has_no_phones(
    recordings: tuple[list[np.ndarray], list[list[list[str]]]],
) -> None:
    clips, texts = recordings
    rows = [cepstra(clip) for clip in clips]
    rows[2], texts = rows[2][:9], [*texts[:2], [list("ia")], *texts[3:]]
    found = label(rows, texts)
    assert [bool(phones) for phones in found] == [index != 2 for index in range(len(SAID))]


def test_a_pause_between_words_may_be_left_out_and_a_phone_may_come_twice() -> None:
    model = PhoneModel(["a", "b"])
    states, skippable = model.chain([["a", "a"], ["b"]])
    assert len(states) == 3 + 3 * STATES
    assert np.flatnonzero(skippable).tolist() == [2 * STATES + 2]
    path = np.array([1, 2, 3, 4, 5, 6, 8, 9, 10])
    assert [phone.name for phone in segments(path, states)] == ["a", "a", "b"]


def test_what_was_said_is_said_again_as_it_was(recordings: tuple[list[np.ndarray], list[list[list[str]]]]) -> None:
    clips, texts = recordings
    voice = Voice(clips, texts, np.random.default_rng(1))
    target = halve([wanted([texts[4]])])
    chosen = voice.choose(target)
    assert [str(voice.halves.phone[half]) for half in chosen] == target.phone.tolist()
    assert [bool(voice.halves.second[half]) for half in chosen] == target.second.tolist()
    assert np.all(np.diff(chosen) == 1)


def test_a_new_sentence_sounds_like_its_phones(recordings: tuple[list[np.ndarray], list[list[list[str]]]]) -> None:
    clips, texts = recordings
    samples = Voice(clips, texts, np.random.default_rng(1)).say([[["o", "i"], ["e", "a"]], [["i"]]])
    assert samples is not None
    assert len(samples) == pytest.approx(8 * CHUNK, rel=0.1)
    heard = "".join(loudest(samples[int((place + 0.5) * CHUNK) - 400 :][:800]) for place in range(8))
    assert heard == "_oiea_i_"


def loudest(samples: np.ndarray) -> str:
    if np.abs(samples).max() < 0.05:
        return SILENCE
    frequency = np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE / len(samples)
    return min(PITCHES, key=lambda phone: abs(PITCHES[phone] - frequency))


def test_a_sentence_with_a_phone_never_said_is_not_said(
    recordings: tuple[list[np.ndarray], list[list[list[str]]]],
) -> None:
    assert Voice(*recordings, np.random.default_rng(1)).say([[["a", "z"]]]) is None


def test_pieces_meet_where_their_waves_fit() -> None:
    time = np.arange(4000) / SAMPLE_RATE
    wave = np.sin(2 * np.pi * 200 * time).astype(np.float32)
    whole = lay(wave[:1000], wave, 2037, 3000)
    assert np.abs(np.diff(whole)).max() <= 1.3 * np.abs(np.diff(wave)).max()
    assert abs(len(whole) - (1000 + 3000 - 2037)) <= FADE


def test_halves_know_their_neighbours() -> None:
    halves = halve([[Phone("a", 0, 4), Phone("b", 4, 10)]])
    assert halves.near.tolist() == ["_", "b", "a", "_"]
    assert halves.far.tolist() == ["b", "_", "_", "a"]
    assert halves.begin.tolist() == [0, 2, 4, 7]
    assert halves.end.tolist() == [2, 4, 7, 10]
