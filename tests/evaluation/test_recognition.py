"""Clips are heard as everywhere else, and words appear when they can be known."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nemotron_asr.audio import Samples, load
from nemotron_asr.config import chunk_frames
from nemotron_asr.corpus import parts
from nemotron_asr.corpus.manifest import Clip
from nemotron_asr.corpus.parts import Part
from nemotron_asr.errors import AudioError, NemotronError
from nemotron_asr.evaluation.recognition import Mode, Recognition, end_of_speech, recognize, recognize_all
from nemotron_asr.recognizer import Recognizer
from tests.conftest import Sample


def heard(result: Recognition | NemotronError) -> Recognition:
    assert isinstance(result, Recognition)
    return result


@pytest.mark.parametrize("latency_ms", [160, 1120])
@pytest.mark.parametrize("mode", list(Mode))
def test_hears_what_transcribe_hears(recognizer: Recognizer, clips: list[Clip], mode: Mode, latency_ms: int) -> None:
    some = clips[:3]
    found = list(map(heard, recognize_all(recognizer, some, mode, latency_ms, batch=2)))
    assert [one.audio for one in found] == [clip.name for clip in some]
    for clip, one in zip(some, found, strict=True):
        language = clip.language if mode is Mode.LANGUAGE else "auto"
        transcript = recognizer.transcribe(clip.path, language=language, latency_ms=latency_ms)
        assert (one.text, one.detected, one.duration) == (transcript.text, transcript.language, transcript.duration)
        assert [word.word for word in one.words] == [word.word for word in transcript.words]
        assert one.compute > 0


def test_a_beam_hears_what_transcribe_hears_with_one(recognizer: Recognizer, clips: list[Clip]) -> None:
    greedy, beam = (
        [heard(one).text for one in recognize_all(recognizer, clips, Mode.AUTO, 320, batch=2, beam=beam)]
        for beam in (1, 4)
    )
    assert beam == [recognizer.transcribe(clip.path, latency_ms=320, beam=4).text for clip in clips]
    assert beam != greedy


@pytest.mark.parametrize("latency_ms", [80, 320, 1120])
def test_a_word_appears_with_the_chunk_of_its_last_token(
    recognizer: Recognizer, clips: list[Clip], latency_ms: int
) -> None:
    chunk, checked = chunk_frames(latency_ms), 0
    for clip in clips[:2]:
        one = heard(recognize(recognizer, clip, Mode.AUTO, latency_ms))
        words = recognizer.transcribe(clip.path, latency_ms=latency_ms).words
        assert all(before.shown <= after.shown for before, after in pairwise(one.words))
        for shown, word in zip(one.words, words, strict=True):
            if word.word[-1].isalnum() and word.end < one.duration:  # else the last token is punctuation, or cut
                last_frame = round(word.end / 0.08) - 1
                complete = (last_frame // chunk + 1) * chunk - 1  # the last frame of its chunk
                assert shown.shown == pytest.approx(0.08 * complete + 0.016)  # and 16 ms to see its middle
                checked += 1
    assert checked > 5


def test_of_a_part_nothing_else_is_heard(recognizer: Recognizer, clips: list[Clip]) -> None:
    samples = load(clips[0].path)
    one = heard(recognize(recognizer, replace(clips[0], part=Part(0.5, 2.0)), Mode.AUTO, 320))
    assert (one.audio, one.duration) == (f"{clips[0].path}#t=0.5,2.0", 1.5)
    assert one.text == recognizer.transcribe((samples[8000:32000], 16000), latency_ms=320).text
    behind = recognize(recognizer, replace(clips[0], part=Part(1.0, 100.0)), Mode.AUTO, 320)
    assert "#t=1.0,100.0 is not a part of the recording, which has" in str(behind)
    assert isinstance(behind, AudioError)


def test_a_recording_is_decoded_once_for_all_its_parts(
    recognizer: Recognizer, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []

    def decode(path: Path) -> Samples:
        decoded.append(path)
        return load(path)

    monkeypatch.setattr(parts, "load", decode)
    some = [replace(clip, part=Part(second / 2, second / 2 + 0.5)) for clip in clips[:2] for second in range(4)]
    found = [heard(one) for one in recognize_all(recognizer, some, Mode.AUTO, 1120, batch=3)]
    assert decoded == [clip.path for clip in clips[:2]]
    assert [one.duration for one in found] == [0.5] * 8


def test_what_cannot_be_heard_stands_in_its_place(recognizer: Recognizer, clips: list[Clip], tmp_path: Path) -> None:
    noise = tmp_path / "notes.wav"
    noise.write_text("no recording")
    bad = [Clip(path, 0.0, "etwas", "de-DE") for path in (noise, Path("none.wav"), tmp_path)]
    found = list(recognize_all(recognizer, [*bad, clips[0]], Mode.AUTO, 1120, batch=2))
    assert all(isinstance(one, AudioError) for one in found[:3])
    assert str(noise) in str(found[0])
    assert heard(found[3]).audio == clips[0].name


def test_speech_ends_where_it_gets_quiet(samples: list[Sample]) -> None:
    chance = np.random.default_rng(0)
    silence = 1e-4 * chance.standard_normal(16000).astype(np.float32)
    for sample in samples:
        end = end_of_speech(sample.audio)
        assert len(sample.audio) / 16000 - 1 < end <= len(sample.audio) / 16000
        assert end_of_speech(np.concatenate([sample.audio, silence])) == pytest.approx(end, abs=0.02)


def test_the_end_of_what_has_none_is_its_length() -> None:
    assert end_of_speech(np.zeros(16000, np.float32)) == 1.0
    assert end_of_speech(np.zeros(80, np.float32)) == 0.005
