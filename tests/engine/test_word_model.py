"""A word n-gram model as an option of streams."""

from pathlib import Path

import numpy as np
import pytest

import nemotron_asr
from nemotron_asr.errors import OptionError
from nemotron_asr.events import Final
from nemotron_asr.recognizer import Recognizer
from nemotron_asr.server.checks import KNOWN
from tests.conftest import Sample
from tests.near import leaves, near
from tests.transcript.test_builder import check

pytest.importorskip("flashlight.lib.text", reason="flashlight-text has no wheels for Python 3.13")


@pytest.fixture(scope="module")
def tiny() -> Recognizer:
    return nemotron_asr.load("tiny")


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> Path:
    """A model that finds the first recording's words as likely as can be, and all others all but impossible."""
    words = sorted({word.strip(".,").lower() for word in samples[0].text.split()})
    lines = ["\\data\\", f"ngram 1={len(words) + 3}", f"ngram 2={len(words)}", ""]
    lines += ["\\1-grams:", "-9\t<unk>", "-99\t<s>\t0", "-1\t</s>", *(f"-0.1\t{word}\t0" for word in words), ""]
    lines += ["\\2-grams:", *(f"-0.1\t<s> {word}" for word in words), "", "\\end\\", ""]
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_words_that_it_knows_are_heard_more_often(tiny: Recognizer, samples: list[Sample], arpa: Path) -> None:
    known = {word.strip(".,").lower() for word in samples[0].text.split()}

    def found(**options: object) -> int:
        text = tiny.transcribe(samples[0].path, language="de", **options).text  # type: ignore[arg-type] # any options
        return sum(word.strip(".,").lower() in known for word in text.split())

    assert found(lm=arpa, beam=8) > found(beam=8) or found(beam=8) == len(known)
    assert found(lm=arpa, lm_weight=0.0, beam=8) == found(beam=8)
    assert found(lm=str(arpa)) == found(lm=arpa, beam=4)


def test_switched_off_it_changes_nothing(tiny: Recognizer, samples: list[Sample], arpa: Path) -> None:
    for sample in samples[:2]:
        never, greedy = tiny.transcribe(sample.path, beam=3), tiny.transcribe(sample.path)
        assert leaves(tiny.transcribe(sample.path, beam=3, lm=arpa, lm_weight=0.0)) == near(never)
        assert leaves(tiny.transcribe(sample.path, beam=3, lm=None)) == near(never)
        assert leaves(tiny.transcribe(sample.path, lm=None)) == near(greedy)


def test_a_file_that_was_written_anew_is_read_anew(
    tiny: Recognizer, samples: list[Sample], arpa: Path, tmp_path: Path
) -> None:
    def heard(path: Path) -> str:
        return tiny.transcribe(samples[0].path, language="de", lm=path, beam=8).text

    path = tmp_path / "words.arpa"
    helpful = arpa.read_text(encoding="utf-8")
    path.write_text(helpful.replace("-9\t<unk>", "-0.1\t<unk>"), encoding="utf-8")  # any word will do
    indifferent = heard(path)
    path.write_text(helpful, encoding="utf-8")
    assert heard(path) == heard(arpa) != indifferent


@pytest.mark.parametrize("latency", [80, 560])
def test_events_are_in_order(tiny: Recognizer, samples: list[Sample], arpa: Path, latency: int) -> None:
    audio = samples[0].audio[: len(samples[0].audio) // 1280 * 1280]
    with tiny.stream(latency_ms=latency, lm=arpa, beam=3) as stream:
        events = [event for packet in np.array_split(audio, 30) for event in stream.feed(packet)] + stream.finish()
    check(events, len(audio) / 16_000)
    assert any(isinstance(event, Final) for event in events)


def test_what_cannot_be_a_model(tiny: Recognizer, tmp_path: Path, arpa: Path) -> None:
    text = tmp_path / "notes.arpa"
    text.write_text("not a model")
    with pytest.raises(OptionError, match=r"notes.arpa is not an ARPA file"):
        tiny.transcribe("a.wav", lm=text)
    with pytest.raises(OptionError, match=r"none.arpa cannot be read"):
        tiny.transcribe("a.wav", lm=tmp_path / "none.arpa")
    with pytest.raises(OptionError, match="a language model needs a beam of 2 or more"):
        tiny.transcribe("a.wav", lm=arpa, beam=1)
    with pytest.raises(OptionError, match="lm_weight 2 is out of range; choose 0 to 1"):
        tiny.transcribe("a.wav", lm=arpa, lm_weight=2)


def test_clients_of_a_server_cannot_name_files() -> None:
    assert not {"lm", "postprocess"} & set(KNOWN)
